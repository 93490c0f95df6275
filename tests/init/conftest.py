"""Helpers for tests of `init`."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rungwise.core.folders import read_lines
from rungwise.init.init import init
from rungwise.pipeline.stages import run_stage

Ingested = Callable[..., tuple[str, list[dict[str, Any]]]]


@pytest.fixture
def repository(tmp_path: Path) -> None:
    """A git and DVC repository around the test's workspace, so that `init` does not spend a second on one of its own."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".dvc").mkdir()


@pytest.fixture
def ingested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: None) -> Ingested:
    """Returns a function from rows and options of `init` to what it printed, and the rows after `ingest`."""
    monkeypatch.setenv("RUNGWISE_BASES", str(tmp_path / "cache"))
    monkeypatch.setattr("rungwise.init.training.speedup", lambda: 4.0)

    def read(rows: Any, text: str | None = None, answer: str | None = None, **options: Any) -> Any:
        file = rows
        if not isinstance(rows, Path):
            file = tmp_path / "rows.jsonl"
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        root = tmp_path / "ws"
        lines = init(root, file, text, answer, task="task", **options)
        run_stage(root, "ingest")
        return "\n".join(lines), list(read_lines(root / "data/ingest/task/examples.jsonl"))

    return read
