"""A task's prepared rows as tokens, before anything runs: how many teach, how long they are, what padding adds.

Reads what `augment` wrote, and of a base its tokenizer and config, no weights. Of many rows it reads some: every so
many-th line, and the longest ones, so that the longest row is among them.
"""

import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rungwise.config import RungSettings, Settings, base_of
from rungwise.core.errors import ModelError, Problem
from rungwise.core.folders import is_sealed, joined
from rungwise.core.methods import METHODS
from rungwise.core.prompts import shown, slots
from rungwise.core.records import AnswerForm, AttemptSpec, Example, derive_seed, example_from_json
from rungwise.workspace.layout import Paths

if TYPE_CHECKING:
    from rungwise.model.language_model import LanguageModel
    from rungwise.training.batches import TokenRow

SAMPLE, LONGEST = 2_000, 200
"""Rows of one task that are turned into tokens: so many evenly drawn, and so many of the longest by their letters."""
TOKENS, ANSWER_TOKENS = 512, 32
"""Tokens of the longest row and of the longest answer, where nobody says otherwise."""


@dataclass(frozen=True)
class Lengths:
    """How long the rows of one task are for one base, and how that is known."""

    tokens: int = TOKENS
    """Of the longest row, prompt and answer: it decides memory."""
    answer_tokens: int = ANSWER_TOKENS
    """Of the longest answer."""
    mean_tokens: float = TOKENS
    """Of a row with the padding that its batch brings: it decides time. Shared tokens count in each row."""
    mean_answer_tokens: float = ANSWER_TOKENS
    """Positions of a row for which logits are computed: those of the longest answer beside it."""
    labels: int | None = None
    """Different answers; None where nothing was measured, or answers are not labels."""
    rows: int | None = None
    """Rows that teach; None where nothing was measured."""
    seen: int = 0
    """Of these, how many were turned into tokens."""
    shared_tokens: int = 0
    """First tokens that all rows have in common, which each pass reads once."""
    bare_tokens: float = 0.0
    """Of a row without padding, on average."""
    too_long: int = 0
    """Seen rows that are longer than the base reads, and so do not teach."""
    why: str = ""
    """Why nothing was measured."""
    given: tuple[str, ...] = ()
    """What the caller said instead: `tokens`, `answer_tokens`."""

    def with_given(self, tokens: int | None, answer_tokens: int | None) -> "Lengths":
        """Returns the lengths with what somebody said in the place of what was measured or assumed."""
        found = self
        if tokens is not None:
            found = replace(found, tokens=tokens, mean_tokens=tokens, shared_tokens=0, given=(*found.given, "tokens"))
        if answer_tokens is not None:
            found = replace(found, answer_tokens=answer_tokens, mean_answer_tokens=answer_tokens)
            found = replace(found, given=(*found.given, "answer_tokens"))
        return found


@dataclass(frozen=True)
class Prepared:
    """Some of a task's rows, read once for all rungs."""

    task: str
    rows: int
    """All of them."""
    drawn: tuple[Example, ...]
    """Evenly drawn: their mean is the rows' mean."""
    longest: tuple[Example, ...]
    """The longest by their letters, without those that were drawn."""


