"""The prompt of a model that follows instructions, and the texts in its answer."""

import json

from rungwise.generate.asks import Ask


def instruction(ask: Ask, field: str) -> str:
    """Returns what a model that follows instructions is asked."""
    examples = json.dumps([e.fields[field] for e in ask.shown], ensure_ascii=False, indent=0)
    label = json.dumps(ask.label, ensure_ascii=False)
    return (
        f"Here are texts that people wrote; all of them belong to the category {label}:\n"
        f"{examples}\n"
        f"Write {ask.n} new texts of this category, as different people would write them: other details, other words, "
        "other lengths. Answer with a JSON array of strings and nothing else."
    )


def texts_of(content: str) -> tuple[str, ...] | None:
    """Returns the texts of a model's answer: the JSON array of strings in it, or None where there is none."""
    start, end = content.find("["), content.rfind("]")
    if start < 0 or end < start:
        return None
    try:
        found = json.loads(content[start : end + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        return None
    return tuple(found)
