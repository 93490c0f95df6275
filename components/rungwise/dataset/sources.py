"""Rows of a source file, one by one: a mapping of columns to text, or a reason why the row can't be read.

Reads CSV/TSV (RFC 4180 quoting), JSON lines, nested JSON, lines of `LABEL text`, Parquet, and the Arrow files of
Hugging Face `datasets`. A fault of one row is a `Bad` value that the caller counts; a fault of the whole file
(missing, empty, cut off, no such column) is a DataError.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.dataset.shapes import COLUMNS, is_shaped, shaped

MAX_FIELD_CHARACTERS: Final = 50_000_000
"""The csv module's own limit (131,072) is lower than what `validate.max_characters` may allow."""
_ENDINGS: Final = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".label": "labelled",
    ".parquet": "parquet",
    ".arrow": "arrow",
}
FINGERPRINTS: Final = "SOURCES.json"
"""What `collect` writes into data/raw about what it copied there; no source of rows."""
ROWS_AT_ONCE: Final = 5_000
"""Rows of a Parquet or Arrow file that are held as objects at a time."""
ITEMS: Final = ";"
"""Stands between the items of a JSON list of texts that becomes one cell; items that hold it are no such list."""
LOST_BYTE: Final = re.compile("[\udc80-\udcff]")
"""What `surrogateescape` makes of a byte that is no text in the encoding."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_KEY: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Row:
    """A row that could be read: column -> text, or None where the cell is empty."""

    line: int
    values: Mapping[str, str | None]


@dataclass(frozen=True)
class Bad:
    """A row that could not be read; `detail` holds nothing of its text."""

    line: int
    reason: str
    detail: str


def files(source: SourceSettings, raw: Path) -> tuple[Path, ...]:
    """Returns the files of a source under `raw`, sorted by name.

    Raises:
        DataError: there are none, one leads out of `raw` by a link, or one is empty.
    """
    try:
        met = sorted(raw.glob(source.path))
    except (ValueError, IndexError):
        met = []  # no pattern at all, such as `.` or `a**b`
    found = sorted({f for p in met for f in ([p] if p.is_file() else _inside(p)) if f != raw / FINGERPRINTS})
    where = f"ingest.sources: {source.name}, {raw / source.path}"
    if not found:
        beside = sorted(p.name for p in raw.glob("*") if not p.name.startswith(".")) if raw.is_dir() else []
        raise DataError(
            Problem(
                "a source's file is missing",
                where=where,
                found=f"in {raw}: {joined(beside)}",
                wanted="at least one file",
                do="put the file there, or correct the source's `path`",
            )
        )
    for path in found:
        if not path.resolve().is_relative_to(raw.resolve()):
            raise DataError(
                Problem(
                    "a source's file leads out of data/raw",
                    where=where,
                    found=f"{path.name} is a link",
                    do="copy the file",
                )
            )
        if path.stat().st_size == 0:
            raise DataError(
                Problem("a source's file is empty", where=str(path), found="0 bytes", wanted="rows with a header")
            )
    return tuple(found)


def _inside(folder: Path) -> list[Path]:
    """Returns a folder's files of known endings; beside Arrow files others only describe them."""
    known = [p for p in folder.rglob("*") if p.suffix.lower() in _ENDINGS and p.is_file()]
    arrow = [p for p in known if p.suffix.lower() == ".arrow"]
    return arrow or known


def rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad]:
    """Yields the rows of one file in their order, with the columns in `needed` under those names.

    Raises:
        DataError: a needed column is missing, or the file is of another form than its format says.
    """
    form = source.format or _ENDINGS.get(path.suffix.lower())
    if form is None:
        raise DataError(
            Problem(
                "a source's format can't be told from its ending",
                where=str(path),
                found=path.suffix or "no ending",
                wanted=joined(sorted(_ENDINGS)),
                do="give the file such an ending, or set the source's `format`",
                setting="format",
            )
        )
    reader = {
        "csv": _csv_rows,
        "jsonl": _jsonl_rows,
        "json": _json_rows,
        "labelled": _labelled_rows,
        "parquet": _arrow_rows,
        "arrow": _arrow_rows,
    }[form]
    if reader is not _arrow_rows:
        _check_text(source, path)
    try:
        yield from reader(source, path, needed)
    except UnicodeError as error:  # an encoding that can't go on after a bad byte, such as utf-16
        raise DataError(
            Problem(
                "a source's text is not in its encoding",
                where=str(path),
                found=str(error).splitlines()[0][:100],
                wanted=source.encoding,
                do="set the source's `encoding`",
            )
        ) from None


