"""Finds phrases that the glossary of CONTRIBUTING.md replaces: `python infra/prose.py [--count] [PATH ...]`.

Reads the section "Glossary" of CONTRIBUTING.md. In its two-column table, each phrase in backticks in the column "not"
is searched, and the column "say" is the advice. Its three-column table lists allowed uses: a longer phrase, or a path.
Searches all tracked Python, Markdown and YAML files (identifiers, strings, docstrings and comments), or only those
under PATH. Prints `file:line: phrase -> say this` and exits with 1 where it finds one. `--count` prints the number of
hits in each folder instead. Standard library only.
"""

import argparse
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = "CONTRIBUTING.md"
PATTERNS = ("*.py", "*.md", "*.yaml", "*.yml")
NOT_SEARCHED = ("CHANGELOG.md", "benchmarks/results/")
"""Past releases keep their words, and results are data."""
GAP = r"(?:[ _]|\s*\n[ \t]*(?:#[ \t]*)?)"
"""Between two words of a phrase: a space, an underscore of an identifier, or a line break, also within a comment."""


@dataclass(frozen=True)
class Rule:
    """A phrase that is not used, and what to say instead."""

    phrase: str
    say: str


@dataclass(frozen=True)
class Glossary:
    """The rules and their allowed uses."""

    rules: tuple[Rule, ...]
    allowed: tuple[tuple[str, str], ...]
    """(phrase, longer phrase or path) pairs. A path has a slash and allows the phrase in that file or folder."""

    def phrases_around(self, phrase: str) -> Iterator[str]:
        """Yields the longer phrases in which a phrase is allowed."""
        yield from (use for of, use in self.allowed if of == phrase and "/" not in use)

    def allows_file(self, phrase: str, path: str) -> bool:
        """Returns whether a phrase is allowed everywhere in a file."""
        uses = [use for of, use in self.allowed if of == phrase and "/" in use]
        return any(path == use or path.startswith(use.rstrip("/") + "/") for use in uses)


@dataclass(frozen=True)
class Hit:
    """A place with a phrase that the glossary replaces."""

    path: str
    line: int
    rule: Rule

    def __str__(self) -> str:
        """Returns the line that is printed."""
        return f"{self.path}:{self.line}: {self.rule.phrase} -> {self.rule.say}"


def section(markdown: str) -> tuple[int, int]:
    """Returns the first and the last line number of the section "Glossary"; (0, 0) if there is none."""
    lines = markdown.splitlines()
    start = next((i for i, line in enumerate(lines, 1) if line.strip() == "## Glossary"), 0)
    if not start:
        return 0, 0
    end = next((i for i, line in enumerate(lines[start:], start + 1) if line.startswith("## ")), len(lines) + 1)
    return start, end - 1


def read_glossary(markdown: str) -> Glossary:
    """Returns the rules and allowed uses of the section "Glossary".

    Raises:
        ValueError: the section has no phrases, so that nothing would be searched.
    """
    first, last = section(markdown)
    rules: list[Rule] = []
    allowed: list[tuple[str, str]] = []
    for line in markdown.splitlines()[first:last]:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if len(cells) == 2:
            rules += [Rule(phrase, cells[0]) for phrase in _quoted(cells[1])]
        elif len(cells) == 3:
            allowed += [(phrase, use) for phrase in _quoted(cells[0]) for use in _quoted(cells[1])]
    if not rules:
        raise ValueError("the glossary has no phrase in backticks in a column `not`")
    return Glossary(tuple(rules), tuple(allowed))


def _quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def pattern(phrase: str) -> re.Pattern[str]:
    """Returns the expression of a phrase: whole words. A phrase in lower case matches upper case too."""
    words = GAP.join(re.escape(word) for word in phrase.split(" "))
    before = r"(?<![A-Za-z0-9])" if phrase[0].isalnum() else ""
    after = r"(?![A-Za-z0-9])" if phrase[-1].isalnum() else ""
    return re.compile(before + words + after, 0 if phrase != phrase.lower() else re.IGNORECASE)


def hits(path: str, text: str, glossary: Glossary) -> list[Hit]:
    """Returns the hits in a file, by line. In the glossary's own file its section is left out."""
    first, last = section(text) if path == GLOSSARY else (0, 0)
    result = []
    for rule in glossary.rules:
        if glossary.allows_file(rule.phrase, path):
            continue
        spans = [m.span() for use in glossary.phrases_around(rule.phrase) for m in pattern(use).finditer(text)]
        for match in pattern(rule.phrase).finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            is_allowed = any(start <= match.start() and match.end() <= end for start, end in spans)
            if not is_allowed and not first <= line <= last:
                result.append(Hit(path, line, rule))
    return sorted(result, key=lambda hit: hit.line)


def searched(root: Path, under: Sequence[str] = ()) -> Iterator[str]:
    """Yields the tracked files to search, relative to the root."""
    command = ["git", "ls-files", "-z", "--", *PATTERNS]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        is_wanted = not under or any(name == u or name.startswith(u.rstrip("/") + "/") for u in under)
        if is_wanted and not name.startswith(NOT_SEARCHED) and (root / name).is_file():
            yield name


def check(root: Path, under: Sequence[str] = ()) -> list[Hit]:
    """Returns the hits in all files to search."""
    glossary = read_glossary((root / GLOSSARY).read_text(encoding="utf-8"))
    return [
        hit for name in searched(root, under) for hit in hits(name, (root / name).read_text(encoding="utf-8"), glossary)
    ]


def counts(every: Iterable[Hit]) -> Counter[str]:
    """Returns folder -> number of hits; for the package, folder by folder."""

    def folder(path: str) -> str:
        parts = PurePosixPath(path).parts
        deep = 3 if parts[0] == "components" else 2 if parts[0] in ("tests", "infra") else 1
        return "/".join(parts[:-1][:deep]) or parts[-1]

    return Counter(folder(hit.path) for hit in every)


def main() -> int:
    """Searches, prints, and returns 1 where there is a hit."""
    parser = argparse.ArgumentParser(description="Finds phrases that the glossary of CONTRIBUTING.md replaces.")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files or folders; default: all tracked files")
    parser.add_argument("--count", action="store_true", help="print the number of hits in each folder")
    arguments = parser.parse_args()
    every = check(ROOT, arguments.paths)
    if arguments.count:
        for folder, n in sorted(counts(every).items()):
            print(f"{n:5} {folder}")
    else:
        print(*every, sep="\n", end="\n" if every else "")
    print(f"prose: {len(every)} phrases to replace" if every else "prose: ok", file=sys.stderr)
    return 1 if every else 0


if __name__ == "__main__":
    sys.exit(main())
