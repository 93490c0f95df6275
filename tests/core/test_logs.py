"""Logs grow by whole lines; what a killed writer leaves is left out and repaired, all else is named."""

import os
import resource
import subprocess
import sys

import pytest

from rungwise.core.errors import WorkspaceError
from rungwise.core.folders import read_lines
from rungwise.core.logs import append_log, read_log

LOG = b'{"a":1}\n{"a":"caf\xc3\xa9"}\n'


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(LOG)
    return tmp_path / "log.jsonl"


def test_a_log_grows_by_lines(tmp_path):
    path = tmp_path / "new" / "log.jsonl"
    assert read_log(path) == []
    for number in range(3):
        append_log(path, {"n": number, "pair": (1, "é\ud800")})
    assert [line["n"] for line in read_log(path)] == [0, 1, 2] and read_log(path)[0]["pair"] == [1, "é\ud800"]


@pytest.mark.parametrize("cut", [b'{"a"', b'{"a": "caf\xc3', b"{", b"   ", b"12", b'{"a": 1}}'])
def test_a_cut_last_line_is_left_out_and_the_next_write_removes_it(log, cut):
    log.write_bytes(LOG + cut)
    assert [line["a"] for line in read_log(log)] == [1, "café"]
    append_log(log, {"a": 3})
    assert log.read_bytes() == LOG + b'{"a":3}\n'


@pytest.mark.parametrize("content", [LOG[:-1], b'{"a":1}'])
def test_a_line_without_its_end_counts(log, content):
    log.write_bytes(content)
    before = read_log(log)
    assert len(before) == content.count(b"{")
    append_log(log, {"a": 3})
    assert log.read_bytes() == content + b'\n{"a":3}\n' and read_log(log) == [*before, {"a": 3}]


@pytest.mark.parametrize("line", [b"{", b"3", b"[]", b"\xff", b""])
def test_another_line_that_cannot_be_read_is_named(log, line):
    log.write_bytes(LOG + line + b"\n" + LOG)
    with pytest.raises(
        WorkspaceError, match=r"a line of a log can't be read(.|\n)*log\.jsonl, line 3(.|\n)*no JSON obj"
    ):
        read_log(log)


def test_an_object_of_another_kind_is_named(log):
    with pytest.raises(WorkspaceError, match=r"line 1(.|\n)*without \['b'\](.|\n)*with a, b"):
        read_log(log, ("a", "b"))


def test_the_marks_of_a_conflict_are_named(log):
    log.write_bytes(LOG + b"<<<<<<< HEAD\n" + LOG + b"=======\n>>>>>>> other\n")
    with pytest.raises(WorkspaceError, match=r"conflict marks(.|\n)*log\.jsonl, line 3"):
        read_log(log)


FULL = """
import resource, signal, sys
from pathlib import Path
from rungwise.core.logs import append_log
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    append_log(Path(sys.argv[1]), {"a": "x" * 100})
except OSError as error:
    print(type(error).__name__)
"""


def test_a_full_disk_leaves_no_part_of_a_line(log):
    command = [sys.executable, "-c", FULL, str(log), str(len(LOG) + 50)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
    assert done.stdout == "OSError\n", done.stderr
    assert log.read_bytes() == LOG and resource.getrlimit(resource.RLIMIT_FSIZE)


def test_a_line_of_a_file_that_is_not_json_is_named(log):
    assert [row["a"] for row in read_lines(log)] == [1, "café"]
    log.write_bytes(LOG + b'{"a"')
    with pytest.raises(WorkspaceError, match=r"a line of a file can't be read(.|\n)*log\.jsonl, line 3"):
        list(read_lines(log))
