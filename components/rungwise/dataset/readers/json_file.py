"""Reads JSON lines, and nested JSON whose rows are at the path in `records`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rungwise.config import SourceSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.dataset.readers.objects import check_columns, picked
from rungwise.dataset.readers.row import Bad, Row, encoding_of, has_lost_bytes

_KEY: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def jsonl_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad]:
    """Yields the rows of a file with one JSON object per line.

    Raises:
        DataError: a needed column is in no row.
    """
    seen: set[str] = set()
    n_rows = 0
    with path.open(encoding=encoding_of(source), errors="surrogateescape", newline="\n") as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            if has_lost_bytes(text):
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
            yield picked(source, line, value, needed)
    check_columns(source, path, needed, seen, n_rows)


def json_rows(source: SourceSettings, path: Path, needed: tuple[str, ...]) -> Iterator[Row | Bad]:
    """Yields the rows of one JSON document; `line` counts rows.

    Raises:
        DataError: the file is not JSON, it has another form than `records` says, or a needed column is in no row.
    """
    try:
        document = json.loads(path.read_bytes().decode(encoding_of(source)))
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise DataError(
            Problem("a JSON file can't be read", where=str(path), found=reason, wanted=f"JSON in {source.encoding}")
        ) from None
    seen: set[str] = set()
    n_rows = 0
    for number, (value, keys) in enumerate(_rows_below(document, source.records, path), start=1):
        if not isinstance(value, dict | list):
            yield Bad(number, "bad_json", f"{type(value).__name__}, wanted an object or a list of cells")
            continue
        cells = value if isinstance(value, dict) else {f"[{place}]": cell for place, cell in enumerate(value)}
        row = {**cells, **keys}
        n_rows += 1
        seen.update(row)
        yield picked(source, number, row, needed)
    check_columns(source, path, needed, seen, n_rows)


def _rows_below(value: Any, steps: str, path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """Yields (row, keys) for the rows below `value`; `keys` holds the object keys that `{name}` steps passed."""
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
                "a JSON file has another form than `records` says",
                where=f"{path}, at `{steps}`",
                found=f"an object with {joined(value)}" if isinstance(value, dict) else type(value).__name__,
                wanted={"[]": "a list"}.get(step, f"an object for `{step}`"),
                do="correct the source's `records`",
                setting="records",
            )
        )
    for item, keys in inner:
        for row, more in _rows_below(item, rest, path):
            yield row, {**keys, **more}
