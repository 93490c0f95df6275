"""What is guessed of a task from its answers, and the ladder to begin with: pure but for looking for models."""

import json
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rungwise.config import HUB_NAME, METRICS
from rungwise.core.errors import DataError, Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.workspace.resources import POCKET_BASES, package_file

DEFAULT = ("pocket-s", "pocket-m")
"""The default bases of a ladder: small enough for a first verdict in minutes without a GPU."""


@dataclass(frozen=True)
class Guess:
    """What the rows look like."""

    format: str
    why: str
    separator: str = ";"

    @property
    def metric(self) -> str:
        """What answers of this format are measured by."""
        return METRICS[self.format][0]

    @property
    def bar(self) -> float:
        """The bar that is written where nobody said what is good enough."""
        return {"label": 0.9, "list": 0.75, "text": 0.5}[self.format]

    @property
    def family(self) -> str:
        """Whether a model has to read or to write."""
        return "extract" if self.format in ("label", "list") else "expand"


def guess(answers: Sequence[str]) -> Guess:
    """Returns the format of answers, of which there are at least LEAST_ROWS, all with text.

    Raises:
        DataError: all answers are equal.
    """
    n, distinct = len(answers), Counter(answers)
    if len(distinct) == 1:
        raise DataError(
            Problem(
                "all answers are equal, so there is nothing to learn",
                found=f"{n} rows with one answer of {len(answers[0])} characters",
                wanted="at least two different answers",
                do="name another column with --answer",
            )
        )
    words = [len(a.split()) for a in answers]
    recurring = sum(count for count in distinct.values() if count > 1) / n
    if len(distinct) <= max(2, n / 5) and recurring >= 0.8 and statistics.median(words) <= 8:
        return Guess("label", f"{len(distinct)} different short answers in {n} rows, nearly all of which recur")
    for separator in (";", "|", ","):
        split = [[item.strip() for item in a.split(separator) if item.strip()] for a in answers]
        several = sum(len(items) > 1 for items in split) / n
        short = statistics.mean(len(item.split()) <= 5 for items in split for item in items)
        if several >= 0.6 and short >= 0.9 and not any(re.search(r"[.!?]\s", a) for a in answers[:200]):
            shown = f"{several:.0%} of the answers hold several short items with `{separator}` between them"
            return Guess("list", shown, separator)
    return Guess("text", f"{len(distinct)} different answers of {statistics.median(words):.0f} words (median)")


@dataclass(frozen=True)
class Ladder:
    """The rungs to begin with."""

    lines: str
    """As they stand in params.yaml."""
    sentence: str
    is_pinned: bool
    """Whether each hub model has its commit."""


def ladder_of(bases: Sequence[str], ladder: str | None) -> Ladder:
    """Returns the ladder on `bases`, or the preset called `ladder`, or that on the models that come along.

    Raises:
        SettingsError: there is no such base or preset, or both are named.
    """
    first = "  - {name: classical, method: tfidf}\n"
    if ladder is not None:
        presets = {p.stem: p for p in sorted(package_file("init", "ladders").glob("*.yaml"))}
        if bases or ladder not in presets:
            raise SettingsError(
                Problem(
                    "a ladder is named by --ladder or built from --base, not both"
                    if bases
                    else "there is no such ladder",
                    found=f"--ladder {ladder[:40]}" + (f" and --base {bases[0][:40]}" if bases else ""),
                    wanted="one of the two" if bases else "one of " + (joined(presets) or "none: none is installed"),
                )
            )
        lines = presets[ladder].read_text(encoding="utf-8").partition("ladder:\n")[2]
        return Ladder(lines, f"The ladder is the preset {ladder}; `rungwise pin` writes its models' commits.", False)
    chosen = list(bases or DEFAULT)
    kept: list[str] = []
    for base in chosen:
        path = Path(base).expanduser()
        if not path.is_dir() and base not in POCKET_BASES and not HUB_NAME.fullmatch(base.partition("@")[0]):
            raise SettingsError(
                Problem(
                    "there is no such base",
                    where="--base",
                    found=base[:80],
                    wanted="a folder with a model, or the hub's owner/name",
                    do="correct the path; it is taken from the current folder",
                )
            )
        kept.append(str(path.resolve()) if path.is_dir() else base)
    names = _names(kept)
    lines = first + f"  - {{name: prompt, base: {json.dumps(kept[0])}, method: prompt, examples: 4}}\n"
    for name, base in zip(names, kept, strict=True):
        lines += f"  - {{name: {name}, base: {json.dumps(base)}, method: lora, rank: 16, alpha: 32}}\n"
    where = "your bases" if bases else "the small models that come along"
    told = f"The ladder: no language model, a prompt, then LoRA on {where}: {', '.join(names)}."
    return Ladder(lines, told, all(Path(base).is_dir() or base in POCKET_BASES or "@" in base for base in kept))


def _names(bases: Sequence[str]) -> list[str]:
    names: list[str] = []
    for base in bases:
        short = re.sub(r"[^a-z0-9]+", "-", base.partition("@")[0].rsplit("/", 1)[-1].lower()).strip("-")[:30] or "base"
        short = short if short[0].isalpha() else f"base-{short}"
        taken = {*names, "classical", "prompt"}
        names.append(
            short if short not in taken else next(f"{short}-{i}" for i in range(2, 99) if f"{short}-{i}" not in taken)
        )
    return names
