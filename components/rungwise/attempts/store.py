"""The store of attempts: their digests, their folders, and how to open one for answers. It imports no training.

An attempt is one base, training set, spec and seed. Its folder is named by a digest of all of these, so that a finished
attempt is never trained twice, by any runner and after any crash.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from rungwise.core.folders import read_json
from rungwise.core.methods import METHODS
from rungwise.core.recipes import ANSWERING, CLASSICAL, EMBEDDING, PROMPTING, TRAINING
from rungwise.core.records import AttemptSpec, Example, Json, digest, from_json, spec_from_json, to_json
from rungwise.model.bases import base_digest, base_folder

if TYPE_CHECKING:
    from rungwise.model.predict import AnswerModel

SPEC, RESULT, SHOWN, COST, PREDICTIONS = "spec.json", "result.json", "shown.json", "cost.json", "predictions.jsonl"
AUDIT, LOSSES = "audit.json", "losses.json"


@dataclass(frozen=True)
class Attempt:
    """A finished attempt in the store."""

    digest: str
    folder: Path

    @property
    def result(self) -> Mapping[str, Json]:
        """What training recorded: rows, tokens, parameters, the base's digest; a note if the base was not trained."""
        return dict(read_json(self.folder / RESULT))

    @property
    def cost(self) -> Mapping[str, Json]:
        """Seconds, threads and machine (see `attempts.cost`)."""
        return dict(read_json(self.folder / COST))


def versions() -> dict[str, str]:
    """Returns the versions of the libraries that decide the trained weights, without build names (`+cpu`)."""
    return {name: version(name).partition("+")[0] for name in ("torch", "transformers", "peft")}


def classical_versions() -> dict[str, str]:
    """Returns the versions of the libraries that decide the weights of a rung without a language model."""
    return {name: version(name) for name in ("scikit-learn", "numpy", "scipy")}


def versions_of(spec: AttemptSpec) -> dict[str, str]:
    """Returns the versions of the libraries that decide the weights of an attempt."""
    engine = METHODS[spec.method].engine
    if engine == "encoder":
        return {name: _version_of(name) for name in ("torch", "transformers", "scikit-learn", "numpy")}
    return classical_versions() if engine == "classical" else versions()


def _version_of(library: str) -> str:
    """Returns a library's version; a machine that only trains may lack scikit-learn, and messages name it."""
    try:
        return version(library).partition("+")[0]
    except PackageNotFoundError:
        return "not installed"


def recipes_of(spec: AttemptSpec) -> list[int]:
    """Returns the numbers of the recipes that decide the result of an attempt."""
    if spec.method == "prompt":
        return [PROMPTING, ANSWERING]
    engine = METHODS[spec.method].engine
    return {"classical": [CLASSICAL], "encoder": [EMBEDDING]}.get(engine, [TRAINING, ANSWERING])


def answering_versions(spec: AttemptSpec) -> dict[str, str]:
    """Returns the versions of the libraries that an attempt's answers require."""
    return versions_of(spec) | ({"llguidance": version("llguidance")} if spec.constrained else {})


def attempt_digest(spec: AttemptSpec, rows: Sequence[Example], root: Path, eval_rows: Sequence[Example] = ()) -> str:
    """Returns the digest of an attempt: the base's files, rows, settings, library versions and recipes.

    `eval_rows`: those of the evaluations during training.
    """
    return digest(
        {
            "base": base_digest(base_folder(spec.base, root)) if spec.base else "",
            "settings": to_json(spec),
            "rows": _deciding(spec, rows),
            **({"eval_rows": [[e.id, dict(e.fields), e.answer, *_others(e)] for e in eval_rows]} if eval_rows else {}),
            "versions": versions_of(spec),
            "recipes": recipes_of(spec),
        }
    )


def _deciding(spec: AttemptSpec, rows: Sequence[Example]) -> list[Json]:
    """Returns what of the rows decides the result.

    Where settings are compared on the training rows, this includes which rows belong together.
    """
    if spec.method == "prompt":
        return [[dict(e.fields), e.answer, e.group, list(e.facts), *_others(e)] for e in rows if not e.is_synthetic]
    if METHODS[spec.method].engine in ("classical", "encoder"):
        return [[dict(e.fields), e.answer, e.group] for e in rows]
    return [[dict(e.fields), e.answer] for e in rows]


def _others(row: Example) -> list[list[str]]:
    """Returns a row's further right answers, if it has any."""
    return [list(row.references)] if row.references else []


def evaluation_name(attempt: str, rows: Sequence[Example]) -> str:
    """Returns the name in the store of an attempt's predictions on `rows`; `attempt` is its digest."""
    content = [[e.id, e.group, dict(e.fields), e.answer, list(e.facts), *_others(e)] for e in rows]
    return f"evaluate-{digest({'attempt': attempt, 'rows': content, 'recipe': ANSWERING})}"


def open_attempt(folder: Path, root: Path, spec: AttemptSpec | None = None, store: Path | None = None) -> "AnswerModel":
    """Returns the model of an attempt's folder, ready to answer.

    `spec` replaces the spec of the folder, for example to load the base from another path. `store`: where an encoder's
    vectors are looked up and kept; None: nowhere.
    """
    spec = spec or spec_from_json(read_json(folder / SPEC))
    if spec.base is None:
        from rungwise.model.classical import Classical

        return Classical(folder, spec)
    if METHODS[spec.method].engine == "encoder":
        from rungwise.model.embed import Embedded
        from rungwise.model.encoder import load_encoder

        return Embedded(folder, spec, load_encoder(spec.base, root, precision=spec.precision), store)
    from rungwise.model.adapter_files import load as load_adapter
    from rungwise.model.kernels.low_rank import fuse_for_answers
    from rungwise.model.language_model import load
    from rungwise.model.predict import Prompted

    result = read_json(folder / RESULT)
    limit = int(result["max_answer_tokens"])
    if spec.method == "prompt":
        from rungwise.model.prompting import PromptForm, Untuned

        lm = load(spec.base, root, template="plain", precision=spec.precision)
        examples = [(dict(fields), answer) for fields, answer in read_json(folder / SHOWN)]
        return Untuned(lm, spec, from_json(PromptForm, result["prompting"]["form"]), examples, limit)
    lm = load_adapter(load(spec.base, root, template=spec.template, precision=spec.precision), folder)
    if METHODS[spec.method].is_low_rank:
        fuse_for_answers(lm.model)
    return Prompted(lm, spec, limit)
