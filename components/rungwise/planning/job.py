"""A job: what is done with a base, and all that decides its memory and time.

A method's settings and properties come from `core.methods.METHODS`, so that a plan describes the training run that a
rung starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.core.methods import METHODS, Method

TOKENS, ANSWER_TOKENS, LABELS = 512, 32, 8
"""Assumed by default: tokens of the longest row and of the longest answer, and labels of a task."""


@dataclass(frozen=True)
class Job:
    """What is done with a base.

    Raises:
        SettingsError: the method is unknown or has no base.
    """

    method: str
    """One of `methods.METHODS` that has a base."""
    precision: str = "fp32"
    """Of the base's weights: fp32, bf16, fp16, or 4bit (NF4, computing in 16 bit)."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The method's settings that differ from its defaults. A setting that the method does not have is ignored."""
    rows: int = 1
    """Rows that pass through the model together (B)."""
    tokens: int = TOKENS
    """Tokens of the longest row, prompt and answer (S)."""
    answer_tokens: int = ANSWER_TOKENS
    """Tokens of the longest answer (T)."""
    is_checkpointed: bool = False
    """Whether only the layers' inputs are kept and each layer is computed again in the backward pass."""
    is_padded: bool = True
    """Whether rows differ in length, so that attention has a mask."""
    shared_tokens: int = 0
    """Tokens of the shared prefix, which is read once (F)."""
    labels: int = LABELS
    """Labels that scoring compares for each row."""
    device: str = "cuda"
    """`cuda` or `cpu`."""

    def __post_init__(self) -> None:
        planned = [name for name, method in METHODS.items() if method.has_base]
        if self.method not in planned:
            raise SettingsError(
                Problem(
                    "the planner does not support this method",
                    found=self.method[:40],
                    wanted="one of " + joined(planned, 30),
                )
            )

    @property
    def properties(self) -> Method:
        """The method's properties."""
        return METHODS[self.method]

    @property
    def trains(self) -> bool:
        """Whether the job trains; otherwise it only scores answers."""
        return self.properties.trains

    @property
    def encodes(self) -> bool:
        """Whether a frozen encoder reads every row once, forward only."""
        return self.properties.engine == "encoder"

    @property
    def rank(self) -> int:
        """Rank of the low-rank matrices; 0 if the method has no rank."""
        return int(self._setting("rank") or 0)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the adapted modules; empty if the method does not choose them."""
        return tuple(self._setting("targets") or ())

    @property
    def dropout(self) -> float:
        """Dropout before the adapter's matrices."""
        return float(self._setting("dropout") or 0.0)

    @property
    def virtual_tokens(self) -> int:
        """Virtual tokens; 0 if the method has none."""
        return int(self._setting("tokens") or 0)

    @property
    def last_layers(self) -> int:
        """How many of the last layers are adapted or trained; 0 if the method does not choose them."""
        return int(self._setting("layers") or 0)

    @property
    def element_bytes(self) -> int:
        """Bytes of one element of an activation."""
        return 4 if self.precision == "fp32" else 2

    def _setting(self, name: str) -> Any:
        return self.properties.setting(name, self.settings)
