"""The documents that users read, taken apart: code blocks, commands, inline code, links, headings."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import REPOSITORY

DOCUMENTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "ARCHITECTURE.md",
    REPOSITORY / "examples" / "README.md",
    *(p for p in sorted((REPOSITORY / "docs").rglob("*.md")) if "_build" not in p.parts),
]
_BLOCK = re.compile(r"^```(?:(\w+)|\{([\w-]+)\})?[^\n]*\n(.*?)^```$", re.S | re.M)


def name(document: Path) -> str:
    return document.relative_to(REPOSITORY).as_posix()


def blocks(document: Path, language: str) -> list[str]:
    """Returns the document's code blocks in a language."""
    return [block[3] for block in _BLOCK.finditer(document.read_text(encoding="utf-8")) if block[1] == language]


def commands(document: Path) -> list[str]:
    """Returns every line of the document's shell blocks, without comments."""
    lines = "".join(blocks(document, "sh")).splitlines()
    return [re.sub(r"\s{2,}# .*", "", line) for line in lines if line.strip()]


def prose(document: Path) -> str:
    """Returns the document without its code blocks."""
    return _BLOCK.sub("", document.read_text(encoding="utf-8"))


def inline(document: Path) -> list[str]:
    """Returns what stands in single backticks, line breaks as spaces."""
    return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(document))]


def links(document: Path) -> Iterator[tuple[str, str]]:
    """Yields the target and the anchor of each relative link or picture."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(document: Path) -> set[str]:
    """Returns the anchors of the headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
