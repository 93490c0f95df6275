"""A registered model for MLflow's serving ("models from code"): rows in, answers with their probabilities out.

Used by `mlflow.pyfunc.load_model("models:/NAME@champion")` and `mlflow models serve`. MLflow stores only the attempt.
The base is loaded from the path in the attempt's spec, and must have the recorded digest.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas
from pydantic import BaseModel

from rungwise.serving.answerer import Answerer
from rungwise.workspace.process import workspace_root


class Answer(BaseModel):
    """The answer to one row."""

    answer: str | None
    """None if the row exceeds the model's context."""
    probability: float
    """0 to 1. Of a label: its share of all labels' likelihoods. Of a written answer: geometric mean over its tokens."""


class ServedAttempt(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """An attempt as an MLflow pyfunc."""

    def load_context(self, context: Any) -> None:
        """Loads base and adapter once."""
        self._answerer = Answerer(Path(context.artifacts["attempt"]), workspace_root())

    def predict(self, model_input: pandas.DataFrame) -> list[Answer]:
        """Returns the answer to each row, in order; a column for each slot of the prompt.

        MLflow also takes a list of dictionaries, and checks the columns against the model's signature.
        """
        rows = model_input.to_dict("records")
        return [Answer(answer=p.answer, probability=p.probability) for p in self._answerer(rows)]


mlflow.models.set_model(ServedAttempt())
