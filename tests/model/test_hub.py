"""The hub path against a server on loopback that speaks the hub's layout."""

import hashlib
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import environment

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FETCH = """
import sys
from pathlib import Path
from rungwise.core.errors import RungwiseError
from rungwise.model.bases import base_digest, base_folder
from rungwise.model.language_model import load
from rungwise.core.records import Base
base = Base("acme/pocket", sys.argv[1])
try:
    lm = load(base, Path("."))
except RungwiseError as error:
    print(error)
    sys.exit(2)
print(lm.digest, base_folder(base, Path(".")).name)
"""


@pytest.fixture
def hub(base_folder):
    seen: list[str] = []
    files = {p.name: p.read_bytes() for p in Path(base_folder).iterdir()}
    files["pytorch_model.bin"] = b"a pickle that nobody should fetch"
    files["odd.py"] = b"raise SystemExit('it ran')"

    class Hub(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def answer(self, with_body: bool) -> None:
            seen.append(self.path)
            path = self.path.partition("?")[0]
            if path.startswith("/api/models/acme/pocket/revision/") or path == "/api/models/acme/pocket":
                if not path.endswith((COMMIT, "acme/pocket")):
                    self.fail("RevisionNotFound")
                    return
                siblings = [{"rfilename": name} for name in files]
                self.send(
                    json.dumps({"id": "acme/pocket", "sha": COMMIT, "siblings": siblings}).encode(), {}, with_body
                )
                return
            prefix, name = path.rsplit("/", 1)
            if prefix == f"/acme/pocket/resolve/{COMMIT}" and name in files:
                etag = hashlib.sha256(files[name]).hexdigest()
                self.send(files[name], {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, with_body)
                return
            if path.startswith(f"/api/models/acme/pocket/tree/{COMMIT}"):
                tree = [{"type": "file", "path": n, "size": len(b), "oid": "0" * 40} for n, b in files.items()]
                self.send(json.dumps(tree).encode(), {}, with_body)
                return
            self.fail("EntryNotFound")

        def send(self, body: bytes, headers: dict[str, str], with_body: bool) -> None:
            self.send_response(200)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def fail(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self):
            self.answer(True)

        def do_HEAD(self):
            self.answer(False)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


def fetch(
    endpoint: str, home: Path, commit: str = COMMIT, *, code: str = FETCH, **more: str
) -> subprocess.CompletedProcess[str]:
    env = environment(HF_ENDPOINT=endpoint, HF_HOME=str(home), **more)
    return subprocess.run(
        [sys.executable, "-c", code, commit], capture_output=True, text=True, env=env, check=False, timeout=120
    )


def test_a_pinned_hub_base_is_fetched_once_without_its_pickle_and_then_offline(hub, tmp_path, base_folder):
    from rungwise.model.bases import base_digest

    endpoint, seen = hub
    done = fetch(endpoint, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == [base_digest(base_folder), COMMIT]
    assert any(path.endswith("model.safetensors") for path in seen)
    assert not any("pytorch_model.bin" in path for path in seen)
    assert any(path.endswith("odd.py") for path in seen)  # fetched, so that a refusal can name its hash, and not run
    again = fetch("http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    assert again.stdout == done.stdout, again.stderr


def test_a_missing_commit_is_one_message(hub, tmp_path):
    endpoint, _ = hub
    done = fetch(endpoint, tmp_path, "f" * 40)
    assert done.returncode == 2 and "can't be fetched from the hub" in done.stdout, done.stdout + done.stderr
    assert "acme/pocket@" + "f" * 40 in done.stdout and "Traceback" not in done.stderr


def test_pin_adds_the_commit_and_changes_nothing_else_in_the_file(hub, tmp_path, workspace, rungwise):
    endpoint, _ = hub
    params = workspace / "params.yaml"
    text = params.read_text()
    rung = "  - {name: hub, base: acme/pocket, method: lora}   # from the hub\n"
    params.write_text(text.replace("ingest:", rung + "ingest:", 1))
    refused = rungwise(workspace, "run")
    assert refused.returncode == 2 and "`rungwise pin` adds" in refused.stderr
    done = rungwise(workspace, "pin", HF_ENDPOINT=endpoint, HF_HOME=str(tmp_path / "home"))
    assert done.returncode == 0 and done.stdout == f"acme/pocket@{COMMIT}\n", done.stderr
    assert f"base: acme/pocket@{COMMIT}, method: lora}}   # from the hub" in params.read_text()
    assert "base: bases/able," in params.read_text()  # a folder, though it looks like a hub's name
    pinned = params.read_bytes()
    again = rungwise(workspace, "pin", HF_ENDPOINT="http://127.0.0.1:9")
    assert "nothing was changed" in again.stdout and params.read_bytes() == pinned
    params.write_text(text.replace("ingest:", "  - {name: hub, base: acme/nothing, method: lora}\ningest:", 1))
    kept = params.read_bytes()
    missing = rungwise(workspace, "pin", HF_ENDPOINT=endpoint, HF_HOME=str(tmp_path / "home"))
    assert missing.returncode == 2 and "the hub did not return a model's commit" in missing.stderr
    assert "acme/nothing" in missing.stderr and params.read_bytes() == kept


def test_a_hub_that_is_down_is_one_message(tmp_path):
    # huggingface_hub tries six times and waits 23 s in all between the tries; here the tries follow without a wait
    done = fetch("http://127.0.0.1:9", tmp_path, code=f"import time\ntime.sleep = lambda seconds: None\n{FETCH}")
    assert done.stderr.count("[Retry") == 5, done.stderr
    assert done.returncode == 2 and "can't be fetched from the hub" in done.stdout, done.stdout + done.stderr
