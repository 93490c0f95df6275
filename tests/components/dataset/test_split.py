import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config import SplitSettings
from components.dataset.split import position, split
from components.errors import DataError
from tests.conftest import examples

ROWS = examples(400)


def sides(result):
    return {e.id: side for side in ("train", "dev", "test") for e in getattr(result, side)}


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 399), max_size=200), st.randoms(use_true_random=False))
def test_other_rows_never_move_a_row(removed, draw):
    rows = [e for i, e in enumerate(ROWS) if i not in removed]
    draw.shuffle(rows)
    before, after = sides(split(SplitSettings(), ROWS)), sides(split(SplitSettings(), rows))
    assert all(before[e.id] == after[e.id] for e in rows)


def test_shares_are_about_right_and_groups_stay_together():
    rows = [replace(e, group=f"g{i % 130}") for i, e in enumerate(ROWS)]
    result = split(SplitSettings(dev=0.2, test=0.2), rows)
    assert 0.1 < len(result.dev) / 400 < 0.3 and 0.1 < len(result.test) / 400 < 0.3
    groups = [{e.group for e in side} for side in (result.train, result.dev, result.test)]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert all(0 <= position(g) < 1 for g in groups[0])


def test_given_sides_are_kept_and_dev_is_taken_from_training_where_none_is_given():
    rows = [replace(e, role="test" if i < 100 else "train") for i, e in enumerate(ROWS)]
    result = split(SplitSettings(), rows)
    assert {e.id for e in result.test} == {e.id for e in rows[:100]}
    assert 20 < len(result.dev) < 80
    all_given = [replace(e, role=("train", "dev", "test")[i % 3]) for i, e in enumerate(ROWS)]
    assert sides(split(SplitSettings(), all_given)) == {e.id: e.role for e in all_given}


def test_a_training_row_whose_group_is_measured_goes_counted():
    rows = [replace(e, role=("train", "dev", "test")[i % 3]) for i, e in enumerate(ROWS)]
    rows[0] = replace(rows[0], group=rows[2].group)
    rows[3] = replace(rows[3], group=rows[1].group)
    result = split(SplitSettings(), rows)
    assert [(r.id, r.reason) for r in result.rejections] == [("row-0", "leak"), ("row-3", "leak")]
    assert {"row-0", "row-3"}.isdisjoint(e.id for e in result.train)


def test_a_steering_row_whose_group_judges_goes_counted():
    rows = [replace(e, role=("train", "dev", "test")[i % 3]) for i, e in enumerate(ROWS)]
    rows[1] = replace(rows[1], group=rows[2].group)
    result = split(SplitSettings(), rows)
    assert [(r.id, r.reason) for r in result.rejections] == [("row-1", "leak")]
    assert not {e.group for e in result.dev} & {e.group for e in result.test}


def test_an_empty_side_is_an_error():
    with pytest.raises(DataError, match="no rows for"):
        split(SplitSettings(), random.Random(1).sample(ROWS, 2))
