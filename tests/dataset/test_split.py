import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rungwise.config import SplitSettings
from rungwise.core.errors import DataError
from rungwise.core.records import Example
from rungwise.core.table import Table
from rungwise.dataset.split import position, rare, split
from tests.conftest import examples

ROWS = [e for e in {e.fields["body"]: e for e in examples(430)}.values()][:400]
ONLY_GROUPS = SplitSettings(leaks="exact")
TEST_TEXT = "my card was stolen on the train to Leeds yesterday"


def sides(result):
    return {e.id: side for side in ("train", "dev", "test") for e in getattr(result, side)}


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 399), max_size=200), st.randoms(use_true_random=False))
def test_other_rows_never_move_a_row(removed, draw):
    rows = [e for i, e in enumerate(ROWS) if i not in removed]
    draw.shuffle(rows)
    before, after = sides(split(SplitSettings(), ROWS)), sides(split(SplitSettings(), rows))
    # a copy of a held-out row goes from training, and comes back when that row is gone: it never judges
    assert all(before.get(e.id, "train") == after.get(e.id, "train") for e in rows)


def test_shares_are_about_right_and_groups_stay_together():
    rows = [replace(e, group=f"g{i % 130}") for i, e in enumerate(ROWS)]
    result = split(SplitSettings(dev=0.2, test=0.2), rows)
    assert 0.1 < len(result.dev) / 400 < 0.3 and 0.1 < len(result.test) / 400 < 0.3
    groups = [{e.group for e in side} for side in (result.train, result.dev, result.test)]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert all(0 <= position(g) < 1 for g in groups[0])


def test_given_sides_are_kept_and_dev_comes_from_training_if_none_is_given():
    rows = [replace(e, role="test" if i < 100 else "train") for i, e in enumerate(ROWS)]
    result = split(SplitSettings(), rows)
    assert {e.id for e in result.test} == {e.id for e in rows[:100]}
    assert 20 < len(result.dev) < 80
    all_given = [replace(e, role=("train", "dev", "test")[i % 3]) for i, e in enumerate(ROWS)]
    assert sides(split(ONLY_GROUPS, all_given)) == {e.id: e.role for e in all_given}


def test_a_training_row_whose_group_is_held_out_is_removed_and_counted():
    rows = [replace(e, role=("train", "dev", "test")[i % 3]) for i, e in enumerate(ROWS)]
    rows[0] = replace(rows[0], group=rows[2].group)
    rows[3] = replace(rows[3], group=rows[1].group)
    result = split(ONLY_GROUPS, rows)
    assert [(r.id, r.reason) for r in result.rejections] == [("row-0", "leak_group"), ("row-3", "leak_group")]
    assert {"row-0", "row-3"}.isdisjoint(e.id for e in result.train)


def test_a_dev_row_whose_group_is_in_test_is_removed_and_counted():
    rows = [replace(e, role=("train", "dev", "test")[i % 3]) for i, e in enumerate(ROWS)]
    rows[1] = replace(rows[1], group=rows[2].group)
    result = split(ONLY_GROUPS, rows)
    assert [(r.id, r.reason) for r in result.rejections] == [("row-1", "leak_group")]
    assert not {e.group for e in result.dev} & {e.group for e in result.test}


def test_an_empty_side_is_an_error():
    with pytest.raises(DataError, match="no rows for"):
        split(SplitSettings(), random.Random(1).sample(ROWS, 2))


