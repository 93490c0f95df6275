"""Public data sets, each described by a few lines of YAML, from their files to three sides; skipped where absent."""

from collections import Counter
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import benchmarks
from rungwise.config import parse
from rungwise.dataset.ingest import ingest
from rungwise.dataset.split import split
from rungwise.dataset.validate import validate

FILES = sorted((Path(benchmarks.__file__).parent / "described").glob("*.yaml"))
SIZES = {
    "banking77": (13083, 3080),
    "clinc150": (22500, 4500),
    "e2e_nlg": (9365, 4693),
    "gsm8k": (8792, 1319),
    "self_instruct": (175, None),
    "sms_spam": (5574, None),
    "trec": (5952, 500),
}
"""Rows of all files, and of the official test set."""
REST = {"seed": 1, "ladder": [{"name": "classical", "method": "classical"}], "validate": {}, "split": {}, "augment": {}}
REST |= {"train": {}, "evaluate": {}, "decide": {}}


SLOW = ("clinc150",)
"""The largest data set: 23,700 rows. The others take the same way through the code."""


@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=[pytest.mark.slow] * (p.stem in SLOW), id=p.stem) for p in FILES]
)
def test_a_few_lines_describe_a_public_data_set(path, shared):
    assert len(path.read_text().splitlines()) < 15
    settings = parse({**REST, **YAML(typ="safe").load(path)})
    (task,) = settings.tasks.values()
    result = ingest(settings.ingest, settings.split, task, shared / "datasets" / path.stem)
    n_rows, n_test = SIZES[path.stem]
    assert len(result.examples) + len(result.rejections) == n_rows
    faults = Counter(r.reason for r in result.rejections if r.reason != "duplicate")
    assert sum(faults.values()) <= 0.01 * n_rows, faults
    checked = validate(settings.validate_, task, result.examples)
    sides = split(settings.split, checked.examples)
    assert len(sides.train) > 100 and len(sides.dev) > 10
    given = Counter(r.reason for r in result.rejections if r.source == "test")
    if n_test:
        lost = sum(given.values()) + sum(r.source == "test" for r in checked.rejections)
        assert len(sides.test) == n_test - lost and {e.source for e in sides.test} == {"test"}
    held_out = {e.group for side in (sides.dev, sides.test) for e in side}
    assert held_out.isdisjoint(sides.train.group)
