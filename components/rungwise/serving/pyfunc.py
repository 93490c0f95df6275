"""A registered model as MLflow serves it (models from code): rows in, answers with their probabilities out.

Used by `mlflow.pyfunc.load_model("models:/TASK@champion")` and `mlflow models serve`. Only the attempt is stored
with the model; its base is taken from where the attempt's spec says, and must have the recorded digest.
"""

from pathlib import Path
from typing import Any

import mlflow
from pydantic import BaseModel

from rungwise.serving.answerer import Answerer
from rungwise.workspace.process import workspace_root


class Answer(BaseModel):
    """The answer to one row."""

    answer: str | None
    """None where the row does not fit the model's context."""
    probability: float
    """0 to 1; of a label its share among all, of a written answer the geometric mean of its tokens'."""


class ServedAttempt(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """The pyfunc around an attempt."""

    def load_context(self, context: Any) -> None:
        """Loads base and adapter, once."""
        self._answerer = Answerer(Path(context.artifacts["attempt"]), workspace_root())

    def predict(self, model_input: list[dict[str, str]]) -> list[Answer]:
        """Returns for each row (slot name -> text) the answer and its probability."""
        return [Answer(answer=p.answer, probability=p.probability) for p in self._answerer(model_input)]


mlflow.models.set_model(ServedAttempt())
