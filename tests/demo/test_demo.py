"""The parts of `make demo`: the checks before it, the rows, and what `make demo-full` adds."""

import re

import pytest

from rungwise.config import load
from rungwise.core.errors import ModelError, WorkspaceError
from tests.conftest import REPOSITORY, script


@pytest.fixture(scope="module")
def demo():
    return script("demo")


@pytest.mark.parametrize(("free", "what"), [((100.0, 9000.0), "disk"), ((9000.0, 100.0), "memory")])
def test_too_little_room_is_an_error_before_anything_is_written(tmp_path, demo, monkeypatch, free, what):
    monkeypatch.setattr(demo, "free_mib", lambda root: free)
    with pytest.raises(WorkspaceError, match=f"(?s)too little {what}.*100 MiB free"):
        demo.check_room(tmp_path)
    monkeypatch.setattr(demo, "free_mib", lambda root: (9000.0, None))
    demo.check_room(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_free_disk_and_memory_are_read(tmp_path, demo):
    disk, memory = demo.free_mib(tmp_path)
    assert disk > 1 and (memory is None or memory > 1)


def test_other_rows_are_never_overwritten(tmp_path, demo):
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/tickets.csv").write_text("mine")
    with pytest.raises(WorkspaceError, match="other rows than the demonstration"):
        demo.place_rows(tmp_path)
    assert (tmp_path / "data/raw/tickets.csv").read_text() == "mine"


def test_another_workspace_is_refused(tmp_path, demo, workspace):
    demo.check_is_demo(REPOSITORY)
    before = {p: p.read_bytes() for p in workspace.rglob("*") if p.is_file()}
    (workspace / "params.yaml").write_text((workspace / "params.yaml").read_text().replace("tickets.csv", "mine.csv"))
    with pytest.raises(WorkspaceError, match=r"(?s)not the demonstration's.*sources mine.csv"):
        demo.check_is_demo(workspace)
    (workspace / "params.yaml").write_bytes(before[workspace / "params.yaml"])
    with pytest.raises(WorkspaceError, match="not the demonstration's"):
        demo.check_is_demo(workspace)  # reads the tickets, but does not have the models


def test_the_full_demonstration_adds_only_what_is_missing_in_params_yaml(tmp_path, demo):
    params = tmp_path / "params.yaml"
    before = (REPOSITORY / "params.yaml").read_text()
    params.write_text(re.sub(r"\{steps: \d+", "{steps: 7", before))
    assert demo.add_full(params, with_gemma=False) == ["keywords", "triage"]
    assert demo.add_full(params, with_gemma=True) == ["gemma3-270m"]
    after = params.read_text()
    assert set(before.splitlines()) - set(after.splitlines()) == {
        line for line in before.splitlines() if "steps:" in line
    }
    settings = load(params)
    assert [r.name for r in settings.ladder] == ["classical", "embed", "smollm2-135m", "gemma3-270m"]
    assert {t.family for t in settings.tasks.values()} == {"extract", "expand", "combined"}
    assert settings.tasks.keys() == demo.QUESTIONS.keys()
    assert settings.train.steps == 7
    assert demo.add_full(params, with_gemma=True) == [] and params.read_text() == after


def test_without_the_bases_nothing_runs_and_the_way_out_is_said(tmp_path, demo, monkeypatch):
    (tmp_path / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    monkeypatch.setenv("RUNGWISE_BASES", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ModelError):
        demo.fetch_bases(tmp_path)
    assert "base: pocket-m" in demo.NO_BASES
