"""A task's prepared rows as tokens, before anything runs: how many there are, how long they are, what padding adds.

Reads the training rows that `augment` wrote, and a base's tokenizer and config, no weights. If there are many rows, it
reads an even sample and the longest ones, so that the longest row is among them.
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
from rungwise.core.records import AnswerForm, AttemptSpec, Example, Prompting, derive_seed, example_from_json
from rungwise.planning.job import ANSWER_TOKENS, TOKENS
from rungwise.workspace.layout import Paths

if TYPE_CHECKING:
    from rungwise.model.language_model import LanguageModel
    from rungwise.training.batches import TokenRow

SAMPLE, LONGEST = 2_000, 200
"""How many rows of one task are turned into tokens: an even sample, and the longest by characters."""


@dataclass(frozen=True)
class Lengths:
    """How long the rows of one task are for one base, and how that is known."""

    tokens: int = TOKENS
    """Of the longest row, prompt and answer; decides memory."""
    answer_tokens: int = ANSWER_TOKENS
    """Of the longest answer."""
    mean_tokens: float = TOKENS
    """Of a row with the padding of its batch; decides time. Shared tokens count in each row."""
    mean_answer_tokens: float = ANSWER_TOKENS
    """Positions of a row for which logits are computed: those of the longest answer in its microbatch."""
    labels: int | None = None
    """Different answers; None if nothing was measured or answers are not labels."""
    rows: int | None = None
    """Training rows; None if nothing was measured."""
    rows_read: int = 0
    """How many of these were turned into tokens."""
    shared_tokens: int = 0
    """Tokens of the shared prefix, which each pass reads once."""
    unpadded_tokens: float = 0.0
    """Of a row without padding, on average."""
    too_long: int = 0
    """Rows read that exceed the base's context, and so are not used in training."""
    reason: str = ""
    """Why nothing was measured."""
    given: tuple[str, ...] = ()
    """What the caller gave instead: `tokens`, `answer_tokens`."""

    def with_given(self, tokens: int | None, answer_tokens: int | None) -> "Lengths":
        """Returns the lengths with given values in place of what was measured or assumed."""
        lengths = self
        if tokens is not None:
            given = (*lengths.given, "tokens")
            lengths = replace(lengths, tokens=tokens, mean_tokens=tokens, shared_tokens=0, given=given)
        if answer_tokens is not None:
            given = (*lengths.given, "answer_tokens")
            lengths = replace(lengths, answer_tokens=answer_tokens, mean_answer_tokens=answer_tokens, given=given)
        return lengths


@dataclass(frozen=True)
class Prepared:
    """A sample of a task's training rows, read once for all rungs."""

    task: str
    rows: int
    """All of them."""
    sample: tuple[Example, ...]
    """Every n-th row, so that their mean is the rows' mean."""
    longest: tuple[Example, ...]
    """The longest by characters that are not in the sample."""


