"""The sections of params.yaml about scores, gates, the registry, and the answers that are left to people."""

import re
from typing import Annotated

from pydantic import Field, model_validator

from rungwise.config.section import Name, Positive, Section, Share


class EvaluateSettings(Section):
    """How answers are scored."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """The confidence of all two-sided intervals."""


class DecideSettings(Section):
    """When a rung's score is enough evidence to decide."""

    min_scored: Positive = 30
    """With fewer scored validation rows, a rung is not judged."""
    max_unscored_share: Share = 0.05
    """With a larger share of validation rows that could not be scored, a rung is not judged."""
    beyond_classical: bool = False
    """Whether the climb continues after a rung without a language model (`classical`, `embed`) passes, up to the first
    language model that passes too. It costs the training and shows what a language model would add."""


class RegisterSettings(Section):
    """Where results are recorded in MLflow."""

    experiment: Name = "rungwise"
    """The MLflow experiment of the attempts' runs."""
    models: str = "{task}"
    """The names of the registered models, with `{task}` for the task's name. Workspaces that share a server need
    different names, such as `tickets-{task}`. Under a new name, the next run registers the models again."""

    @model_validator(mode="after")
    def _names_models(self) -> "RegisterSettings":
        if not re.fullmatch(r"[A-Za-z0-9._-]{0,60}\{task\}[A-Za-z0-9._-]{0,60}", self.models):
            raise ValueError("models: letters, digits, dots, dashes and, once, `{task}`, such as `tickets-{task}`")
        return self


class PromoteSettings(Section):
    """What the promotion gate requires on the test rows, in addition to the bar."""

    min_scored: Positive = 30
    """With fewer scored test rows, nothing is promoted."""
    max_unscored_share: Share = 0.05
    """With a larger share of test rows that could not be scored, nothing is promoted."""
    margin: Share = 0.02
    """How much worse than the best version ever promoted a challenger with a smaller base may be, shown on test rows.
    The smaller the margin, the more rows it takes: see the page on gates."""
    cohort_rows: Positive = 300
    """Test rows in a cohort. All looks at a cohort share one significance level; this many new test rows form the next
    cohort. See the page on gates."""
    min_test: Positive = 200
    """With fewer test rows than this, a warning says what they can show. Nothing is refused because of it."""


class AbstainSettings(Section):
    """Which answers a champion gives itself, and which rows it leaves to people."""

    right: dict[Name, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    """Task name -> the share of the champion's own answers that is to be right. Validation rows show from which
    probability on its answers keep that; the other rows are for people. By default it answers all rows. Example:
    `{route: 0.95}`."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.9
    """How sure that promise is: of ten workspaces that make it, nine keep it."""
