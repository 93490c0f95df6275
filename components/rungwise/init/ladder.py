"""Builds a workspace's first ladder. Reads only presets and model folders."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rungwise.config import HUB_NAME
from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.init.setting_text import setting_text
from rungwise.model.embedded import EMBEDDED, cached, check_writes
from rungwise.model.gguf import is_gguf
from rungwise.workspace.resources import POCKET_BASES, package_file

DEFAULT_BASE = "smollm2-135m"
"""The base of a ladder by default: really pretrained, and small enough for a first result in minutes without a GPU."""

DEFAULT_ENCODER = "minilm-l6"
"""The frozen encoder of a ladder by default, for labels and lists."""


@dataclass(frozen=True)
class Ladder:
    """The rungs of a new workspace."""

    lines: str
    """The rungs as lines of params.yaml."""
    sentence: str
    """The ladder in one sentence."""
    is_pinned: bool
    """Whether every hub model is pinned to a commit."""

    @property
    def bases(self) -> tuple[str, ...]:
        """The names of its bases, each once."""
        return _bases_in(self.lines)


def ladder_of(bases: Sequence[str], ladder: str | None, form: str = "label") -> Ladder:
    """Returns the preset called `ladder`, or a ladder on `bases`, by default on SmolLM2-135M.

    `form`: the format of the answers. By default labels and lists have a rung with a frozen encoder, too.

    Raises:
        SettingsError: a base or the preset does not exist, or both are given.
    """
    if ladder is None:
        encoder = None if bases or form not in ("label", "list") else DEFAULT_ENCODER
        return _ladder_on([_checked_base(base) for base in bases or (DEFAULT_BASE,)], encoder, are_given=bool(bases))
    if bases:
        both = f"--ladder {ladder[:40]} and --base {bases[0][:40]}"
        raise SettingsError(Problem("--ladder and --base can't be used together", found=both, wanted="one of the two"))
    presets = _presets()
    if ladder not in presets:
        wanted = f"one of {joined(presets)}" if presets else "none: this installation has no presets"
        raise SettingsError(Problem("this ladder does not exist", found=f"--ladder {ladder[:40]}", wanted=wanted))
    return Ladder(
        presets[ladder], f"The ladder is the preset {ladder}. `rungwise pin` adds the commits of its models.", False
    )


def _presets() -> dict[str, str]:
    """Returns name -> rungs of each preset, as lines of params.yaml."""
    files = sorted(package_file("init", "ladders").glob("*.yaml"))
    return {path.stem: path.read_text(encoding="utf-8").partition("ladder:\n")[2] for path in files}


def preset_bases() -> dict[str, tuple[str, ...]]:
    """Returns preset -> the hub names on its ladder, smallest first."""
    return {name: _bases_in(lines) for name, lines in _presets().items()}


def _checked_base(base: str) -> str:
    """Returns a base as params.yaml names it: an absolute path, an embedded or pocket base, or a hub name.

    Raises:
        SettingsError: it does not exist.
        ModelError: it can't write.
    """
    path = Path(base).expanduser()
    if path.is_dir() or (is_gguf(path) and path.is_file()):
        return str(path.resolve())
    if base in EMBEDDED:
        check_writes(EMBEDDED[base])
        return base
    if base in POCKET_BASES or (not is_gguf(path) and HUB_NAME.fullmatch(base.partition("@")[0])):
        return base
    raise SettingsError(
        Problem(
            "this base does not exist",
            where="--base",
            found=base[:80],
            wanted=f"a folder with a model, a GGUF file, owner/name on the Hugging Face Hub, or one of "
            f"{joined([*EMBEDDED, *POCKET_BASES])}",
            do="correct the path, which is relative to the current folder; `rungwise bases` lists what is there",
        )
    )


def _ladder_on(bases: Sequence[str], encoder: str | None, *, are_given: bool) -> Ladder:
    """Returns the ladder: no language model, a frozen encoder, a prompt on the first base, LoRA on each base."""
    names = _names(bases)
    lines = "  - {name: classical, method: classical}\n"
    if encoder:
        lines += f"  - {{name: embed, base: {setting_text(encoder)}, method: embed}}\n"
    lines += f"  - {{name: prompt, base: {setting_text(bases[0])}, method: prompt}}\n"
    for name, base in zip(names, bases, strict=True):
        lines += f"  - {{name: {name}, base: {setting_text(base)}, method: lora, rank: 16, alpha: 32}}\n"
    where = "your bases" if are_given else "a small pretrained model"
    frozen = f"then a frozen encoder ({encoder}), " if encoder else ""
    sentence = f"The ladder: no language model, {frozen}then a prompt, then LoRA on {where}: {', '.join(names)}."
    used = [*([encoder] if encoder else []), *bases]
    sentence = " ".join([sentence, *(_fetching(base) for base in used if base in EMBEDDED)])
    return Ladder(lines, sentence, not any(HUB_NAME.fullmatch(base) and not Path(base).is_dir() for base in bases))


def _fetching(name: str) -> str:
    """Returns what an embedded base is, and whether a run has to fetch it."""
    base = EMBEDDED[name]
    if cached(base):
        return f"{name} is {base.origin} ({base.licence}); it is on this machine."
    return (
        f"{name} is {base.origin} ({base.licence}); the first run that uses it fetches {base.download_bytes / 1e6:.0f} "
        "MB. Without a network: `--base pocket-s`."
    )


def _bases_in(lines: str) -> tuple[str, ...]:
    """Returns the names of the bases in rungs of params.yaml, each once."""
    from ruamel.yaml import YAML

    rungs = YAML(typ="safe").load(lines)
    return tuple(dict.fromkeys(str(rung["base"]) for rung in rungs if "base" in rung))


def _names(bases: Sequence[str]) -> list[str]:
    """Returns a rung name for each base, unique on the ladder."""
    names: list[str] = []
    for base in bases:
        short = re.sub(r"[^a-z0-9]+", "-", base.partition("@")[0].rsplit("/", 1)[-1].lower()).strip("-")[:30] or "base"
        short = short if short[0].isalpha() else f"base-{short}"
        taken = {*names, "classical", "embed", "prompt"}
        names.append(
            short if short not in taken else next(f"{short}-{i}" for i in range(2, 99) if f"{short}-{i}" not in taken)
        )
    return names
