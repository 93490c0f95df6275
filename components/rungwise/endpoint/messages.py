"""What the incumbent is asked: the messages for a row, by the form of the task's answers.

A task's own prompt of the incumbent is sent as it is. Otherwise a sentence says how to answer, with all labels of a
closed set, so that the model can know the answers without having seen a row.
"""

import json
from collections.abc import Callable, Mapping, Sequence

from rungwise.core.prompts import prompt_text, slots
from rungwise.core.records import AnswerForm, Example, digest

DEFAULT_EXAMPLES = 4
"""Examples for answers that a model can't guess, as many as a rung of the method `prompt` shows."""
Message = Mapping[str, str]
Redact = Callable[[str], str]


def instruction(form: AnswerForm) -> str:
    """Returns the sentence that says what an answer of this form looks like."""
    if form.format == "label":
        return f"Answer with one of these labels and nothing else: {_quoted(form.labels)}."
    if form.format == "list":
        return f"Answer with the items only, separated by {json.dumps(form.separator)}, on one line."
    if form.format == "json":
        fields = ", ".join(f"{json.dumps(name)} ({_value(inner)})" for name, inner in form.fields.items())
        return f"Answer with one JSON object and nothing else. Its keys are {fields}."
    return "Answer with the text only."


def _value(form: AnswerForm) -> str:
    if form.format == "list":
        return "a list of texts"
    return f"one of {_quoted(form.labels)}" if form.format == "label" and form.labels else "a text"


def _quoted(labels: Sequence[str]) -> str:
    return ", ".join(json.dumps(label, ensure_ascii=False) for label in labels)


def shown_examples(rows: Sequence[Example], n: int) -> tuple[Example, ...]:
    """Returns `n` collected rows, different answers first, chosen by the hash of their texts."""
    collected = sorted((e for e in rows if not e.is_synthetic), key=lambda e: digest([dict(e.fields), e.answer]))
    seen: dict[str, int] = {}
    rounds = []
    for row in collected:
        seen[row.answer] = seen.get(row.answer, -1) + 1
        rounds.append(seen[row.answer])
    ranked = sorted(range(len(collected)), key=lambda i: (rounds[i], i))
    return tuple(collected[i] for i in ranked[:n])


def messages(
    prompt: str, form: AnswerForm, examples: Sequence[Example], row: Example, redact: Redact, *, is_own: bool
) -> tuple[Message, ...]:
    """Returns the conversation about a row, redacted.

    Args:
        prompt: the task's prompt, or the incumbent's own.
        form: the form of the answers.
        examples: training rows that come before as turns of the conversation.
        row: the row; its answer is not part of the messages.
        redact: is applied to each text of a row.
        is_own: whether the prompt is the incumbent's own, which says itself how to answer.
    """

    def asked(one: Example) -> Message:
        fields = {name: redact(text) for name, text in one.fields.items() if name in slots(prompt)}
        return {"role": "user", "content": prompt_text(prompt, fields)}

    turns: list[Message] = [] if is_own else [{"role": "system", "content": instruction(form)}]
    for example in examples:
        turns += [asked(example), {"role": "assistant", "content": redact(example.answer)}]
    return (*turns, asked(row))
