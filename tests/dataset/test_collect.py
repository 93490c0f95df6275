import contextlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import ValidationError

from rungwise.config import CollectSettings, SourceSettings
from rungwise.core.errors import DataError
from rungwise.core.folders import file_digest, read_json
from rungwise.dataset import collect as module
from rungwise.dataset.collect import collect
from rungwise.dataset.sources import FINGERPRINTS, files, rows


def settings(**values):
    return CollectSettings.model_validate({"name": "s", "to": "x.csv", **values})


def whole(tmp_path, *sources):
    return collect(sources, tmp_path, tmp_path / "raw", lambda *_: None)


def run(tmp_path, *sources):
    return whole(tmp_path, *sources).sources


@contextlib.contextmanager
def web(folder):
    """A server of a folder's files on loopback; yields its address and the requests' paths."""
    asked = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


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


def test_folders_and_patterns_become_folders_and_what_is_gone_goes(tmp_path):
    for name in ("in/a.csv", "in/deep/b.csv", "in/.git/c.csv", "in/d.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    source = settings(**{"from": "in", "to": "all"})
    assert set(run(tmp_path, source)[0].files) == {"all/a.csv", "all/deep/b.csv", "all/d.txt"}
    (tmp_path / "in/d.txt").unlink()
    assert run(tmp_path, source)[0].changed == ("all/d.txt",) and not (tmp_path / "raw/all/d.txt").exists()
    assert set(run(tmp_path, settings(**{"from": "in/a.csv", "to": "one/"}))[0].files) == {"one/a.csv"}
    pattern = settings(**{"from": "in/**/*.csv", "to": "all"})
    assert set(run(tmp_path, pattern)[0].files) == {"all/a.csv", "all/deep/b.csv"}
    with pytest.raises(DataError, match="holds no files"):
        run(tmp_path, settings(**{"from": "in/*.json"}))
    with pytest.raises(DataError, match="holds no files"):
        run(tmp_path, settings(**{"from": "nothing.csv"}))


def test_a_query_becomes_json_lines(tmp_path, monkeypatch):
    with sqlite3.connect(tmp_path / "crm.db") as base:
        base.execute("create table mails (body text, queue text, n real, at text)")
        base.executemany("insert into mails values (?, ?, ?, ?)", [("a:b 100%", "x", 1.5, None), ("ü", "y", 2, "2026")])
    base.close()
    monkeypatch.setenv("CRM_URL", f"sqlite:///{tmp_path / 'crm.db'}")
    source = settings(
        url_env="CRM_URL", query="select body, queue, n, at from mails where body like '%' order by body", to="m.jsonl"
    )
    (found,) = run(tmp_path, source)
    assert [json.loads(line) for line in (tmp_path / "raw/m.jsonl").read_text().splitlines()] == [
        {"body": "a:b 100%", "queue": "x", "n": 1.5, "at": None},
        {"body": "ü", "queue": "y", "n": 2.0, "at": "2026"},
    ]
    assert found.origin == "$CRM_URL" and str(tmp_path) not in (tmp_path / "raw" / FINGERPRINTS).read_text()
    for query, said in (
        ("select nosuch from mails", "OperationalError.*no such column"),
        ("select body, queue as body from mails", "gives no table"),
        ("create table t (a)", "gives no table"),
        ("select x'00ff' as picture", "column holds bytes"),
    ):
        with pytest.raises(DataError, match=f"(?s){said}"):
            run(tmp_path, settings(url_env="CRM_URL", query=query, to="m.jsonl"))
    assert len((tmp_path / "raw/m.jsonl").read_text().splitlines()) == 2  # what was there before stays


def test_an_address_on_the_network_and_one_that_is_none(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/rows.csv").write_text("body,queue\na,b\n")

    with web(tmp_path / "out") as (address, asked):
        assert run(tmp_path, settings(**{"from": f"{address}/rows.csv"}))[0].changed == ("x.csv",)
        with pytest.raises(DataError, match="holds no files"):
            run(tmp_path, settings(**{"from": f"{address}/nothing.csv"}))
        # what stands behind a question mark is a query, and no part of the file's name
        (found,) = run(tmp_path, settings(**{"from": f"{address}/rows.csv?a=1&keyword=b"}, to="web/", name="q"))
        assert set(found.files) == {"web/rows.csv"} and "/rows.csv?a=1&keyword=b" in "".join(asked)
    with pytest.raises(DataError, match=r"the server 127\.0\.0\.1:\d+ can't be reached"):
        run(tmp_path, settings(**{"from": f"{address}/rows.csv"}))
    with pytest.raises(DataError, match=r"(?s)can't be collected.*do: "):
        run(tmp_path, settings(**{"from": "nosuch://x"}))
    assert (tmp_path / "raw/x.csv").read_text() == "body,queue\na,b\n"


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


def state(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


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
    with pytest.raises(DataError, match="a query gives no rows"):
        run(tmp_path, query.model_copy(update={"query": "select body from mails where body = 'b'"}), folder)
    (tmp_path / "in/a.csv").rename(tmp_path / "in/.a.csv")
    with pytest.raises(DataError, match=r"(?s)holds no files.*hidden files alone"):
        run(tmp_path, query, folder)
    assert state(tmp_path / "raw") == before
    with pytest.raises(DataError, match=r"(?s)database is missing.*crn\.db"):
        run(tmp_path, query.model_copy(update={"from_": "sqlite:///crn.db"}))
    assert not (tmp_path / "crn.db").exists()


def test_of_several_files_all_take_their_places_or_none(tmp_path, monkeypatch):
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

    monkeypatch.setattr(module.os, "fsync", third_fails)
    with pytest.raises(DataError, match="No space left"):
        run(tmp_path, source)
    monkeypatch.undo()
    assert state(tmp_path / "raw") == before
    assert len(run(tmp_path, source)[0].changed) == 3


def test_names_with_brackets_that_exist_are_names(tmp_path):
    (tmp_path / "mails[1].csv").write_text("x")
    assert set(run(tmp_path, settings(**{"from": "mails[1].csv"}, to="in/"))[0].files) == {"in/mails[1].csv"}


def test_fingerprints_that_can_not_be_read_are_an_error(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "raw").mkdir()
    for text in ("{", "[]", '{"a": 1}', '{"a": {}}'):
        (tmp_path / "raw" / FINGERPRINTS).write_text(text)
        with pytest.raises(DataError, match="fingerprints of what was collected"):
            run(tmp_path, settings(**{"from": "a.csv"}))


def test_what_a_source_left_that_is_gone_is_named_and_stays(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(name)
    one, two = (settings(**{"from": f"{n}.csv"}, name=n, to=f"{n}.csv") for n in "ab")
    assert whole(tmp_path, one, two).orphans == ()
    for _ in range(2):
        assert whole(tmp_path, one).orphans == ("b.csv",)
        assert read_json(tmp_path / "raw" / FINGERPRINTS)["b"]["orphaned"] and (tmp_path / "raw/b.csv").is_file()
    renamed = two.model_copy(update={"name": "c"})
    assert whole(tmp_path, one, renamed).orphans == ()
    assert set(read_json(tmp_path / "raw" / FINGERPRINTS)) == {"a", "c"}
    (tmp_path / "raw/b.csv").unlink()
    assert whole(tmp_path, one).orphans == ()
    assert set(read_json(tmp_path / "raw" / FINGERPRINTS)) == {"a"}


def test_a_file_of_the_users_own_is_not_replaced(tmp_path):
    (tmp_path / "a.csv").write_text("new")
    (tmp_path / "raw/folder").mkdir(parents=True)
    (tmp_path / "raw/x.csv").write_text("mine")
    with pytest.raises(DataError, match=r"(?s)replace what was not collected.*did not put there"):
        run(tmp_path, settings(**{"from": "a.csv"}))
    with pytest.raises(DataError, match=r"(?s)replace what was not collected.*a folder"):
        run(tmp_path, settings(**{"from": "a.csv"}, to="folder"))
    with pytest.raises(DataError, match="lies in a file"):
        run(tmp_path, settings(**{"from": "a.csv"}, to="x.csv/y.csv"))
    assert state(tmp_path / "raw") == {"x.csv": b"mine"}
    (tmp_path / "raw/x.csv").write_text("new")  # the same: as a killed run leaves it
    assert run(tmp_path, settings(**{"from": "a.csv"}))[0].changed == ("x.csv",)


def test_a_kill_between_two_files_is_made_good_by_the_next_run(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / f"in/{name}.csv").write_text(name)
    real = os.replace

    def killed(source, target):
        real(source, target)
        if str(target).endswith("a.csv"):
            raise KeyboardInterrupt

    monkeypatch.setattr(module.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, settings(**{"from": "in"}, to="in"))
    monkeypatch.undo()
    (tmp_path / "raw/in/.b.csv.part").write_text("half")
    (tmp_path / "in/a.csv").write_text("newer")
    run(tmp_path, settings(**{"from": "in"}, to="in"))
    found = state(tmp_path / "raw")
    del found[FINGERPRINTS]
    assert found == {"in/a.csv": b"newer", "in/b.csv": b"b"}


@pytest.mark.parametrize(
    ("address", "is_secret"),
    [
        ("https://host/x.csv?keyword=a&monkey=b&design=c", False),
        ("https://host/x.csv?api_key=a", True),
        ("https://host/x.csv?apiKey=a", True),
        ("https://host/x.csv?X-Amz-Signature=a", True),
        ("https://host/x.csv?sig=a", True),
        ("https://host/x.csv?db_passwords=a", True),
        ("https://ghp_token@host/x.csv", True),
        ("sftp://ada@host/x.csv", False),
        ("postgresql://ada@host/db", False),
        ("https://[ab@host/x.csv", True),
    ],
)
def test_a_secret_in_an_address_is_known_by_whole_words(address, is_secret):
    if is_secret:
        with pytest.raises(ValidationError, match="holds a password"):
            settings(**{"from": address})
    else:
        settings(**{"from": address})


def test_messages_hide_whole_words_and_survive_any_address(tmp_path, monkeypatch):
    told = "can't reach a table in ahosts at host as a: password hunter2, (a:hunter2@host)"
    assert module._masked(told, "x://a:hunter2@host/db") == (
        "can't reach a table in ahosts at ... as a: password ..., (...)"
    )
    for address in ("postgresql://ada:hun[ter2@secret.example/db", "nosuch://ada:hun/ter2@secret.example/db"):
        monkeypatch.setenv("CRM_URL", address)
        for extra in ({}, {"query": "select 1"}):
            with pytest.raises(DataError, match="can't be collected") as error:
                run(tmp_path, settings(url_env="CRM_URL", **extra))
            assert not [w for w in ("hun", "ter2", "secret.example", "ada:") if w in str(error.value)], error.value


def test_a_driver_that_is_missing_and_a_query_that_is_missing_are_named(tmp_path, monkeypatch):
    for address, package in (("postgresql+psycopg://h/d", "psycopg"), ("mysql+pymysql://h/d", "pymysql")):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.setenv("CRM_URL", address)
        with pytest.raises(DataError, match=f"pip install {package}"):
            run(tmp_path, settings(url_env="CRM_URL", query="select 1"))
        with pytest.raises(DataError, match="the source has no `query`"):
            run(tmp_path, settings(url_env="CRM_URL"))


def test_a_databases_json_stays_json():
    line = module._line(settings(**{"from": "a"}), {"a": {"b": [1, "ü"]}, "c": [True, None]})
    assert json.loads(json.loads(line)["a"]) == {"b": [1, "ü"]} and json.loads(json.loads(line)["c"]) == [True, None]


def test_passwords_stand_in_the_environment_and_reach_no_message(tmp_path, monkeypatch):
    for address in ("postgresql://ada:hunter2@host/db", "https://host/x.csv?token=hunter2", "s3://k:hunter2@b/x"):
        with pytest.raises(ValidationError, match="holds a password"):
            settings(**{"from": address})
    with pytest.raises(ValidationError, match="either `from` or `url_env`"):
        settings()
    monkeypatch.setenv("CRM_URL", "nosuch://ada:hunter2@secret.example/db")
    for extra in ({}, {"query": "select 1"}):
        with pytest.raises(DataError, match="can't be collected") as error:
            run(tmp_path, settings(url_env="CRM_URL", **extra))
        assert not {"hunter2", "secret.example", "ada:"} & {
            w for w in ("hunter2", "secret.example", "ada:") if w in str(error.value)
        }
    monkeypatch.delenv("CRM_URL")
    with pytest.raises(DataError, match="no environment variable CRM_URL"):
        run(tmp_path, settings(url_env="CRM_URL"))


@pytest.mark.parametrize("target", ["../x.csv", "/x.csv", ".hidden", "SOURCES.json"])
def test_a_target_stays_in_data_raw(target):
    with pytest.raises(ValidationError):
        settings(**{"from": "a", "to": target})


def test_a_link_in_data_raw_leads_nowhere(tmp_path):
    (tmp_path / "in.csv").write_text("x")
    (tmp_path / "raw").mkdir()
    (tmp_path / "else").mkdir()
    (tmp_path / "raw/out").symlink_to(tmp_path / "else")
    with pytest.raises(DataError, match="leads out"):
        run(tmp_path, settings(**{"from": "in.csv", "to": "out/x.csv"}))


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    (tmp_path / "mails.csv").write_text("new")
    (tmp_path / "mails.csv").write_text("old")
    run(tmp_path, settings(**{"from": "mails.csv"}))
    (tmp_path / "mails.csv").write_text("new")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        run(tmp_path, settings(**{"from": "mails.csv"}))
    assert (
        sorted(os.listdir(tmp_path / "raw")) == [FINGERPRINTS, "x.csv"]
        and (tmp_path / "raw/x.csv").read_text() == "old"
    )


def test_what_datasets_saved_is_collected_and_read(tmp_path):
    import pyarrow as pa

    folder = tmp_path / "saved/train"
    folder.mkdir(parents=True)
    table = pa.table({"body": ["one"], "queue": ["a"]})
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as stream,
        pa.ipc.new_stream(stream, table.schema) as writer,
    ):
        writer.write_table(table)
    (folder / "state.json").write_text("{}")
    run(tmp_path, settings(**{"from": "saved", "to": "saved"}))
    source = SourceSettings(name="s", path="saved")
    (path,) = files(source, tmp_path / "raw")
    assert [r.values for r in rows(source, path, ("body", "queue"))] == [{"body": "one", "queue": "a"}]


def test_the_command_collects_and_says_what_changed(workspace, rungwise):
    (workspace / "elsewhere.csv").write_text("body,queue\na,b\n")
    assert "names no source" in rungwise(workspace, "collect").stdout
    with (workspace / "params.yaml").open("a") as stream:
        stream.write("collect: [{name: more, from: elsewhere.csv, to: more.csv}]\n")
    assert rungwise(workspace, "collect").stdout == "more: 1 files, 15 bytes; 1 changed\n"
    assert rungwise(workspace, "collect").stdout == "more: 1 files, 15 bytes; nothing changed\n"
    (found,) = json.loads(rungwise(workspace, "collect", "--json").stdout)
    assert found["files"]["more.csv"]["bytes"] == 15
    text = (workspace / "params.yaml").read_text()
    (workspace / "params.yaml").write_text(
        text.replace("name: more", "name: other").replace("more.csv}]", "other.csv}]")
    )
    assert "warning: data/raw/more.csv comes from a source" in rungwise(workspace, "collect").stderr


def test_an_object_store_is_read_and_one_that_is_down_is_an_error(tmp_path, monkeypatch):
    """Against a server that speaks S3, in an environment of its own: its libraries and DVC's do not go together."""
    s3fs = pytest.importorskip("s3fs", reason="an object store is tried where s3fs is installed")
    command = shutil.which("moto_server") or pytest.skip("no moto_server that speaks S3 on the path")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "name")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    server = subprocess.Popen([command, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
                break
            time.sleep(0.1)
        store = s3fs.S3FileSystem()
        store.mkdir("bucket")
        for key in ("rows/a.csv", "rows/more/b.csv"):
            store.pipe(f"bucket/{key}", b"body,queue\nhello,billing\n")
        (found,) = run(tmp_path, settings(**{"from": "s3://bucket/rows"}, to="a"))
        assert sorted(found.files) == ["a/a.csv", "a/more/b.csv"]
        with pytest.raises(DataError, match="holds no files"):
            run(tmp_path, settings(**{"from": "s3://bucket/none.csv"}, to="a"))
    finally:
        server.kill()
        server.wait()
        s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(DataError, match="can't be collected"):
        run(tmp_path, settings(**{"from": "s3://bucket/rows"}, to="a"))
    assert (tmp_path / "raw" / "a" / "a.csv").is_file()
