import pytest

from rungwise.config import SplitSettings
from rungwise.core.errors import DataError
from tests.dataset.conftest import TASK
from tests.dataset.conftest import ingested as run

DUPLICATES = """body,queue
My card was stolen on the train,cards
"my  card was STOLEN on the train",cards
my card was stolen on the trains,cards
my card was stolen on the train,lost
where is my parcel now,parcels
"""


def kinds(result):
    return sorted(d.kind for d in result.duplicates), sorted(r.reason for r in result.rejections)


def test_duplicates_are_found_and_only_equal_rows_are_dropped(tmp_path):
    result = run(tmp_path, DUPLICATES)
    assert kinds(result) == (["contradiction", "exact", "near"], ["duplicate"])
    assert len(result.examples) == 4
    (exact,) = [d for d in result.duplicates if d.kind == "exact"]
    (gone,) = result.rejections
    assert gone.id == exact.id and exact.other in gone.detail and exact.other in result.examples.id


@pytest.mark.parametrize(
    ("settings", "reasons"),
    [
        ({"exact": "keep"}, []),
        ({"near": "drop"}, ["duplicate", "near_duplicate"]),
        ({"exact": "keep", "near": "ignore", "contradictions": "drop"}, ["contradiction", "contradiction"]),
    ],
)
def test_settings_decide_which_duplicates_are_dropped(tmp_path, settings, reasons):
    result = run(tmp_path, DUPLICATES, duplicates=settings)
    assert kinds(result)[1] == reasons and len(result.examples) == 5 - len(reasons)


def test_contradictions_can_stop_the_run_and_need_a_single_right_answer(tmp_path):
    with pytest.raises(DataError, match=r"(?s)1 row has another answer.*tickets line"):
        run(tmp_path, DUPLICATES, duplicates={"contradictions": "stop"})
    free = TASK.model_copy(update={"answer": TASK.answer.model_copy(update={"format": "text"})})
    assert kinds(run(tmp_path, DUPLICATES, task=free))[0] == ["exact", "near"]


def test_dropped_duplicates_do_not_count_as_rejected_and_the_order_of_rows_does_not_matter(tmp_path):
    lines = DUPLICATES.splitlines()
    first = run(tmp_path, DUPLICATES, max_rejected_share=0.0, duplicates={"near": "drop"})
    other = run(tmp_path, "\n".join([lines[0], *reversed(lines[1:])]), duplicates={"near": "drop"})
    assert set(first.examples.id) == set(other.examples.id)


def test_given_test_rows_stay_even_if_they_are_duplicates(tmp_path):
    text = "body,queue,side\n" + "".join(f"one more time,a,{side}\n" * 2 for side in ("train", "dev", "test"))
    result = run(tmp_path, text, SplitSettings(given="side"))
    assert sorted(result.examples.role) == ["dev", "dev", "test", "test", "train"]
