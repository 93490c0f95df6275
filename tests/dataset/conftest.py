"""Functions that several tests of the rows share."""

import contextlib
import random
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from hypothesis import strategies as st

from rungwise.config import AnswerSettings, CollectSettings, IngestSettings, SourceSettings, SplitSettings, TaskSettings
from rungwise.dataset.collect import collect
from rungwise.dataset.ingest import ingest
from rungwise.dataset.readers import rows

WORDS = [f"{a}{b}" for a in ("ba", "ko", "mi", "tre", "sul", "fen") for b in ("lar", "den", "ti", "ro", "gas")]
DUPLICATED = "how do i change the pin of my new card"


def edited(n: int, seed: int) -> list[str]:
    """Returns n texts, of which every other is an earlier one with some letters changed."""
    draw = random.Random(seed)
    texts: list[str] = []
    for i in range(n):
        if i % 2 and draw.random() < 0.6:
            letters = list(draw.choice(texts))
            for _ in range(draw.randint(1, 3)):
                letters[draw.randrange(len(letters))] = draw.choice("abcdefg")
            texts.append(" ".join("".join(letters).split()))
        else:
            texts.append(" ".join(draw.choices(WORDS, k=draw.randint(4, 14))))
    return texts


def read(tmp_path, content, name="x.csv", needed=("body", "queue"), **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(rows(SourceSettings(name="s", path=name, **options), path, needed))


CHAT = ("prompt", "completion")
tables = st.lists(
    st.dictionaries(
        st.sampled_from(["body", "queue", "messages", "conversations", "instruction", "output", "prompt"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["role", "content", "from", "a"]), inner, max_size=3)
            ),
            max_leaves=6,
        ),
        max_size=5,
    ),
    max_size=4,
)


def collect_settings(**values):
    return CollectSettings.model_validate({"name": "s", "to": "x.csv", **values})


def collect_all(tmp_path, *sources):
    return collect(sources, tmp_path, tmp_path / "raw", lambda *_: None)


def run_collect(tmp_path, *sources):
    return collect_all(tmp_path, *sources).sources


@contextlib.contextmanager
def web(folder):
    """Serves the files of a folder on loopback; yields the address and the paths of the requests."""
    requests = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()


def state(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


TASK = TaskSettings(prompt="{body} Queue:", answer=AnswerSettings(column="queue"))


def ingested(tmp_path, text, split=None, task=TASK, **settings):
    (tmp_path / "x.csv").write_text(text)
    sources = ({"name": "tickets", "path": "x.csv"},)
    ingest_settings = IngestSettings.model_validate(
        {"sources": sources, "max_rejected_share": 1.0, **settings}, strict=False
    )
    return ingest(ingest_settings, split or SplitSettings(), task, tmp_path)