def _check_text(source: SourceSettings, path: Path) -> None:
    """Checks that a file does not begin like UTF-16 where its source says otherwise."""
    with path.open("rb") as stream:
        start = stream.read(64)
    is_wide = start[:2] in (b"\xff\xfe", b"\xfe\xff") or start.count(0) > len(start) // 4
    if is_wide and "16" not in source.encoding and "32" not in source.encoding:
        raise DataError(
            Problem(
                "a source's text is not in its encoding",
                where=str(path),
                found="a file that begins like UTF-16",
                wanted=source.encoding,
                do=f"set `encoding: utf-16` in source {source.name}",
            )
        )


def _encoding(source: SourceSettings) -> str:
    """Returns the source's encoding; in UTF-8 a mark of byte order at the start is no text."""
    return "utf-8-sig" if source.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else source.encoding


def _csv_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad]:
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    delimiter = source.delimiter or ("\t" if path.suffix.lower() == ".tsv" else ",")
    quoting: Any = csv.QUOTE_MINIMAL if source.quotes else csv.QUOTE_NONE
    with path.open(encoding=_encoding(source), errors="surrogateescape", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True, quoting=quoting)
        first, line = _header(reader, path), reader.line_num + 1
        header = first if source.header else [f"[{place}]" for place in range(len(first))]
        is_chat = is_shaped(header) and any(name in COLUMNS and name not in header for name in needed)
        places = {name: _column(source, name, header, path) for name in needed if not is_chat or name not in COLUMNS}

        def row(line: int, cells: list[str]) -> Row | Bad:
            if len(cells) != len(header):
                reason = "too_many_fields" if len(cells) > len(header) else "too_few_fields"
                return Bad(line, reason, f"{len(cells)} fields, the header has {len(header)}")
            found: dict[str, str | None] = {name: cells[place] or None for name, place in places.items()}
            if is_chat:
                chat = shaped(dict(zip(header, cells, strict=True))) or {}
                found |= {name: chat.get(name) or None for name in COLUMNS if name in needed}
            return _checked(line, found)

        if not source.header and first:
            yield row(1, first)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                # a quote that is not closed swallows lines: each of them is lost, and counted
                for lost in range(line, max(line, reader.line_num) + 1):
                    yield Bad(lost, "bad_csv", f"{error}, from line {line}")
                line = reader.line_num + 1
                continue
            if cells:  # an empty line is no row
                yield row(line, cells)
            line = reader.line_num + 1


def _labelled_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad]:
    columns = ["label", "text"]
    places = {name: _column(source, name, columns, path) for name in needed}
    with path.open(encoding=_encoding(source), errors="surrogateescape", newline="\n") as stream:
        for line, text in enumerate(stream, start=1):
            cells = text.split(maxsplit=1)
            if len(cells) == 2:
                yield _checked(line, {name: cells[place].strip() for name, place in places.items()})
            elif cells:
                yield Bad(line, "too_few_fields", "one word, wanted a label and a text")


def _header(reader: Any, path: Path) -> list[str]:
    try:
        return list(next(reader, []))
    except csv.Error as error:
        raise DataError(Problem("a header can't be read", where=f"{path}, line 1", found=str(error))) from None


def _column(source: SourceSettings, name: str, header: list[str], path: Path) -> int:
    title = source.columns.get(name, name)
    if header.count(title) == 1:
        return header.index(title)
    do = f"correct the header, the task, or name the column: columns: {{{name}: TITLE}} in source {source.name}"
    for other in (",", ";", "\t", "|"):
        if len(header) == 1 and title in [cell.strip('" ') for cell in header[0].split(other)]:
            do = f"set `delimiter: {json.dumps(other)}` in source {source.name}"
    raise DataError(
        Problem(
            "a column is missing" if title not in header else "a column stands in the header twice",
            where=f"{path}, line 1",
            found=joined([name[:20] for name in header]),  # without a header this is a row: show little of it
            wanted=title,
            do=do,
            setting="columns",
        )
    )


