import contextlib
import shutil
import socket
import subprocess
import time

import pytest

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError
from rungwise.dataset.readers import files, rows
from rungwise.dataset.readers.row import Row
from tests.dataset.conftest import collect_settings as settings
from tests.dataset.conftest import run_collect as run
from tests.dataset.conftest import web


def test_folders_and_patterns_become_folders_and_removed_files_are_removed(tmp_path):
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
    with pytest.raises(DataError, match="has no files"):
        run(tmp_path, settings(**{"from": "in/*.json"}))
    with pytest.raises(DataError, match="has no files"):
        run(tmp_path, settings(**{"from": "nothing.csv"}))


def test_web_addresses_and_unknown_schemes(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/rows.csv").write_text("body,queue\na,b\n")

    with web(tmp_path / "out") as (address, requests):
        assert run(tmp_path, settings(**{"from": f"{address}/rows.csv"}))[0].changed == ("x.csv",)
        with pytest.raises(DataError, match="has no files"):
            run(tmp_path, settings(**{"from": f"{address}/nothing.csv"}))
        # what stands behind a question mark is a query, and no part of the file's name
        (found,) = run(tmp_path, settings(**{"from": f"{address}/rows.csv?a=1&keyword=b"}, to="web/", name="q"))
        assert set(found.files) == {"web/rows.csv"} and "/rows.csv?a=1&keyword=b" in "".join(requests)
    with pytest.raises(DataError, match=r"the server 127\.0\.0\.1:\d+ can't be reached"):
        run(tmp_path, settings(**{"from": f"{address}/rows.csv"}))
    with pytest.raises(DataError, match=r"(?s)can't be collected.*do: "):
        run(tmp_path, settings(**{"from": "nosuch://x"}))
    assert (tmp_path / "raw/x.csv").read_text() == "body,queue\na,b\n"


def test_existing_names_with_brackets_are_not_patterns(tmp_path):
    (tmp_path / "mails[1].csv").write_text("x")
    assert set(run(tmp_path, settings(**{"from": "mails[1].csv"}, to="in/"))[0].files) == {"in/mails[1].csv"}


def test_files_that_datasets_saved_are_collected_and_read(tmp_path):
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
    (row,) = rows(source, path, ("body", "queue"))
    assert isinstance(row, Row) and row.values == {"body": "one", "queue": "a"}


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
        with pytest.raises(DataError, match="has no files"):
            run(tmp_path, settings(**{"from": "s3://bucket/none.csv"}, to="a"))
    finally:
        server.kill()
        server.wait()
        s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(DataError, match="can't be collected"):
        run(tmp_path, settings(**{"from": "s3://bucket/rows"}, to="a"))
    assert (tmp_path / "raw" / "a" / "a.csv").is_file()
