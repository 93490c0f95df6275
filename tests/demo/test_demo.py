"""`make demo`, with a few steps in place of two hundred."""

import re

import pytest

from rungwise.config import load
from rungwise.core.errors import WorkspaceError
from tests.conftest import REPOSITORY, script


@pytest.fixture(scope="module")
def demo():
    return script("demo")


@pytest.mark.parametrize(("found", "what"), [((100.0, 9000.0), "disk"), ((9000.0, 100.0), "memory")])
def test_too_little_room_is_said_before_anything_is_made(tmp_path, demo, monkeypatch, found, what):
    monkeypatch.setattr(demo, "free_mib", lambda root: found)
    with pytest.raises(WorkspaceError, match=f"(?s)too little {what}.*100 MiB free"):
        demo.check_room(tmp_path)
    monkeypatch.setattr(demo, "free_mib", lambda root: (9000.0, None))
    demo.check_room(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_room_is_read_off_this_machine(tmp_path, demo):
    disk, memory = demo.free_mib(tmp_path)
    assert disk > 1 and (memory is None or memory > 1)


def test_other_rows_are_never_overwritten(tmp_path, demo):
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/tickets.csv").write_text("mine")
    with pytest.raises(WorkspaceError, match="other rows than the demonstration"):
        demo.place_rows(tmp_path)
    assert (tmp_path / "data/raw/tickets.csv").read_text() == "mine"


def test_another_workspace_is_left_alone(tmp_path, demo, workspace):
    demo.check_is_demo(REPOSITORY)
    before = {p: p.read_bytes() for p in workspace.rglob("*") if p.is_file()}
    (workspace / "params.yaml").write_text((workspace / "params.yaml").read_text().replace("tickets.csv", "mine.csv"))
    with pytest.raises(WorkspaceError, match=r"(?s)not the demonstration's.*sources mine.csv"):
        demo.check_is_demo(workspace)
    (workspace / "params.yaml").write_bytes(before[workspace / "params.yaml"])
    with pytest.raises(WorkspaceError, match="not the demonstration's"):
        demo.check_is_demo(workspace)  # reads tickets, but holds no models of the demonstration


def test_the_full_demonstration_adds_what_params_yaml_lacks_and_nothing_else(tmp_path, demo):
    params = tmp_path / "params.yaml"
    before = (REPOSITORY / "params.yaml").read_text()
    params.write_text(re.sub(r"\{steps: \d+", "{steps: 7", before))
    assert demo.add_full(params) == ["reply", "triage", "pocket-l"]
    after = params.read_text()
    assert set(before.splitlines()) - set(after.splitlines()) == {
        line for line in before.splitlines() if "steps:" in line
    }
    settings = load(params)
    assert [r.name for r in settings.ladder] == ["classical", "prompt", "pocket-s", "pocket-m", "pocket-l"]
    assert {t.family for t in settings.tasks.values()} == {"extract", "expand", "combined"}
    assert settings.train.steps == 7
    assert demo.add_full(params) == [] and params.read_text() == after