def _has_lost_bytes(text: str) -> bool:
    """Whether a byte was no text."""
    return not text.isascii() and LOST_BYTE.search(text) is not None


def _checked(line: int, values: dict[str, str | None]) -> Row | Bad:
    for name, text in values.items():
        if text and _has_lost_bytes(text):
            return Bad(line, "not_utf8", f"column {name} holds bytes that are not text in the source's encoding")
        if text and "\0" in text:
            return Bad(line, "nul", f"column {name} holds NUL characters")
    return Row(line, values)


def _jsonl_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad]:
    seen: set[str] = set()
    n_rows = 0
    with path.open(encoding=_encoding(source), errors="surrogateescape", newline="\n") as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            if _has_lost_bytes(text):
                yield Bad(line, "not_utf8", f"bytes that are not {source.encoding}")
                continue
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                yield Bad(line, "bad_json", "no JSON value")
                continue
            if not isinstance(value, dict):
                yield Bad(line, "bad_json", f"{type(value).__name__}, wanted an object")
                continue
            n_rows += 1
            seen.update(value)
            yield _picked(source, line, value, needed)
    _all_seen(source, path, needed, seen, n_rows)


def _json_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad]:
    try:
        document = json.loads(path.read_bytes().decode(_encoding(source)))
    except (ValueError, RecursionError) as error:
        found = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise DataError(
            Problem("a JSON file can't be read", where=str(path), found=found, wanted=f"JSON in {source.encoding}")
        ) from None
    seen: set[str] = set()
    n_rows = 0
    for number, (value, keys) in enumerate(_walk(document, source.records, path), start=1):
        if not isinstance(value, dict | list):
            yield Bad(number, "bad_json", f"{type(value).__name__}, wanted an object or a list of cells")
            continue
        cells = value if isinstance(value, dict) else {f"[{place}]": cell for place, cell in enumerate(value)}
        row = {**cells, **keys}
        n_rows += 1
        seen.update(row)
        yield _picked(source, number, row, needed)
    _all_seen(source, path, needed, seen, n_rows)


def _arrow_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad]:
    """Yields the rows of a Parquet file, or of an Arrow file as `datasets` writes it, some at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    def batches() -> Iterator[Any]:
        if path.suffix.lower() == ".parquet" or source.format == "parquet":
            with parquet.ParquetFile(path) as file:
                yield from file.iter_batches(
                    batch_size=ROWS_AT_ONCE, columns=_wanted(source, needed, file.schema_arrow)
                )
            return
        with pa.memory_map(str(path)) as stream:
            try:
                found: Any = pa.ipc.open_stream(stream)
            except pa.ArrowInvalid:
                file = pa.ipc.open_file(stream)
                found = (file.get_batch(i) for i in range(file.num_record_batches))
            for batch in found:
                yield from (batch.slice(at, ROWS_AT_ONCE) for at in range(0, batch.num_rows, ROWS_AT_ONCE))

    seen: set[str] = set()
    line = 0
    try:
        for batch in batches():
            seen.update(batch.schema.names)
            labels = _class_labels(batch.schema)
            for value in batch.to_pylist():
                line += 1
                named = {key: labels[key][value[key]] for key in labels if _is_class(value.get(key), labels[key])}
                yield _picked(source, line, {**value, **named}, needed)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            Problem(
                "a file can't be read",
                where=str(path),
                found=str(error).splitlines()[0][:200],
                wanted="a whole Parquet or Arrow file",
                do="copy it again: it may have been cut off",
            )
        ) from None
    _all_seen(source, path, needed, seen, line)


def _wanted(source: SourceSettings, needed: tuple[str, ...], schema: Any) -> list[str] | None:
    """Returns the columns of a Parquet file to read; None: all of them."""
    first = {source.columns.get(name, name).split(".")[0].removesuffix("[]") for name in needed}
    names = [name for name in schema.names if name in first]
    return names if len(names) == len(first) and not is_shaped(schema.names) else None


def _class_labels(schema: Any) -> dict[str, list[str]]:
    """Returns column -> names of its classes, as `datasets` keeps them in a file's metadata."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        found = {name: f["names"] for name, f in features.items() if f.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {name: names for name, names in found.items() if all(isinstance(n, str) for n in names)}


