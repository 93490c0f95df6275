"""The text of a new workspace's params.yaml."""

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from rungwise.dataset.readers.json_records import PLACE
from rungwise.init.guess import Guess
from rungwise.init.ladder import Ladder
from rungwise.init.names import Names
from rungwise.init.rows_file import RowsFile
from rungwise.init.setting_text import setting_text
from rungwise.init.training import BATCH_SIZE, Training


def params_text(
    files: Sequence[RowsFile],
    guessed: Guess,
    ladder: Ladder,
    shares: Mapping[str, float],
    trained: Training,
    more: str,
    limits: Mapping[str, float],
    names: Names,
) -> str:
    """Returns the text of params.yaml.

    Args:
        files: the files of rows.
        guessed: the format of the answers.
        ladder: the rungs.
        shares: side -> share of the rows that go to it.
        trained: the settings of the training.
        more: further settings of the answer.
        limits: setting, as `section.name` -> its value; without it, it has its default.
        names: the names of the workspace and its task.
    """
    first = files[0]
    lines = []
    for one in (file.source for file in files):
        own = f", columns: {setting_text(one.columns)}" if one.columns else ""
        own += f", chat: {setting_text(one.chat)}" if one.chat else ""
        own += f", role: {one.role}" if one.role else ""
        own += f", records: {setting_text(one.records)}" if one.records != "[]" else ""
        own += f", encoding: {one.encoding}" if one.encoding != "utf-8" else ""
        own += f", delimiter: {setting_text(one.delimiter)}" if one.delimiter else ""
        own += "" if one.header else ", header: false"
        own += ", quotes: false" if one.quotes is False else ""
        own += f", escape: {setting_text(one.escape)}" if one.escape else ""
        lines.append(f"    - {{name: {one.name}, path: {setting_text(one.path)}{own}}}\n")
    precision = f", precision: {trained.precision}" if trained.speedup is not None else ""
    empty = [
        slot for slot, name in zip(first.slots, first.columns.texts, strict=True) if name in first.columns.optional
    ]
    optional = f"\n    optional: {setting_text(empty)}" if empty else ""
    if first.columns.choice:
        by = first.columns.choice.chosen_by
        more += f", options: {setting_text(first.options)}{'' if by == 'letter' else f', chosen_by: {by}'}"
    answer_word = (
        "Answer"
        if first.options
        else {"label": "Label", "list": "Items", "text": "Answer", "json": "Answer"}[guessed.format]
    )
    rejected, later = (limits.get(f"{name}.max_rejected_share") for name in ("ingest", "validate"))
    scored = {
        name: f"min_scored: {limits[key]:g}"
        for name in ("decide", "promote")
        if (key := f"{name}.min_scored") in limits
    }
    split = ", ".join(f"{side}: {share:.2g}" for side, share in shares.items())
    if leaked := limits.get("split.max_leaked_share"):
        split += f"{', ' if split else ''}max_leaked_share: {leaked:g}"
    ingest = f"  max_rejected_share: {rejected:g}\n" if rejected else ""
    validate = f"max_rejected_share: {later:g}" if later else ""
    return f"""\
# Guessed from {setting_text(first.title)}. Correct what is wrong.
seed: 7
tasks:
  {names.task}:
    family: {guessed.family}
    prompt: {_prompt(first, answer_word)}{optional}
    answer: {guessed.setting(first.answer, more)}
    metric: {guessed.metric}
bars:
  {names.task}: {guessed.bar:g}          # a guess: set the score that is good enough for your users
ladder:               # the cheapest first
{ladder.lines}ingest:
  sources:
{"".join(lines)}{ingest}validate: {{{validate}}}
split: {{{split}}}
augment: {{}}
train: {{steps: {trained.steps}, batch_size: {BATCH_SIZE}{precision}}}   # the learning rate follows from the base
evaluate: {{confidence: 0.95}}
decide: {{{scored.get("decide", "")}}}
register: {{experiment: {names.workspace}, models: "{names.models}"}}
promote: {{{scored.get("promote", "")}}}
{_abstain(names.task, guessed.format)}"""


def _abstain(task: str, form: str) -> str:
    """Returns the line about answers that are left to people; nothing where answers are texts, never entirely right."""
    if form == "text":
        return ""
    return f"abstain: {{}}           # `right: {{{task}: 0.95}}`: where it is less sure than that, people answer\n"


def _prompt(file: RowsFile, answer_word: str) -> str:
    """Returns the prompt as a YAML string: a line for each text column, one for each option, and one for the answer."""
    asked = len(file.slots) - len(file.options)
    names = zip(file.columns.texts[:asked], file.slots, strict=False)
    titles = ((slot if PLACE.fullmatch(title) else title).replace("_", " ") for title, slot in names)
    named = [" ".join(re.findall(r"\w+", title)).capitalize() or "Text" for title in titles]
    named = ["Text"] if len(file.slots) == 1 else named
    lines = [f"{name}: {{{slot}}}" for name, slot in zip(named, file.slots[:asked], strict=True)]
    lines += [f"{letter}. {{{slot}}}" for letter, slot in zip(ascii_uppercase, file.options, strict=False)]
    return setting_text("\n".join([*lines, f"{answer_word}:"]))
