"""What a run shows of DVC: nothing, unless it is asked for or DVC itself fails."""

import pytest

from rungwise.core.errors import DataError, WorkspaceError
from rungwise.core.recipes import RECIPES
from rungwise.workspace.dvc import reproduce
from rungwise.workspace.layout import stage_command
from tests.conftest import sided_rows, with_dvc, write_sided

CHATTER = ("Running stage", "> exec python", "dvc.lock", "dvc push", "autostage")


@pytest.fixture
def root(tmp_path):
    return with_dvc(write_sided(tmp_path / "ws", [*sided_rows(60, "train"), *sided_rows(40, "dev")]))


def test_stages_speak_and_dvc_is_silent_unless_it_is_asked(root, capfd):
    reproduce(root, "ingest")
    said = "".join(capfd.readouterr())
    assert said.startswith("ingest route: 100 rows") and not any(word in said for word in CHATTER)
    reproduce(root, "--force", "ingest", verbose=True)
    out, said = capfd.readouterr()
    assert "Running stage 'ingest'" in said and "> exec python" in said and "ingest route: 100 rows" in said and not out


def test_the_error_of_a_stage_is_raised_as_it_is(root, capfd):
    (root / "data/raw/tickets.csv").write_text("")
    for verbose in (False, True):
        with pytest.raises(DataError) as raised:
            reproduce(root, verbose=verbose)
        assert raised.value.problem.what == "a source's file is empty" and "tickets.csv" in raised.value.problem.where
    assert "rungwise:" not in capfd.readouterr().err  # whoever catches it shows it, once


def test_an_error_of_dvc_is_shown_in_its_words(root, capfd):
    with pytest.raises(WorkspaceError) as raised:
        reproduce(root, "no-such-stage")
    assert "no-such-stage" in raised.value.problem.found and "rungwise run -v" in raised.value.problem.do
    assert not "".join(capfd.readouterr())


def test_a_stage_that_is_killed_is_an_error_that_names_it(root):
    graph = root / "dvc.yaml"
    graph.write_text(graph.read_text().replace(stage_command("ingest", RECIPES["ingest"]), "kill -9 $$"))
    with pytest.raises(WorkspaceError, match=r"(?s)the run failed.*ingest"):
        reproduce(root, "ingest")


def test_a_fault_inside_dvc_is_shown_with_its_causes_and_without_a_traceback(root):
    (root / "data/raw/more.csv").symlink_to("nowhere")
    with pytest.raises(WorkspaceError) as raised:
        reproduce(root, "ingest")
    shown = raised.value.problem.found
    assert "failed to reproduce 'ingest'" in shown and "more.csv" in shown
    assert not any(word in shown for word in ("Traceback", 'File "', "raise "))
