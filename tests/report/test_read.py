import pytest

from rungwise.core.climb_reasons import DoubtfulLabels
from rungwise.core.recipes import STAGES
from rungwise.pipeline.stages import run_stage
from rungwise.report.read import explain, explain_json, status, status_json
from rungwise.report.text import explain_text, status_text
from tests.conftest import sided_rows, write_sided


@pytest.mark.parametrize(("wrong", "is_doubted"), [(1.0, True), (0.0, False)])
def test_where_no_rung_passes_doubtful_labels_are_named_first(tmp_path, wrong, is_doubted):
    rows = [row for side in ("train", "dev", "test") for row in sided_rows(80, side, wrong=wrong)]
    root = write_sided(tmp_path / "ws", rows, target=0.99)
    for verb in STAGES:
        run_stage(root, verb)
    current, explained = status(root), explain(root)
    doubts = current.tasks["route"].doubts
    assert (isinstance(doubts, DoubtfulLabels) and doubts.rows == 240) == is_doubted
    for text in (status_text(current), explain_text(explained)):
        assert ("labels may be wrong" in text) == is_doubted
    for row in (status_json(current)["tasks"]["route"], explain_json(explained)["route"]):
        assert (row["doubts"] is not None) == is_doubted
