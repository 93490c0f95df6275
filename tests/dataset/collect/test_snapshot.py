import json
import os
import sqlite3

import pytest

from rungwise.core.errors import DataError
from rungwise.core.folders import file_digest, read_json
from rungwise.dataset.collect.fingerprints import FINGERPRINTS
from tests.dataset.conftest import collect_settings as settings
from tests.dataset.conftest import run_collect as run
from tests.dataset.conftest import state


def test_a_file_is_copied_with_its_fingerprint_and_not_touched_again(tmp_path):
    (tmp_path / "mails.csv").write_text("body,queue\na,b\n")
    (first,) = run(tmp_path, settings(**{"from": "mails.csv", "licence": "CC0"}))
    copy = tmp_path / "raw/x.csv"
    assert copy.read_text() == "body,queue\na,b\n" and first.changed == ("x.csv",)
    record = read_json(tmp_path / "raw" / FINGERPRINTS)
    assert record == {
        "s": {"from": "mails.csv", "licence": "CC0", "files": {"x.csv": {"bytes": 15, "sha256": file_digest(copy)}}}
    }
    before = copy.stat().st_ino, (tmp_path / "raw" / FINGERPRINTS).read_bytes()
    assert run(tmp_path, settings(**{"from": "mails.csv", "licence": "CC0"}))[0].changed == ()
    assert (copy.stat().st_ino, (tmp_path / "raw" / FINGERPRINTS).read_bytes()) == before


def test_sources_that_exchange_their_targets_keep_their_files(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(name)
    one, two = (settings(**{"from": f"{n}.csv"}, name=n, to=f"{n}.csv") for n in "ab")
    run(tmp_path, one, two)
    swapped = [settings(**{"from": f"{n}.csv"}, name=n, to=f"{t}.csv") for n, t in (("a", "b"), ("b", "a"))]
    run(tmp_path, *swapped)
    assert (tmp_path / "raw/a.csv").read_text() == "b" and (tmp_path / "raw/b.csv").read_text() == "a"
    files = {n: set(v["files"]) for n, v in read_json(tmp_path / "raw" / FINGERPRINTS).items()}
    assert files == {"a": {"b.csv"}, "b": {"a.csv"}}


def test_a_query_without_rows_and_a_folder_of_hidden_files_change_nothing(tmp_path):
    with sqlite3.connect(tmp_path / "crm.db") as base:
        base.execute("create table mails (body text)")
        base.execute("insert into mails values ('a')")
    base.close()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_text("a")
    # a relative SQLite address starts at the workspace, wherever the command was started
    query = settings(**{"from": "sqlite:///crm.db", "query": "select body from mails"}, to="m.jsonl", name="q")
    folder = settings(**{"from": "in"}, to="in", name="f")
    run(tmp_path, query, folder)
    before = state(tmp_path / "raw")
    with pytest.raises(DataError, match="a query returns no rows"):
        run(tmp_path, query.model_copy(update={"query": "select body from mails where body = 'b'"}), folder)
    (tmp_path / "in/a.csv").rename(tmp_path / "in/.a.csv")
    with pytest.raises(DataError, match=r"(?s)has no files.*only hidden files"):
        run(tmp_path, query, folder)
    assert state(tmp_path / "raw") == before
    with pytest.raises(DataError, match=r"(?s)database is missing.*crn\.db"):
        run(tmp_path, query.model_copy(update={"from_": "sqlite:///crn.db"}))
    assert not (tmp_path / "crn.db").exists()


def test_all_files_of_a_source_are_replaced_or_none(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / f"in/{name}.csv").write_text(name)
    source = settings(**{"from": "in"}, to="in")
    run(tmp_path, source)
    before = state(tmp_path / "raw")
    for name in "abc":
        (tmp_path / f"in/{name}.csv").write_text(f"new {name}")
    calls, real = [], os.fsync

    def third_fails(handle):
        calls.append(handle)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", third_fails)
    with pytest.raises(DataError, match="No space left"):
        run(tmp_path, source)
    monkeypatch.undo()
    assert state(tmp_path / "raw") == before
    assert len(run(tmp_path, source)[0].changed) == 3


def test_a_file_of_the_users_own_is_not_replaced(tmp_path):
    (tmp_path / "a.csv").write_text("new")
    (tmp_path / "raw/folder").mkdir(parents=True)
    (tmp_path / "raw/x.csv").write_text("mine")
    with pytest.raises(DataError, match=r"(?s)replace a file that was not collected.*did not write"):
        run(tmp_path, settings(**{"from": "a.csv"}))
    with pytest.raises(DataError, match=r"(?s)replace a file that was not collected.*a folder"):
        run(tmp_path, settings(**{"from": "a.csv"}, to="folder"))
    with pytest.raises(DataError, match="below a file"):
        run(tmp_path, settings(**{"from": "a.csv"}, to="x.csv/y.csv"))
    assert state(tmp_path / "raw") == {"x.csv": b"mine"}
    (tmp_path / "raw/x.csv").write_text("new")  # the same: as a killed run leaves it
    assert run(tmp_path, settings(**{"from": "a.csv"}))[0].changed == ("x.csv",)


def test_the_next_run_repairs_a_kill_between_two_files(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / f"in/{name}.csv").write_text(name)
    real = os.replace

    def killed(source, target):
        real(source, target)
        if str(target).endswith("a.csv"):
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, settings(**{"from": "in"}, to="in"))
    monkeypatch.undo()
    (tmp_path / "raw/in/.b.csv.part").write_text("half")
    (tmp_path / "in/a.csv").write_text("newer")
    run(tmp_path, settings(**{"from": "in"}, to="in"))
    result = state(tmp_path / "raw")
    del result[FINGERPRINTS]
    assert result == {"in/a.csv": b"newer", "in/b.csv": b"b"}


def test_the_command_collects_and_says_what_changed(workspace, rungwise):
    (workspace / "elsewhere.csv").write_text("body,queue\na,b\n")
    assert "names no source" in rungwise(workspace, "collect").stdout
    with (workspace / "params.yaml").open("a") as stream:
        stream.write("collect: [{name: more, from: elsewhere.csv, to: more.csv}]\n")
    assert rungwise(workspace, "collect").stdout == "more: 1 file, 15 bytes; 1 changed\n"
    assert rungwise(workspace, "collect").stdout == "more: 1 file, 15 bytes; nothing changed\n"
    (result,) = json.loads(rungwise(workspace, "collect", "--json").stdout)
    assert result["files"]["more.csv"]["bytes"] == 15
    text = (workspace / "params.yaml").read_text()
    (workspace / "params.yaml").write_text(
        text.replace("name: more", "name: other").replace("more.csv}]", "other.csv}]")
    )
    assert "warning: data/raw/more.csv comes from a source" in rungwise(workspace, "collect").stderr
