"""A small version of the audit's benchmark; skipped, saying so, where the data is absent."""

from pathlib import Path

import pytest

from benchmarks.audit import BASE_FAULTS, FAULTS, PROMPT, planted, with_faulty_base
from benchmarks.leakage import banking77
from rungwise.core.records import Base, Example
from rungwise.model.language_model import load
from rungwise.training.audit import audit
from rungwise.training.batches import encode


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found_and_clean_rows_have_none(shared, fault):
    lm = load(Base(str((shared / "models" / "stories260k").resolve())), Path("/"))
    pairs = banking77(shared, "train")[::100]
    rows = encode(lm, PROMPT, [Example(str(i), {"text": t}, a, "s", i, str(i)) for i, (t, a) in enumerate(pairs)])
    assert not audit(lm, rows).faults
    if fault in BASE_FAULTS:
        assert fault in audit(with_faulty_base(lm, fault, rows), rows).faults
        return
    marked = tuple(planted(lm, row, fault) if i % 10 == 0 else row for i, row in enumerate(rows))
    assert audit(lm, marked).faults[fault] == sum(i % 10 == 0 for i in range(len(rows))) / len(rows)
