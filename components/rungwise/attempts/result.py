"""Whether a result that someone brings is one of the attempt that this workspace would run.

Its weights can't be compared with anything, so everything else must be equal or have the right type: the spec, with the
permission to run code in it, the base and the settings of the adapter come from the workspace, never from the result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter

from rungwise.attempts.store import AUDIT, COST, LOSSES, RESULT, SHOWN, SPEC
from rungwise.core.errors import Problem, WorkspaceError
from rungwise.core.faults import Fault
from rungwise.core.folders import MARKER, joined, read_json
from rungwise.core.methods import METHODS
from rungwise.core.records import AttemptSpec, Json, canonical_json, to_json
from rungwise.core.texts import on_one_line
from rungwise.model import adapter_files, classical, embed
from rungwise.model.bases import base_digest, base_folder


def _plain(text: str) -> str:
    if on_one_line(text) != text:
        raise ValueError("a control character")
    return text


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None or not 2000 <= datetime.fromisoformat(text).year < 2200:
        raise ValueError("a time with its zone is wanted")
    return text


Count = Annotated[int, Field(ge=0, le=10**15)]
Amount = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Line = Annotated[str, Field(max_length=4000), AfterValidator(_plain)]
Reason = Annotated[str, Field(pattern="^[a-z_]{1,40}$")]
_EXACT: Final = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class _Result:
    __pydantic_config__: ClassVar = _EXACT
    base_digest: Line
    base_parameters: Count
    template_digest: Line
    train_rows: Count
    train_rejected: Mapping[Reason, Count]
    train_tokens: Count
    trained_parameters: Count
    max_answer_tokens: Count
    note: Line
    learning_rate: Amount | None = None
    kept_step: Count | None = None


@dataclass(frozen=True)
class _Cost:
    __pydantic_config__: ClassVar = _EXACT
    seconds: Amount
    threads: Count
    processes: Count
    peak_mib: Amount
    device: Line
    processor: Line
    cores: Count | None
    versions: Mapping[Line, Line]
    notes: Sequence[Line]
    ended: Annotated[str, AfterValidator(_moment)] | None = None


@dataclass(frozen=True)
class _Audit:
    __pydantic_config__: ClassVar = _EXACT
    rows: Count
    loss_share: Share
    faults: Mapping[Fault, Share]


@dataclass(frozen=True)
class _Losses:
    __pydantic_config__: ClassVar = _EXACT
    losses: Sequence[Finite]
    scores: Sequence[tuple[Count, Finite]]


_RECORDS: Final[Mapping[str, type]] = {RESULT: _Result, COST: _Cost, AUDIT: _Audit, LOSSES: _Losses}


def check_result(folder: Path, spec: AttemptSpec, root: Path) -> None:
    """Checks that a sealed result is one of an attempt.

    Args:
        folder: the result.
        spec: the attempt's, from the workspace.
        root: the folder that the path of its base is relative to.

    Raises:
        WorkspaceError: the files, the spec or the base are others, or a value has a wrong type.
        ModelError: the settings or weights of the adapter are not those of the spec.
    """
    names = {p.name for p in folder.iterdir()} - {MARKER}
    note = _note(folder)
    if names != (wanted := _files(spec, has_no_model=bool(note))):
        raise _refused(folder, joined(sorted(names), 20), joined(sorted(wanted), 20))
    check_spec(folder, spec)
    for name in sorted(names & _RECORDS.keys()):
        _check(folder / name, _RECORDS[name])
    result = _json(folder / RESULT)
    base = base_digest(base_folder(spec.base, root)) if spec.base else ""
    if result["base_digest"] != base:
        raise _refused(folder / RESULT, f"base_digest: {result['base_digest'][:64]}", f"{base}, of base {spec.base}")
    if embed.MODEL in names:
        embed.check(folder, spec)
    if adapter_files.CONFIG in names:
        from rungwise.model.adapter_weights import check_weights

        adapter_files.check_config(folder / adapter_files.CONFIG, spec)
        check_weights(folder / adapter_files.WEIGHTS, spec, root)


def _note(folder: Path) -> object:
    """Returns why an attempt has no model, as its result says."""
    result = _json(folder / RESULT)
    return result.get("note") if isinstance(result, dict) else ""


def _files(spec: AttemptSpec, *, has_no_model: bool) -> set[str]:
    """Returns the names of the files that an attempt has."""
    always, method = {SPEC, RESULT, COST}, METHODS[spec.method]
    if method.trains:
        adapter = {AUDIT, LOSSES, adapter_files.CONFIG, adapter_files.WEIGHTS}
        return always | ({AUDIT} if has_no_model else adapter)
    if has_no_model:
        return always
    match method.engine:
        case "encoder":
            own = {embed.MODEL, embed.WEIGHTS}
            return always | own | ({embed.ANSWERS} if embed.keeps_answers(spec.form) else set())
        case "classical":
            return always | {classical.MODEL, classical.WEIGHTS}
        case _:
            return always | {SHOWN}


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


def _check(path: Path, kind: type) -> None:
    try:
        TypeAdapter(kind).validate_json(canonical_json(_json(path)))
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
