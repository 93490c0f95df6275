"""Answers from an attempt's folder: the model that was scored is the model that is served."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rungwise.attempts.store import RESULT, SPEC, open_attempt
from rungwise.core.errors import ModelError, Problem
from rungwise.core.folders import joined, read_json
from rungwise.core.records import Example, Prediction


class Answerer:
    """A loaded attempt; call it with rows to get predictions."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._model = open_attempt(folder, root)
        recorded = read_json(folder / RESULT)["base_digest"]
        if recorded != self._model.digest:
            raise ModelError(
                Problem(
                    "a base model is not the one that was trained on",
                    where=f"base {read_json(folder / SPEC)['base']['name']}",
                    found=f"sha256 {self._model.digest}",
                    wanted=f"sha256 {recorded}",
                    do="restore the base's original files",
                )
            )

    @property
    def slots(self) -> tuple[str, ...]:
        """The fields that a row must have."""
        return self._model.slots

    def __call__(self, rows: Sequence[Mapping[str, str]]) -> tuple[Prediction, ...]:
        """Returns one prediction for each row.

        Raises:
            ModelError: a row lacks a field.
        """
        examples = [
            Example(str(number), dict(row), "", "request", number, str(number)) for number, row in enumerate(rows, 1)
        ]
        return self.judge(examples)

    def judge(self, rows: Sequence[Example]) -> tuple[Prediction, ...]:
        """Returns one prediction for each row of known answer.

        Raises:
            ModelError: a row lacks a field.
        """
        for row in rows:
            if not set(self.slots) <= set(row.fields):
                raise ModelError(
                    Problem(
                        "a row lacks a field of the model's prompt",
                        where=f"{row.source} line {row.line}",
                        found=joined(sorted(row.fields)),
                        wanted=joined(self.slots),
                    )
                )
        return self._model.predict(rows)
