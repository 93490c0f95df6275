"""Answers from an attempt's folder: what is served is what was scored."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from components.climbing.attempts import RESULT, open_attempt
from components.errors import ModelError, problem
from components.evaluation.predict import predict
from components.folders import joined, read_json
from components.prompts import slots
from components.records import Example, Prediction


class Answerer:
    """A loaded attempt; call it with rows to get predictions."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._lm, self._spec, self._examples = open_attempt(folder, root)
        recorded = read_json(folder / RESULT)["base_digest"]
        if recorded != self._lm.digest:
            raise ModelError(
                problem(
                    "a base model is not the one that was trained on",
                    where=f"base {self._spec.base}",
                    found=f"sha256 {self._lm.digest}",
                    wanted=f"sha256 {recorded}",
                    do="put the base's own files back",
                )
            )

    @property
    def slots(self) -> tuple[str, ...]:
        """The fields that a row must have."""
        return slots(self._spec.prompt)

    def __call__(self, rows: Sequence[Mapping[str, str]]) -> tuple[Prediction, ...]:
        """Returns one prediction a row; raises ModelError for a row that lacks a field."""
        examples = []
        for number, row in enumerate(rows):
            missing = [name for name in self.slots if name not in row]
            if missing:
                raise ModelError(
                    problem(
                        "a row lacks a field",
                        where=f"row {number + 1}",
                        found=joined(sorted(row)),
                        wanted=joined(self.slots),
                    )
                )
            fields = {name: row[name] for name in self.slots}
            examples.append(Example(str(number), fields, "", "request", number, str(number)))
        return predict(self._lm, self._spec, examples, examples=self._examples)

    def judge(self, rows: Sequence[Example]) -> tuple[Prediction, ...]:
        """Returns one prediction for each row with a known answer."""
        return predict(self._lm, self._spec, rows, examples=self._examples)
