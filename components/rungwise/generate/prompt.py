"""Writes the prompt for an instruction-following model, and reads the texts from its answer."""

import json

from rungwise.generate.queries import Query


def instruction(query: Query, field: str) -> str:
    """Returns the prompt for a query; `field` is the slot whose text the examples show."""
    examples = json.dumps([e.fields[field] for e in query.examples], ensure_ascii=False, indent=0)
    label = json.dumps(query.label, ensure_ascii=False)
    return (
        f"Here are texts that people wrote; all of them belong to the category {label}:\n"
        f"{examples}\n"
        f"Write {query.n_texts} new texts of this category, as different people would write them: other details, other "
        "words, other lengths. Answer with a JSON array of strings and nothing else."
    )


def texts_of(content: str) -> tuple[str, ...] | None:
    """Returns the JSON array of strings in a model's answer, or None if there is none."""
    start, end = content.find("["), content.rfind("]")
    if start < 0 or end < start:
        return None
    try:
        texts = json.loads(content[start : end + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return None
    return tuple(texts)
