"""fp32 against bf16 on this machine: measured with a base of the ladder, and written into params.yaml for all to see.

Everything else in the file stays as it is, comments too (as `config.pin` does it).
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rungwise.config import Settings, base_of, set_precision
from rungwise.core.errors import Problem, SettingsError
from rungwise.core.records import AnswerForm, AttemptSpec
from rungwise.planning.measure import Probe

PRECISIONS = ("fp32", "bf16")
_MOST_TOKENS = 4096
"""Tokens of one measured step at most, so that a large base on a slow machine takes minutes, not hours."""


@dataclass(frozen=True)
class Measured:
    """What measuring both precisions found."""

    rung: str
    base: str
    probes: Mapping[str, Probe]
    """Precision -> what its steps took."""
    faster: str
    written: bool
    """Whether params.yaml was changed; not where it named the faster one already."""

    @property
    def sentence(self) -> str:
        """What was found and done, in one sentence."""
        rates = {precision: 1 / probe.seconds_per_token for precision, probe in self.probes.items()}
        speeds = " and ".join(f"{rate:,.0f} tokens a second in {precision}" for precision, rate in rates.items())
        done = "was written into params.yaml" if self.written else "stands in params.yaml already"
        return f"{self.base} trains {speeds} on this machine; `precision: {self.faster}` {done}."


def choose_precision(root: Path, path: Path, settings: Settings, *, tokens: int, steps: int = 3) -> Measured:
    """Measures the ladder's first trained base in both precisions and writes the faster one into params.yaml.

    The rows are random tokens, at most `tokens` long and as many as a step has, within a bound.

    Raises:
        SettingsError: no rung trains a language model, or params.yaml can't be changed.
        ModelError: the base can't be loaded.
    """
    from rungwise.model.language_model import load
    from rungwise.planning.measure import probe, random_rows

    rung = next((r for r in settings.ladder if r.method not in ("tfidf", "prompt")), None)
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
        spec = AttemptSpec(
            base=base, method="lora", prompt="", form=AnswerForm("text"), precision=precision, batch_size=n_rows
        )
        probes[precision] = probe(lm, spec, rows, steps=steps)
    faster = min(PRECISIONS, key=lambda p: probes[p].seconds_per_token)
    written = set_precision(path, faster)
    return Measured(rung.name, str(base), probes, faster, written)
