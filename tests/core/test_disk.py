"""Faults of the disk are one clear error; everything else stays what it is."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from rungwise.core.disk import disk_error, disk_error_in, disk_errors
from rungwise.core.errors import DataError, WorkspaceError


def system_error(number, name="data/raw/x.csv"):
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota of the disk is used up"),
        (errno.EFBIG, "larger than the system allows"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EACCES, "a permission is missing"),
        (errno.EPERM, "a permission is missing"),
        (errno.EIO, "the disk does not work"),
    ],
)
def test_a_fault_says_what_where_and_what_to_do(number, what):
    with pytest.raises(WorkspaceError, match=what) as raised, disk_errors():
        raise system_error(number)
    problem = raised.value.problem
    assert problem.where == "data/raw/x.csv" and os.strerror(number) in problem.found and problem.do


@pytest.mark.parametrize(
    "error",
    [
        ValueError("No space left on device"),
        FileNotFoundError(errno.ENOENT, "x", "y"),
        BrokenPipeError(errno.EPIPE, "x"),
        PermissionError(errno.EPERM, "a process may not be ended"),
        sqlite3.DatabaseError("file is not a database"),
    ],
)
def test_other_errors_do_not_change(error):
    with pytest.raises(type(error)) as raised, disk_errors():
        raise error
    assert raised.value is error and disk_error(error) is None


def test_an_error_of_ours_is_not_replaced():
    with pytest.raises(DataError), disk_errors():
        raise DataError("no rows") from system_error(errno.ENOSPC)


def test_a_cause_counts():
    error = RuntimeError("can't be stored")
    error.__cause__ = system_error(errno.ENOSPC)
    assert "the disk is full" in str(disk_error(error))


def test_a_database_that_can_not_grow(tmp_path):
    from sqlalchemy import create_engine, exc, text

    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(exc.SQLAlchemyError) as raised, engine.connect() as connection:
        connection.execute(text("pragma max_page_count = 3"))
        connection.execute(text("create table t (x)"))
        connection.execute(text("insert into t values (zeroblob(100000))"))
    engine.dispose()
    assert "the disk is full" in str(disk_error(raised.value))


def test_a_database_that_may_not_be_written(tmp_path):
    (tmp_path / "x.db").touch()
    connection = sqlite3.connect(f"file:{tmp_path / 'x.db'}?mode=ro", uri=True)
    with pytest.raises(sqlite3.Error) as raised:
        connection.execute("create table t (x)")
    connection.close()
    assert "a permission is missing" in str(disk_error(raised.value))


FULL = """
import resource, sys
import numpy as np
from safetensors.numpy import save_file
from rungwise.core.disk import disk_errors
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
with disk_errors():
    save_file({"a": np.zeros(9000)}, sys.argv[1])
"""


def test_safetensors_names_the_number_in_its_text(tmp_path):
    from safetensors import SafetensorError

    command = [sys.executable, "-c", FULL, str(tmp_path / "x.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "a file would be larger than the system allows" in done.stderr
    assert disk_error(SafetensorError("a tensor has no shape")) is None


def test_it_is_a_decorator_too():
    @disk_errors()
    def write():
        raise system_error(errno.EROFS)

    with pytest.raises(WorkspaceError, match="read-only"):
        write()


def test_a_copy_of_a_folder_that_can_not_be_written_names_the_file():
    error = shutil.Error([("a/x", "b/x", f"[Errno {errno.ENOSPC}] No space left on device: 'b/x'")])
    with pytest.raises(WorkspaceError, match=r"(?s)the disk is full.*where: +b/x"), disk_errors():
        raise error
    assert disk_error(shutil.Error([("a/x", "b/x", "something else")])) is None
    assert disk_error(shutil.Error("a and a are the same file")) is None


@pytest.mark.parametrize(
    ("line", "what", "where"),
    [
        ("ERROR: failed to reproduce 'ingest': [Errno 28] No space left on device: '/w/x'", "disk is full", "/w/x"),
        ("ERROR: unexpected error - disk I/O error", "disk does not work", "/w"),
        ("fatal: write error: No space left on device", "disk is full", "/w"),
        ("Permission denied (publickey)", None, None),
        ("ERROR: no such stage", None, None),
    ],
)
def test_a_program_that_names_a_fault_of_the_disk(line, what, where):
    error = disk_error_in(f"first\n{line}\n", "/w")
    assert (error.problem.where if error else None) == where
    assert error is None or (what in error.problem.what and line in str(error.problem.found))
