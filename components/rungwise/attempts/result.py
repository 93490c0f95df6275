"""Whether a result that someone brings is one of the attempt that this workspace would run.

Its weights can't be compared with anything, so everything else must be equal or have the right type: the spec, with the
permission to run code in it, the base and the settings of the adapter come from the workspace, never from the result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from rungwise.attempts.store import AUDIT, COST, LOSSES, RESULT, SPEC
from rungwise.core.errors import Problem, WorkspaceError
from rungwise.core.folders import MARKER, joined, read_json
from rungwise.core.records import AttemptSpec, Json, Record, canonical_json, from_json, to_json
from rungwise.model import adapter_files
from rungwise.model.bases import base_digest, base_folder

Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
_SUFFIXES: Final = (".json", ".safetensors")
"""Of all files of a result: they hold numbers and text, and nothing in them runs."""


@dataclass(frozen=True)
class _Result:
    base_digest: str
    base_parameters: Count
    template_digest: str
    train_rows: Count
    train_rejected: Mapping[str, Count]
    train_tokens: Count
    trained_parameters: Count
    max_answer_tokens: Count
    note: str


@dataclass(frozen=True)
class _Cost:
    seconds: Amount
    threads: Count
    processes: Count
    peak_mib: Amount
    device: str
    processor: str
    cores: Count | None
    versions: Mapping[str, str]
    notes: Sequence[str]


@dataclass(frozen=True)
class _Audit:
    rows: Count
    loss_share: Amount
    faults: Mapping[str, Amount]


@dataclass(frozen=True)
class _Losses:
    losses: Sequence[float]
    scores: Sequence[tuple[int, float]]


def check_result(folder: Path, spec: AttemptSpec, root: Path) -> None:
    """Checks that a sealed result is one of an attempt.

    Args:
        folder: the result.
        spec: the attempt's, from the workspace.
        root: the folder that the path of its base is relative to.

    Raises:
        WorkspaceError: a file is not one of a result, the spec or the base is another, or a value has a wrong type.
        ModelError: the settings of the adapter are not those of the spec.
    """
    names = sorted(p.name for p in folder.iterdir() if p.name != MARKER)
    if strange := [n for n in names if not n.endswith(_SUFFIXES) or not (folder / n).is_file()]:
        raise _refused(folder, joined(strange), f"files whose names end in {joined(_SUFFIXES)}")
    check_spec(folder, spec)
    result = _read(folder / RESULT, _Result)
    base = base_digest(base_folder(spec.base, root)) if spec.base else ""
    if result.base_digest != base:
        raise _refused(folder / RESULT, f"base_digest: {result.base_digest[:64]}", f"{base}, of base {spec.base}")
    _read(folder / COST, _Cost)
    for name, kind in ((AUDIT, _Audit), (LOSSES, _Losses)):
        if name in names:
            _read(folder / name, kind)
    if adapter_files.CONFIG in names:
        adapter_files.check_config(folder / adapter_files.CONFIG, spec)


def check_spec(folder: Path, spec: AttemptSpec) -> None:
    """Checks that the spec in an attempt's folder is `spec`.

    Raises:
        WorkspaceError: it is another one, for example with a permission to run code.
    """
    saved, wanted = _json(folder / SPEC), to_json(spec)
    if not isinstance(saved, dict) or canonical_json(saved) != canonical_json(wanted):
        values = saved if isinstance(saved, dict) else {}
        differ = [
            n for n in sorted({*wanted, *values}) if canonical_json(values.get(n)) != canonical_json(wanted.get(n))
        ]
        raise WorkspaceError(
            Problem(
                "the settings of an attempt do not match its name",
                where=str(folder / SPEC),
                found=f"another {joined(differ)[:200]}",
                wanted="the settings of the rung",
                do="remove the folder, and train the attempt again",
            )
        )


def _read(path: Path, kind: type[Record]) -> Record:
    value = _json(path)
    try:
        return from_json(kind, value)
    except (ValueError, RecursionError) as error:
        raise _refused(path, " ".join(str(error).split())[:300], "the values that training records") from None


def _json(path: Path) -> Json:
    """Returns the value of a JSON file; None if it can't be read or holds a number that is not finite."""
    try:
        value = read_json(path)
        canonical_json(value)
    except (OSError, ValueError, RecursionError):
        return None
    return value


def _refused(where: Path, found: str, wanted: str) -> WorkspaceError:
    return WorkspaceError(
        Problem(
            "a result is not one of the attempt that this workspace would run",
            where=str(where),
            found=found,
            wanted=wanted,
            do="don't use it; pack the rung again and run the new bundle on a machine that you trust",
        )
    )
