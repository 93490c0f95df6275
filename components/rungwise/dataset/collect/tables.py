"""Copies the result of an SQL query as JSON lines."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from rungwise.config import CollectSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.dataset.collect.staged import StagedFile, write_staged


def copy_table(source: CollectSettings, address: str, root: Path, raw: Path) -> Iterator[StagedFile]:
    """Yields one file: the rows of the source's query as JSON lines, in the order of the query.

    Raises:
        DataError: the query returns no rows, two columns have the same name, or a column holds bytes.
        Exception: whatever the database driver raises.
    """
    from sqlalchemy import create_engine

    engine = create_engine(_rooted_url(source, address, root))
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            result = connection.exec_driver_sql(source.query or "")
            names = list(result.keys()) if result.returns_rows else []
            if not names or len(set(names)) != len(names):
                raise DataError(
                    Problem(
                        "a query does not return a table",
                        where=f"collect: {source.name}",
                        found=joined(names),
                        wanted="columns with different names",
                        do="correct the query: `select id, text as body from ...`",
                    )
                )
            lines = (_line(source, dict(zip(names, row, strict=True))) for row in result)
            part = write_staged(raw, source.target, lines)
            if not part.fingerprint["bytes"]:
                part.path.unlink()
                raise DataError(
                    Problem(
                        "a query returns no rows",
                        where=f"collect: {source.name}",
                        found=f"columns {joined(names)}, without rows",
                        wanted="rows",
                        do="correct the query; the files collected earlier are unchanged",
                    )
                )
            yield part
    finally:
        engine.dispose()


def _rooted_url(source: CollectSettings, address: str, root: Path) -> Any:
    """Returns the SQLAlchemy URL; the relative path of an SQLite file starts at the workspace.

    Raises:
        DataError: the SQLite file is missing. SQLite would create an empty one.
    """
    from sqlalchemy.engine import make_url

    url = make_url(address)
    name = url.database
    if not url.drivername.startswith("sqlite") or not name or name == ":memory:" or name.startswith("file:"):
        return url
    path = root / Path(name).expanduser()
    if not path.is_file():
        raise DataError(
            Problem(
                "a source's database is missing",
                where=f"collect: {source.name}",
                found=f"no file {path if source.from_ else 'at the address in $' + str(source.url_env)}",
                wanted="an SQLite file; a relative path starts at the workspace",
                do=f"correct the source's `{'from' if source.from_ else 'url_env'}`",
            )
        )
    return url.set(database=str(path))


def _line(source: CollectSettings, row: dict[str, Any]) -> bytes:
    """Returns a row as a line of JSON; raises DataError if a column holds bytes."""
    for name, value in row.items():
        if isinstance(value, bytes | memoryview):
            raise DataError(
                Problem(
                    "a column holds bytes",
                    where=f"collect: {source.name}, column {name}",
                    wanted="text, a number, a date or NULL",
                    do="leave it out of the query, or convert it in the query",
                )
            )
        if isinstance(value, dict | list):
            row[name] = json.dumps(value, ensure_ascii=False, default=str)  # a JSON column
        elif isinstance(value, Decimal) or not isinstance(value, str | int | float | None):
            row[name] = str(value)
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace")
