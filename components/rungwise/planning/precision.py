"""fp32 compared with bf16 on this machine: measured with a base of the ladder, and written into params.yaml.

Everything else in the file stays as it is, including comments (as in `config.pin`).
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rungwise.config import Settings, base_of, set_precision
from rungwise.core.errors import Problem, SettingsError
from rungwise.core.methods import METHODS
from rungwise.core.records import AnswerForm, AttemptSpec
from rungwise.planning.measure import Probe

PRECISIONS = ("fp32", "bf16")
_MOST_TOKENS = 4096
"""At most so many tokens in one measured step, so that a large base on a slow machine takes minutes, not hours."""


@dataclass(frozen=True)
class Measured:
    """The result of measuring both precisions."""

    rung: str
    base: str
    probes: Mapping[str, Probe]
    """Precision -> time and memory of its steps."""
    faster: str
    written: bool
    """Whether params.yaml was changed; it was not if it already named the faster one."""

    @property
    def sentence(self) -> str:
        """The result, in one sentence."""
        rates = {precision: 1 / probe.seconds_per_token for precision, probe in self.probes.items()}
        speeds = " and ".join(f"{rate:,.0f} tokens a second in {precision}" for precision, rate in rates.items())
        done = "was written into params.yaml" if self.written else "is already in params.yaml"
        return f"{self.base} trains {speeds} on this machine; `precision: {self.faster}` {done}."


def choose_precision(root: Path, path: Path, settings: Settings, *, tokens: int, steps: int = 3) -> Measured:
    """Measures the base of the ladder's first rung that trains, and writes the faster precision into params.yaml.

    The rows are random tokens: at most `tokens` in a row, and as many rows as a step has, within a limit.

    Raises:
        SettingsError: no rung trains a language model, or params.yaml can't be changed.
        ModelError: the base can't be loaded.
    """
    from rungwise.model.language_model import load
    from rungwise.planning.measure import probe, random_rows

    rung = next((r for r in settings.ladder if METHODS[r.method].trains), None)
    base = base_of(rung) if rung else None
    if rung is None or base is None:
        raise SettingsError(
            Problem(
                "no rung trains a language model",
                where="params.yaml: ladder",
                wanted="a rung of a method such as lora, whose base can be measured",
            )
        )
    draw, probes = random.Random(settings.seed), {}
    for precision in PRECISIONS:
        lm = load(base, root, precision=precision)
        length = max(2, min(tokens, lm.context_tokens))
        n_rows = max(1, min(settings.train.batch_size, _MOST_TOKENS // length))
        rows = random_rows(lm, length, 2, n_rows, draw)
        settings_of_lora: dict[str, Any] = dict(METHODS["lora"].settings)
        spec = AttemptSpec(
            base=base,
            method="lora",
            prompt="",
            form=AnswerForm("text"),
            precision=precision,
            batch_size=n_rows,
            **settings_of_lora,
        )
        probes[precision] = probe(lm, spec, rows, steps=steps)
    faster = min(PRECISIONS, key=lambda p: probes[p].seconds_per_token)
    written = set_precision(path, faster)
    return Measured(rung.name, str(base), probes, faster, written)