def given_rows(*extra: tuple[str, str], n: int = 60):
    """Returns `n` given rows that have nothing in common, one test row, and extra ones of (role, text)."""
    words = random.Random(3)
    texts = [" ".join("".join(words.choices("abcdefghij", k=6)) for _ in range(7)) for _ in range(n)]
    rows = [(("train", "dev", "test")[i % 3], text) for i, text in enumerate(texts)]
    return [
        Example(f"row-{i}", {"body": text}, "x", "s", i, f"g{i}", role=role)
        for i, (role, text) in enumerate([*rows, ("test", TEST_TEXT), *extra])
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("My card was  STOLEN, on the train to Leeds - yesterday!", "exact"),
        ("my card was stoeln on the train to Leeds yesterday", "near"),
        ("my card stolen was on the train to Leeds yesterday", "near"),
        (f"Good morning. {TEST_TEXT}. What do I do now?", "contained"),
        ("my card was stolen on the train to Leeds", "contained"),
    ],
)
def test_a_duplicate_of_a_test_row_is_removed_from_training_with_both_ids_on_record(text, kind):
    rows = given_rows(("train", text))
    result = split(SplitSettings(), rows)
    (rejection,) = result.rejections
    assert (rejection.id, rejection.reason) == ("row-61", f"leak_{kind}") and "row-60 in test" in rejection.detail
    (leak,) = result.leaks
    assert (leak.id, leak.other, leak.other_side, leak.kind) == ("row-61", "row-60", "test", kind)
    assert "row-61" not in sides(result) and "row-60" in {e.id for e in result.test}


def test_a_different_text_stays_and_so_does_a_near_duplicate_if_only_equal_texts_count():
    other = given_rows(("train", "my card was eaten by the machine in Leeds"))
    assert split(SplitSettings(), other).rejections == ()
    near = given_rows(("train", "my card was stoeln on the train to Leeds yesterday"))
    assert split(ONLY_GROUPS, near).rejections == ()


def test_a_dev_row_that_duplicates_a_test_row_is_reported_and_stays():
    result = split(SplitSettings(), given_rows(("dev", TEST_TEXT.upper())))
    assert [(x.id, x.other, x.kind) for x in result.dev_in_test] == [("row-61", "row-60", "exact")]
    assert "row-61" in {e.id for e in result.dev}


def test_a_synthetic_row_stays_in_training_only_if_all_its_parents_are_there():
    rows = given_rows(*[("train", f"made up text number {i} of its own {i * 7919}") for i in range(5)])
    parents = [("row-0",), ("row-60",), ("row-0", "row-1"), ("gone",), ("row-61",)]
    made = [replace(e, parents=p, role=None) for e, p in zip(rows[61:], parents, strict=True)]
    made.append(
        replace(made[0], id="judge", group="judge", role="test", fields={"body": "what is the weather on Mars"})
    )
    result = split(ONLY_GROUPS, [*rows[:61], *made])
    assert {e.id for e in result.train if e.is_synthetic} == {"row-61"}
    assert [(r.id, r.reason) for r in result.rejections] == [
        ("row-62", "leak_child"),
        ("row-63", "leak_child"),
        ("row-64", "leak_child"),
        ("row-65", "leak_child"),
        ("judge", "synthetic_held_out"),
    ]


def test_more_leaks_than_the_limit_stop_the_run():
    rows = given_rows(*[("train", f"{TEST_TEXT} {i}") for i in range(10)])
    with pytest.raises(DataError, match=r"(?s)10 of 30 training rows leak dev or test rows.*leak_near: 10"):
        split(SplitSettings(), rows)
    assert len(split(SplitSettings(max_leaked_share=0.5), rows).leaks) == 10


def test_generated_rows_without_their_parents_are_reported():
    rows = given_rows(*[("train", f"made up text number {i} of its own {i * 7919}") for i in range(30)])
    made = [replace(e, parents=(f"gone-{i}",), role=None) for i, e in enumerate(rows[61:])]
    with pytest.raises(DataError, match=r"(?s)30 generated rows whose parents are not among.*if a source was renamed"):
        split(ONLY_GROUPS, [*rows[:61], *made])


def test_shared_ends_of_all_texts_make_no_duplicates():
    wrapped = "Below is an instruction that describes a task. Write a response that completes the request.\n{}\nAnswer:"
    rows = [replace(e, fields={"body": wrapped.format(e.fields["body"])}) for e in given_rows()]
    assert split(SplitSettings(), rows).leaks == ()


def test_labels_with_few_held_out_rows_are_counted():
    table = split(SplitSettings(), ROWS)
    few = Table.of([replace(e, answer="odd") for e in table.train[:1]])
    assert rare(few, table.test, 1) == {"odd": 0} and rare(table.train, table.test, 1) == {}
