from rungwise.core.records import Base
from rungwise.model.language_model import load
from rungwise.training.batches import TokenRow, batches, micro_batches
from tests.conftest import examples, make_base
from tests.training.runs import PROMPT, token_rows


def test_every_answer_ends_with_the_end_token(lm):
    rows, rejected = token_rows(lm, PROMPT, examples(5))
    assert all(row.answer[-1] == lm.end for row in rows) and rejected == {}


def test_rows_over_the_context_are_counted(tmp_path):
    short = load(Base("b"), make_base(tmp_path / "b", context=11).parent)
    rows, rejected = token_rows(short, PROMPT, examples(50))
    assert rejected["over_context"] == 50 - len(rows) > 0 and rows
    assert all(r.length <= 11 for r in rows)


def test_each_epoch_has_every_row_once_in_a_seeded_order():
    rows = [TokenRow((i,) * (1 + i % 7), (i,)) for i in range(50)]
    shown = [row for batch in batches(rows, batch_size=8, steps=25, seed=1) for row in batch]
    assert len(shown) == 200
    for start in (0, 48):
        assert len(set(shown[start : start + 48])) >= 46
    assert all(shown.count(row) == 4 for row in rows)
    assert shown == [r for b in batches(rows, batch_size=8, steps=25, seed=1) for r in b]
    assert shown != [r for b in batches(rows, batch_size=8, steps=25, seed=2) for r in b]
    assert [len(b) for b in batches(rows[:3], batch_size=8, steps=4, seed=1)] == [3] * 4


def test_microbatches_have_at_most_the_given_tokens_padding_included():
    rows = [TokenRow((1,) * n, (2,)) for n in (1, 2, 3, 9, 30)]
    parts = list(micro_batches(rows, 12))
    assert [row for part in parts for row in part] == rows
    assert [len(part) for part in parts] == [3, 1, 1]
    wide = [TokenRow((1,), (2,) * n) for n in (1, 2, 2, 3)]
    assert [len(part) for part in micro_batches(wide, 1000, 4)] == [2, 1, 1]
