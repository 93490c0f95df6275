"""The store of attempts: their names, what lies in their folders, and opening one to answer. It imports no training.

An attempt is one base, training set, setting and seed. Its folder is named by a digest over all of these, so that a
finished attempt is never trained twice, whoever asks and after whatever crash.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from rungwise.core.folders import read_json
from rungwise.core.recipes import ANSWERING, CLASSICAL, TRAINING
from rungwise.core.records import AttemptSpec, Example, Json, digest, spec_from_json, to_json
from rungwise.model.bases import base_digest, base_folder

if TYPE_CHECKING:
    from rungwise.model.predict import Answering

SPEC, RESULT, SHOWN, COST, PREDICTIONS = "spec.json", "result.json", "shown.json", "cost.json", "predictions.jsonl"
AUDIT, LOSSES = "audit.json", "losses.json"


@dataclass(frozen=True)
class Attempt:
    """A finished attempt in the store."""

    digest: str
    folder: Path

    @property
    def result(self) -> Mapping[str, Json]:
        """What the training counted: rows, tokens, parameters, the base's digest, a note where it could not."""
        return dict(read_json(self.folder / RESULT))

    @property
    def cost(self) -> Mapping[str, Json]:
        """Seconds, threads and machine; it differs from run to run and enters no hashed output."""
        return dict(read_json(self.folder / COST))


def versions() -> dict[str, str]:
    """Returns the versions of the libraries that decide a training's numbers; a build's name (`+cpu`) is left out."""
    return {name: version(name).partition("+")[0] for name in ("torch", "transformers", "peft")}


def classical_versions() -> dict[str, str]:
    """Returns the versions of the libraries that decide the numbers of a rung without a language model."""
    return {name: version(name) for name in ("scikit-learn", "numpy", "scipy")}


def attempt_digest(spec: AttemptSpec, rows: Sequence[Example], root: Path, looked_at: Sequence[Example] = ()) -> str:
    """Returns the name of the attempt: base content, rows, settings, library versions, recipes."""
    is_classical = spec.base is None
    return digest(
        {
            "base": base_digest(base_folder(spec.base, root)) if spec.base else "",
            "settings": to_json(spec),
            "rows": [[dict(e.fields), e.answer] for e in rows if spec.method != "prompt" or not e.is_synthetic],
            **({"looked_at": [[e.id, dict(e.fields), e.answer] for e in looked_at]} if looked_at else {}),
            "versions": classical_versions() if is_classical else versions(),
            "recipes": [CLASSICAL] if is_classical else [TRAINING, ANSWERING],
        }
    )


def open_attempt(folder: Path, root: Path, spec: AttemptSpec | None = None) -> "Answering":
    """Returns the model of an attempt's folder, ready to answer.

    `spec` overrides the folder's own; the base comes from where it says.
    """
    spec = spec or spec_from_json(read_json(folder / SPEC))
    if spec.base is None:
        from rungwise.model.classical import Classical

        return Classical(folder, spec)
    from rungwise.model.adapters import load as load_adapter
    from rungwise.model.language_model import load
    from rungwise.model.predict import Prompted

    limit = int(read_json(folder / RESULT)["max_answer_tokens"])
    lm = load(spec.base, root, template=spec.template, precision=spec.precision)
    if spec.method == "prompt":
        examples = [(dict(fields), answer) for fields, answer in read_json(folder / SHOWN)]
        return Prompted(lm, spec, examples, limit)
    return Prompted(load_adapter(lm, folder), spec, (), limit)
