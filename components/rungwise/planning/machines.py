"""The table of machines: memory and speed of each card, and the price of an hour, each figure with its source.

Reads the package's `machines.yaml`, then the workspace's own, which adds machines and cards or replaces them by name. A
figure without a source is None, and what depends on it is not estimated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import joined

TABLE = Path(__file__).with_name("machines.yaml")
OWN = "machines.yaml"
"""Name of the workspace's own table."""
THIS = "this machine"
_CARD = ("memory_gb", "half_tflops", "fp32_tflops", "bandwidth_gbs", "has_bf16", "notes")
_MACHINE = ("card", "gpus", "price_usd_hour")


@dataclass(frozen=True)
class Machine:
    """One machine. Memory and rates are those of one of its cards, because a run uses one."""

    name: str
    card: str
    gpus: int | None
    memory_bytes: int | None
    half_rate: float | None
    """Peak operations a second with 16-bit matrices."""
    fp32_rate: float | None
    bandwidth: float | None
    """Bytes a second to and from the card's own memory."""
    has_bf16: bool | None
    price_usd_hour: float | None
    """Of the whole machine."""
    notes: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    """Figure -> address and date of its source, or how it was measured."""
    device: str = "cuda"

    def rate(self, precision: str) -> float | None:
        """Returns the peak rate for weights of that precision; 4-bit weights are computed with in 16 bit."""
        return self.fp32_rate if precision == "fp32" else self.half_rate


def machines(root: Path | None = None) -> dict[str, Machine]:
    """Returns name -> machine: the package's table, updated with the workspace's own.

    Raises:
        SettingsError: a table is not YAML, has an unknown key, a figure without a source, or a machine with an unknown
            card.
    """
    own = root / OWN if root else None
    parts = [(TABLE, _read(TABLE)), *([(own, _read(own))] if own and own.is_file() else [])]
    sources: dict[str, Any] = {}
    cards: dict[str, tuple[Any, Path]] = {}
    described: dict[str, tuple[Any, Path]] = {}
    for path, part in parts:
        sources |= part.get("sources") or {}
        cards |= {name: (card, path) for name, card in (part.get("cards") or {}).items()}
        described |= {name: (machine, path) for name, machine in (part.get("machines") or {}).items()}
    return {
        str(name): _machine(str(name), machine, path, cards, sources) for name, (machine, path) in described.items()
    }


def machine_named(name: str, table: Mapping[str, Machine]) -> Machine:
    """Returns the machine of that name.

    Raises:
        SettingsError: the table does not have it.
    """
    if name not in table:
        raise SettingsError(
            Problem(
                "there is no such machine in the table",
                found=name[:60],
                wanted="one of " + joined(table, 60),
                do=f"add it to {OWN} in the workspace's folder",
            )
        )
    return table[name]


def _read(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        values = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise _fault(path, "", str(getattr(error, "problem", error))[:120], "UTF-8 YAML") from None
    if not isinstance(values, dict) or set(values) - {"sources", "cards", "machines"}:
        actual = joined(sorted(map(str, values))) if isinstance(values, dict) else type(values).__name__
        raise _fault(path, "", actual, "a mapping with the keys sources, cards, machines")
    for key, value in values.items():
        if value is not None and not isinstance(value, dict):
            raise _fault(path, key, type(value).__name__, "a mapping of names")
    return values


def _fault(path: Path, place: str, found: str, wanted: str) -> SettingsError:
    where = f"{path}: {place}" if place else str(path)
    return SettingsError(
        Problem("a table of machines can't be used", where=where, found=found, wanted=wanted, do="correct it")
    )


def _machine(
    name: str, entry: Any, path: Path, cards: Mapping[str, tuple[Any, Path]], sources: Mapping[str, Any]
) -> Machine:
    place = f"machines.{name}"
    _check_keys(entry, _MACHINE, path, place)
    card = str(entry.get("card"))
    if card not in cards:
        raise _fault(path, f"{place}.card", card, "one of " + joined(cards, 40))
    described, card_path = cards[card]
    _check_keys(described, _CARD, card_path, f"cards.{card}")
    read = _Figures(sources)
    values = {key: read.number(described.get(key), card_path, f"cards.{card}.{key}") for key in _CARD[:4]}
    gpus = read.number(entry.get("gpus"), path, f"{place}.gpus", is_bare=True)
    price = read.number(entry.get("price_usd_hour"), path, f"{place}.price_usd_hour")
    bf16 = read.figure(described.get("has_bf16"), card_path, f"cards.{card}.has_bf16")
    if bf16 is not None and not isinstance(bf16, bool):
        raise _fault(card_path, f"cards.{card}.has_bf16", repr(bf16)[:40], "true or false")
    if not isinstance(described.get("notes") or [], list):
        raise _fault(card_path, f"cards.{card}.notes", repr(described["notes"])[:40], "a list of [note, source]")
    notes = [
        read.figure(note, card_path, f"cards.{card}.notes", index=i)
        for i, note in enumerate(described.get("notes") or ())
    ]
    if bf16 is False:
        notes.insert(0, "this card has no bf16; in 16 bit it computes in fp16")
    memory, half, fp32, bandwidth = (values[key] for key in _CARD[:4])
    return Machine(
        name=name,
        card=card,
        gpus=None if gpus is None else int(gpus),
        memory_bytes=None if memory is None else round(memory * 1e9),
        half_rate=None if half is None else half * 1e12,
        fp32_rate=None if fp32 is None else fp32 * 1e12,
        bandwidth=None if bandwidth is None else bandwidth * 1e9,
        has_bf16=bf16,
        price_usd_hour=price,
        notes=tuple(str(note) for note in notes),
        sources={key.rpartition(".")[2]: text for key, text in read.used.items()},
    )


def _check_keys(entry: Any, known: tuple[str, ...], path: Path, place: str) -> None:
    if not isinstance(entry, dict):
        raise _fault(path, place, type(entry).__name__, "a mapping of " + ", ".join(known))
    unknown = sorted(set(map(str, entry)) - set(known))
    if unknown:
        raise _fault(path, place, unknown[0][:40], "one of " + ", ".join(known))


class _Figures:
    """Reads figures that name their source, and remembers the source of each."""

    def __init__(self, sources: Mapping[str, Any]) -> None:
        self._sources = sources
        self.used: dict[str, str] = {}

    def figure(self, value: Any, path: Path, place: str, index: int | None = None) -> Any:
        """Returns the value of `[value, source]`, None for null; raises SettingsError if the source is unknown."""
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != 2:
            raise _fault(path, place, repr(value)[:60], "[value, source], or null where no source is known")
        source = self._sources.get(value[1]) if isinstance(value[1], str) else None
        if not isinstance(source, dict) or not source.get("url") or not source.get("date"):
            raise _fault(path, place, f"source {str(value[1])[:40]}", "a key of `sources`, with its url and date")
        self.used[place if index is None else f"{place}.note {index + 1}"] = f"{source['url']} ({source['date']})"
        return value[0]

    def number(self, value: Any, path: Path, place: str, *, is_bare: bool = False) -> float | None:
        """Returns a figure that is a number above 0.

        `is_bare` also allows a whole number without a source, as the `gpus` of a single card.
        """
        number = value if is_bare and isinstance(value, int) else self.figure(value, path, place)
        if number is None:
            return None
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < float("inf"):
            raise _fault(path, place, repr(number)[:40], "a number above 0")
        return float(number)
