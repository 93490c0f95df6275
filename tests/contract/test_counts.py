"""A counted noun in a message is singular after 1: `number_of(n, "row")` writes it, not `{n} rows` or `row(s)`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOUNS = (
    "answers", "attempts", "bytes", "cells", "characters", "columns", "duplicates", "examples", "fields", "files",
    "groups", "items", "labels", "layers", "lines", "objects", "options", "pairs", "questions", "rows", "rungs", "runs",
    "tasks", "tensors", "texts", "times", "turns", "values", "versions", "weights", "words",
)  # fmt: skip
COUNTED = re.compile(rf" (?:[a-z-]+ )?(?:{'|'.join(NOUNS)})\b")
NO_COUNT = re.compile(r"\b(?:number_of\(.*|[A-Z_]{2,}.*|(?:.*\.)?(?:side|name|role|method|column|what))")
"""A text, or a constant that is not 1."""
A_PROMPT = "prompt.py"
"""What a model is asked, not a message: other words would give other rows."""


def faults(source: str) -> Iterator[tuple[int, str]]:
    """Yields line and text of each `(s)` in a text, and of each counted noun without `number_of`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"[a-z]\(s\)", node.value):
            yield node.lineno, node.value
        if isinstance(node, ast.JoinedStr):
            texts = ["", *(str(part.value) if isinstance(part, ast.Constant) else "" for part in node.values), ""]
            for part, before, after in zip(node.values, texts, texts[2:], strict=False):
                is_part = before.endswith((" of ", " all "))
                if isinstance(part, ast.FormattedValue) and is_count(part) and not is_part and COUNTED.match(after):
                    yield node.lineno, f"{{{ast.unparse(part.value)}}}{after}"


def is_count(part: ast.FormattedValue) -> bool:
    """Whether a value may be a number of things: not a name, a constant, a share or a decimal."""
    spec = ast.unparse(part.format_spec) if part.format_spec else ""
    return not NO_COUNT.fullmatch(ast.unparse(part.value)) and not re.search(r"\.\d|%", spec)


@pytest.mark.parametrize(
    ("source", "n"),
    [
        ('f"{n} rows"', 1),
        ('f"{len(rare):,} short labels have"', 1),
        ('"label(s)"', 1),
        ('f"{n} row(s)"', 1),
        ('f"{n} of {m} rows"', 0),
        ('f"{share:.0%} rows"', 0),
        ('f"the {side} rows"', 0),
        ("f\"{number_of(n, 'row')} with texts\"", 0),
        ('f"at most {MOST} rows"', 0),
    ],
)
def test_a_count_without_its_noun_is_found(source, n):
    assert len(list(faults(source))) == n


def test_counts_in_messages_have_their_noun_in_the_right_number():
    sources = [*(ROOT / "components" / "rungwise").rglob("*.py"), *(ROOT / "flows").rglob("*.py")]
    sources = [path for path in sources if path.name != A_PROMPT]
    wrong = [f"{path}:{line}: {text[:80]}" for path in sources for line, text in faults(path.read_text())]
    assert len(sources) > 150 and not wrong
