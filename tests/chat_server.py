"""Servers that speak OpenAI's chat completions: one in this process with every fault, and a real one."""

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.conftest import environment

Reply = tuple[int | str, dict[str, str], bytes]
"""Status, headers and body. The status `slow` waits three seconds, `drip` sends a byte of the body every 0.1 seconds,
`drip-headers` a byte of the headers, `drip-chunks` one of a chunk's length; `cut` breaks off."""
_DRIPS = {
    "drip-headers": (b"HTTP/1.1 200 OK\r\nX-Odd: ", b"x" * 100),
    "drip-chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 100),
}


def completion(content: Any, **more: Any) -> bytes:
    """Returns the body of a server's answer."""
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42}
    return json.dumps({"choices": [choice], "usage": usage, "model": "m", **more}).encode()


@contextmanager
def chat_server(
    reply: Reply | Callable[[Any], Reply],
) -> Iterator[tuple[str, list[Reply], list[tuple[Any, dict[str, str]]]]]:
    """Yields the server's address, its script and what it saw (body and headers of each request).

    The script's first entry answers a request and is removed, except the last one. `reply` is its first entry, or a
    function from a request's body to its answer, in the place of a script.
    """
    script: list[Reply] = [] if callable(reply) else [reply]
    seen: list[tuple[Any, dict[str, str]]] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                seen.append((body, dict(self.headers)))
                if callable(reply):
                    status, headers, content = reply(body)
                else:
                    status, headers, content = script.pop(0) if len(script) > 1 else script[0]
            if status == "slow":
                time.sleep(3)
                status = 200
            if status == "cut":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nhalf")
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if status in _DRIPS:
                start, rest = _DRIPS[str(status)]
                self.wfile.write(start)
                for byte in rest:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.1)
                return
            self.send_response(200 if status == "drip" else int(status))
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            for byte in content if status == "drip" else ():
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.1)
            if status != "drip":
                self.wfile.write(content)

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/v1", script, seen
    finally:
        running.shutdown()
        running.server_close()


def closed_port() -> int:
    """Returns a port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def transformers_serve(base: Path, tmp_path: Path) -> Iterator[tuple[str, str, Path]]:
    """Yields the address of `transformers serve`, its model's name, and its log; the template is a short one."""
    folder = shutil.copytree(base, tmp_path / "chatty")
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'][:60] }}{% endfor %}")
    port, log = closed_port(), tmp_path / "server.log"
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", "--host", "127.0.0.1", "--port"]
    with log.open("wb") as stream:
        running = subprocess.Popen(
            [*command, str(port), "--device", "cpu", str(folder)],
            env=environment(HF_HUB_OFFLINE="1"),
            stdout=stream,
            stderr=stream,
        )
        try:
            for _ in range(120):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                        break
                except OSError:
                    assert running.poll() is None, log.read_text()
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1", str(folder), log
        finally:
            running.kill()
            running.wait()
