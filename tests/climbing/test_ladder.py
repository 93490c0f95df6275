from types import SimpleNamespace
from typing import Any, cast

import pytest

from rungwise.climbing.ladder import climb_ladder
from rungwise.config import DecideSettings
from rungwise.core.errors import DataError
from rungwise.core.records import Example
from rungwise.core.table import Table


@pytest.mark.parametrize(("n_groups", "rows"), [(1, "100 rows of 1 group"), (19, "100 rows of 19 groups")])
def test_validation_rows_of_too_few_groups_are_an_error_before_anything_is_trained(n_groups, rows):
    dev = Table.of([Example(f"r{i}", {"text": "a"}, "x", "rows", i, f"g{i % n_groups}") for i in range(100)])
    one = cast(Any, SimpleNamespace(settings=SimpleNamespace(decide=DecideSettings()), name="route", dev=dev))

    def train(*_):
        raise AssertionError("a rung was trained")

    with pytest.raises(DataError) as error:
        climb_ladder(one, "0" * 12, train, train)
    message = str(error.value)
    assert "the validation rows are of too few groups to judge anything" in message and rows in message
    assert "split.group" in message