def prepared(root: Path, task: str) -> Prepared | None:
    """Returns some of the rows that teach a task, as `augment` wrote them; None where it has written none."""
    folder = Paths(root).output("augment")
    path = folder / task / "train.jsonl"
    if not path.is_file() or not is_sealed(folder):
        return None
    with path.open("rb") as stream:
        sizes = [len(line) for line in stream]
    step = max(1, -(-len(sizes) // SAMPLE))
    drawn = set(range(0, len(sizes), step))
    longest = set(heapq.nlargest(LONGEST, range(len(sizes)), sizes.__getitem__)) - drawn
    found: dict[int, Example] = {}
    with path.open("rb") as stream:
        for number, line in enumerate(stream):
            if number in drawn or number in longest:
                found[number] = example_from_json(json.loads(line))
    if not found:
        return None
    return Prepared(task, len(sizes), tuple(found[i] for i in sorted(drawn)), tuple(found[i] for i in sorted(longest)))


def ladder_lengths(root: Path, settings: Settings) -> dict[str, dict[str, Lengths]]:
    """Returns rung -> task -> how long the task's rows are for the rung's base.

    A rung for which nothing can be measured has one entry without a task's name, with what is assumed and why.
    """
    tasks = {name: rows for name in settings.tasks if (rows := prepared(root, name))}
    found: dict[str, dict[str, Lengths]] = {}
    known: dict[tuple[object, ...], Lengths] = {}
    for rung in settings.ladder:
        if rung.base is None:
            continue
        try:
            if len(tasks) < len(settings.tasks):
                raise ModelError(Problem("the rows are not prepared, or not whole: `rungwise run` prepares them"))
            lm = reader_of(root, rung)
            found[rung.name] = {}
            for name, rows in tasks.items():
                key = (name, rung.base, rung.template, METHODS[rung.method].trains, rung.setting("examples"))
                if key not in known:
                    known[key] = lengths_of(settings, name, rung, rows, lm)
                found[rung.name][name] = known[key]
        except ModelError as error:
            found[rung.name] = {"": Lengths(why=error.problem.what)}
    return found


def reader_of(root: Path, rung: RungSettings) -> "LanguageModel":
    """Returns the rung's base without weights; raises ModelError where its tokenizer is not on this machine."""
    from rungwise.model.language_model import load_reader

    base = base_of(rung)
    assert base is not None  # as the callers checked
    return load_reader(base, root, template=rung.template)


def lengths_of(settings: Settings, name: str, rung: RungSettings, rows: Prepared, lm: "LanguageModel") -> Lengths:
    """Returns how long a task's rows are for a base; of method `prompt` with the examples that are shown.

    Raises:
        ModelError: none fits the base's context, or the prompt has a slot that the rows lack.
    """
    from rungwise.model.kernels.shared_prefix import shared_tokens
    from rungwise.training.batches import batches

    if lacking := set(slots(settings.tasks[name].prompt)) - set(rows.drawn[0].fields):
        raise ModelError(
            Problem(f"the prepared rows of {name} lack {joined(sorted(lacking))}: `rungwise run` prepares them anew")
        )
    template = _template(settings, name, rung, rows.drawn, lm)
    drawn, too_long = _tokens(lm, template, rows.drawn)
    most, more = _tokens(lm, template, rows.longest)
    if not drawn:
        raise ModelError(Problem(f"no row of {name} that was looked at fits the context of {lm.context_tokens} tokens"))
    steps = max(1, len(drawn) // settings.train.batch_size)
    steps_of = list(batches(drawn, batch_size=settings.train.batch_size, steps=steps, seed=settings.seed))
    n_shown = sum(len(batch) for batch in steps_of)
    sizes = [padded(batch, settings.train.max_tokens_per_microbatch) for batch in steps_of]
    task = settings.tasks[name]
    labels = task.answer.labels or {e.answer for e in (*rows.drawn, *rows.longest)}
    return Lengths(
        tokens=max(row.length for row in (*drawn, *most)),
        answer_tokens=max(len(row.answer) for row in (*drawn, *most)),
        mean_tokens=sum(tokens for tokens, _ in sizes) / n_shown,
        mean_answer_tokens=sum(answers for _, answers in sizes) / n_shown,
        labels=len(labels) if task.answer.format == "label" else None,
        shared_tokens=shared_tokens([row.prompt for row in (*drawn, *most)]),
        rows=rows.rows,
        seen=len(rows.drawn) + len(rows.longest),
        bare_tokens=sum(row.length for row in drawn) / len(drawn),
        too_long=too_long + more,
    )


def padded(batch: Sequence["TokenRow"], max_tokens_per_microbatch: int) -> tuple[int, int]:
    """Returns a step's tokens with padding, and for how many positions it computes logits."""
    from rungwise.training.batches import micro_batches

    parts = list(micro_batches(sorted(batch, key=lambda row: row.length), max_tokens_per_microbatch))
    tokens = sum(len(part) * part[-1].length for part in parts)
    return tokens, sum(len(part) * max(len(row.answer) for row in part) for part in parts)


def taught(settings: Settings, rung: RungSettings, rows: Prepared, lm: "LanguageModel") -> tuple["TokenRow", ...]:
    """Returns the drawn rows as the tokens that a training of the rung sees."""
    return _tokens(lm, settings.tasks[rows.task].prompt, rows.drawn)[0]


def _tokens(lm: "LanguageModel", template: str, rows: Sequence[Example]) -> tuple[tuple["TokenRow", ...], int]:
    """Returns rows as tokens, those that fit the base's context, and how many do not."""
    from rungwise.training.batches import encode, token_rows

    if not rows:
        return (), 0
    tokens, rejected = token_rows(lm, encode(lm, template, rows))
    return tokens, sum(rejected.values())


def _template(settings: Settings, name: str, rung: RungSettings, rows: Sequence[Example], lm: "LanguageModel") -> str:
    """Returns the task's prompt, of method `prompt` behind the examples that it shows."""
    from rungwise.model.language_model import encode_answers
    from rungwise.model.predict import fitting_shown

    task = settings.tasks[name]
    if not rung.setting("examples"):
        return task.prompt
    spec = AttemptSpec(
        base=lm.base,
        method=rung.method,
        prompt=task.prompt,
        form=AnswerForm(task.answer.format, task.answer.labels),
        seed=derive_seed(settings.seed, "train"),
        examples=rung.setting("examples"),
    )
    room = max(len(tokens) for tokens in encode_answers(lm, [row.answer for row in rows]))
    before = shown(task.prompt, fitting_shown(lm, spec, rows, room))
    return before.replace("{", "{{").replace("}", "}}") + task.prompt
