import contextlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import ValidationError

from components import collect as module
from components.collect import collect
from components.config import CollectSettings, SourceSettings
from components.dataset.sources import FINGERPRINTS, files, rows
from components.errors import DataError
from components.folders import file_digest, read_json


def settings(**values):
    return CollectSettings.model_validate({"name": "s", "to": "x.csv", **values})


def run(tmp_path, *sources):
    return collect(sources, tmp_path, tmp_path / "raw", lambda *_: None)


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

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "out")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    assert run(tmp_path, settings(**{"from": f"{address}/rows.csv"}))[0].changed == ("x.csv",)
    with pytest.raises(DataError, match="holds no files"):
        run(tmp_path, settings(**{"from": f"{address}/nothing.csv"}))
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match="holds no files|can't be collected"):
        run(tmp_path, settings(**{"from": f"{address}/rows.csv"}))
    with pytest.raises(DataError, match=r"(?s)can't be collected.*do: "):
        run(tmp_path, settings(**{"from": "nosuch://x"}))
    assert (tmp_path / "raw/x.csv").read_text() == "body,queue\na,b\n"


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
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/x.csv").write_text("old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        run(tmp_path, settings(**{"from": "mails.csv"}))
    assert os.listdir(tmp_path / "raw") == ["x.csv"] and (tmp_path / "raw/x.csv").read_text() == "old"


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