def _is_class(value: Any, names: list[str]) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names)


def _walk(value: Any, steps: str, path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """Yields the rows below `value` with the keys that the steps named on the way."""
    step, _, rest = steps.partition(".")
    if not step:
        yield value, {}
        return
    key = _KEY.fullmatch(step)
    if step == "[]" and isinstance(value, list):
        inner: list[tuple[Any, dict[str, str]]] = [(v, {}) for v in value]
    elif key and isinstance(value, dict):
        inner = [(v, {key.group(1): k}) for k, v in value.items()]
    elif isinstance(value, dict) and step in value:
        inner = [(value[step], {})]
    else:
        raise DataError(
            Problem(
                "a JSON file is of another form than `records` says",
                where=f"{path}, at `{steps}`",
                found=f"an object with {joined(value)}" if isinstance(value, dict) else type(value).__name__,
                wanted={"[]": "a list"}.get(step, f"an object for `{step}`"),
                do="correct the source's `records`",
                setting="records",
            )
        )
    for item, keys in inner:
        for row, more in _walk(item, rest, path):
            yield row, {**keys, **more}


def _picked(source: SourceSettings, line: int, value: dict[str, Any], needed: tuple[str, ...]) -> Row | Bad:
    picked: dict[str, str | None] = {}
    chat: dict[str, str] | None = None
    if any(name in COLUMNS and name not in source.columns for name in needed):
        try:
            chat = shaped(value)
        except ValueError as error:
            return Bad(line, "bad_shape", str(error))
    for name in needed:
        where = source.columns.get(name, name)
        cell = value[where] if where in value else _reach(value, where.split("."))
        if chat is not None and name in COLUMNS and name not in source.columns:
            cell = chat.get(name)
        if isinstance(cell, list) and all(isinstance(piece, str) for piece in cell) and "[]" in where:
            cell = "".join(cell)
        elif isinstance(cell, list) and all(isinstance(i, str) and ITEMS not in i for i in cell):
            cell = f"{ITEMS} ".join(cell)
        if isinstance(cell, int | float):
            cell = json.dumps(cell)
        elif isinstance(cell, date | Decimal):
            cell = str(cell)
        if cell is not None and not isinstance(cell, str):
            return Bad(line, "not_text", f"column {name} is a {type(cell).__name__}, wanted text")
        if cell and not cell.isascii() and _SURROGATE.search(cell):
            return Bad(line, "not_utf8", f"column {name} holds half a surrogate pair")
        if cell and "\0" in cell:
            return Bad(line, "nul", f"column {name} holds NUL characters")
        picked[name] = cell or None
    return Row(line, picked)


def _reach(value: Any, steps: list[str]) -> Any:
    if not steps or value is None:
        return value
    name, is_list = steps[0].removesuffix("[]"), steps[0].endswith("[]")
    inner = value.get(name) if isinstance(value, dict) else None
    if not is_list:
        return _reach(inner, steps[1:])
    return [_reach(item, steps[1:]) for item in inner] if isinstance(inner, list) else None


def _all_seen(source: SourceSettings, path: Path, needed: tuple[str, ...], seen: set[str], n_rows: int) -> None:
    for name in needed:
        where = source.columns.get(name, name)
        first = where.split(".")[0].removesuffix("[]")
        if n_rows and where not in seen and first not in seen and not (name in COLUMNS and is_shaped(seen)):
            raise DataError(
                Problem(
                    "a column is missing",
                    where=f"{path}, in all {n_rows} rows",
                    found=joined(sorted(seen)),
                    wanted=where,
                    do=f"correct the task, or name the column: columns: {{{name}: TITLE}} in source {source.name}",
                    setting="columns",
                )
            )