def prepared(root: Path, task: str) -> Prepared | None:
    """Returns a sample of a task's training rows, as `augment` wrote them; None if it has not written any."""
    folder = Paths(root).output("augment")
    path = folder / task / "train.jsonl"
    if not path.is_file() or not is_sealed(folder):
        return None
    with path.open("rb") as stream:
        sizes = [len(line) for line in stream]
    step = max(1, -(-len(sizes) // SAMPLE))
    sample = set(range(0, len(sizes), step))
    longest = set(heapq.nlargest(LONGEST, range(len(sizes)), sizes.__getitem__)) - sample
    rows: dict[int, Example] = {}
    with path.open("rb") as stream:
        for number, line in enumerate(stream):
            if number in sample or number in longest:
                rows[number] = example_from_json(json.loads(line))
    if not rows:
        return None
    return Prepared(task, len(sizes), tuple(rows[i] for i in sorted(sample)), tuple(rows[i] for i in sorted(longest)))


def ladder_lengths(root: Path, settings: Settings) -> dict[str, dict[str, Lengths]]:
    """Returns rung -> task -> row lengths by the tokenizer of the rung's base.

    A rung for which nothing can be measured has one entry with an empty task name: assumed lengths and the reason.
    """
    tasks = {name: rows for name in settings.tasks if (rows := prepared(root, name))}
    lengths: dict[str, dict[str, Lengths]] = {}
    known: dict[tuple[object, ...], Lengths] = {}
    for rung in settings.ladder:
        if rung.base is None:
            continue
        try:
            if len(tasks) < len(settings.tasks):
                raise ModelError(Problem("the rows are not prepared or were changed; `rungwise run` prepares them"))
            if METHODS[rung.method].engine == "encoder":
                lengths[rung.name] = {n: encoder_lengths(root, settings, rung, rows) for n, rows in tasks.items()}
                continue
            lm = tokenizer_of(root, rung)
            lengths[rung.name] = {}
            for name, rows in tasks.items():
                key = (name, rung.base, rung.template, METHODS[rung.method].trains, rung.examples_shown)
                if key not in known:
                    known[key] = lengths_of(settings, name, rung, rows, lm)
                lengths[rung.name][name] = known[key]
        except ModelError as error:
            lengths[rung.name] = {"": Lengths(reason=error.problem.what)}
    return lengths


def encoder_lengths(root: Path, settings: Settings, rung: RungSettings, rows: Prepared) -> Lengths:
    """Returns how long a task's texts are for a frozen encoder; it cuts longer ones.

    Raises:
        ModelError: its tokenizer is not on this machine or can't be read.
    """
    from transformers import AutoConfig

    from rungwise.model.bases import local_folder
    from rungwise.model.encoder import load_tokenizer, max_tokens

    base = base_of(rung)
    assert base is not None  # the caller checked
    folder, names = local_folder(base, root), sorted(slots(settings.tasks[rows.task].prompt))
    tokenizer = load_tokenizer(base, folder)
    limit = max_tokens(folder, tokenizer, AutoConfig.from_pretrained(folder, local_files_only=True))
    sample, longest = (
        [min(limit, len(ids)) for ids in tokenizer(texts, verbose=False).input_ids] if texts else []
        for texts in (["\n".join(e.fields[n] for n in names) for e in some] for some in (rows.sample, rows.longest))
    )
    mean = sum(sample) / len(sample)
    return Lengths(
        tokens=max(*sample, *longest, 1),
        answer_tokens=0,
        mean_tokens=mean,
        mean_answer_tokens=0,
        rows=rows.rows,
        rows_read=len(rows.sample) + len(rows.longest),
        unpadded_tokens=mean,
    )


def tokenizer_of(root: Path, rung: RungSettings) -> "LanguageModel":
    """Returns the rung's base without weights.

    Raises:
        ModelError: its tokenizer is not on this machine.
    """
    from rungwise.model.language_model import load_reader

    base = base_of(rung)
    assert base is not None  # the caller checked
    return load_reader(base, root, template=rung.template or "plain")


def lengths_of(settings: Settings, name: str, rung: RungSettings, rows: Prepared, lm: "LanguageModel") -> Lengths:
    """Returns how long a task's rows are for a base; with method `prompt`, including the examples in the prompt.

    Raises:
        ModelError: no row fits the base's context, or the prompt has a slot that the rows don't have.
    """
    from rungwise.model.kernels.shared_prefix import shared_tokens
    from rungwise.training.batches import batches

    task = settings.tasks[name]
    if missing := set(slots(task.prompt)) - set(rows.sample[0].fields):
        raise ModelError(
            Problem(
                f"the prepared rows of {name} don't have {joined(sorted(missing))}; `rungwise run` prepares them anew"
            )
        )
    template = _template(settings, name, rung, rows.sample, lm)
    sample, too_long = _tokens(lm, template, rows.sample)
    longest, longest_too_long = _tokens(lm, template, rows.longest)
    if not sample:
        raise ModelError(Problem(f"no row of {name} that was read fits the context of {lm.context_tokens} tokens"))
    steps = max(1, len(sample) // settings.train.batch_size)
    steps_of = list(batches(sample, batch_size=settings.train.batch_size, steps=steps, seed=settings.seed))
    n_shown = sum(len(batch) for batch in steps_of)
    sizes = [padded_tokens(batch, settings.train.max_tokens_per_microbatch) for batch in steps_of]
    labels = task.answer.labels or {e.answer for e in (*rows.sample, *rows.longest)}
    return Lengths(
        tokens=max(row.length for row in (*sample, *longest)),
        answer_tokens=max(len(row.answer) for row in (*sample, *longest)),
        mean_tokens=sum(tokens for tokens, _ in sizes) / n_shown,
        mean_answer_tokens=sum(answers for _, answers in sizes) / n_shown,
        labels=len(labels) if task.answer.format == "label" else None,
        shared_tokens=shared_tokens([row.prompt for row in (*sample, *longest)]),
        rows=rows.rows,
        rows_read=len(rows.sample) + len(rows.longest),
        unpadded_tokens=sum(row.length for row in sample) / len(sample),
        too_long=too_long + longest_too_long,
    )


def padded_tokens(batch: Sequence["TokenRow"], max_tokens_per_microbatch: int) -> tuple[int, int]:
    """Returns a step's tokens with padding, and at how many positions it computes logits."""
    from rungwise.training.batches import micro_batches

    parts = list(micro_batches(sorted(batch, key=lambda row: row.length), max_tokens_per_microbatch))
    tokens = sum(len(part) * part[-1].length for part in parts)
    return tokens, sum(len(part) * max(len(row.answer) for row in part) for part in parts)


def training_rows(settings: Settings, rows: Prepared, lm: "LanguageModel") -> tuple["TokenRow", ...]:
    """Returns the sample as the tokens that training sees."""
    return _tokens(lm, settings.tasks[rows.task].prompt, rows.sample)[0]


def _tokens(lm: "LanguageModel", template: str, rows: Sequence[Example]) -> tuple[tuple["TokenRow", ...], int]:
    """Returns the rows that fit the base's context as tokens, and how many do not fit."""
    from rungwise.training.batches import encode, token_rows

    if not rows:
        return (), 0
    tokens, rejected = token_rows(lm, encode(lm, template, rows))
    return tokens, sum(rejected.values())


def _template(settings: Settings, name: str, rung: RungSettings, rows: Sequence[Example], lm: "LanguageModel") -> str:
    """Returns the task's prompt; with method `prompt`, after an instruction and as many examples as it may show."""
    from rungwise.model.language_model import encode_answers
    from rungwise.model.prompt_choice import divided, longest_text, shown_examples
    from rungwise.model.prompting import PromptForm, Untuned, head_text, words_of

    task = settings.tasks[name]
    if rung.method != "prompt":
        return task.prompt
    labels = tuple(task.answer.labels or sorted({row.answer for row in rows}))
    words = {label: text for label, text in task.answer.words.items() if label in labels}
    spec = AttemptSpec(
        base=lm.base,
        method=rung.method,
        prompt=task.prompt,
        form=AnswerForm(task.answer.format, labels if task.answer.format == "label" else ()),
        seed=derive_seed(settings.seed, "train"),
        examples=rung.examples_shown,
        prompting=Prompting(task.instruction or "", words),
    )
    room = max(len(tokens) for tokens in encode_answers(lm, [row.answer for row in rows]))
    model = Untuned(lm, spec, PromptForm("plain", spec.examples), (), room)
    solved = shown_examples(model, divided(spec, rows)[1], longest_text(lm, spec, rows))
    words = words_of(spec)
    before = head_text(lm, spec) + shown(
        task.prompt, [(fields, words.get(answer, answer)) for fields, answer in solved]
    )
    return before.replace("{", "{{").replace("}", "}}") + task.prompt
