"""The result of a query as JSON lines, by SQLAlchemy."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from rungwise.config import CollectSettings
from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import joined
from rungwise.dataset.collect.part import Part, write_part


def tables(source: CollectSettings, address: str, root: Path, raw: Path) -> Iterator[Part]:
    from sqlalchemy import create_engine

    engine = create_engine(_rooted(source, address, root))
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            result = connection.exec_driver_sql(source.query or "")
            names = list(result.keys()) if result.returns_rows else []
            if not names or len(set(names)) != len(names):
                raise DataError(
                    Problem(
                        "a query gives no table",
                        where=f"collect: {source.name}",
                        found=joined(names),
                        wanted="columns that each have a name of their own",
                        do="correct the query: `select id, text as body from ...`",
                    )
                )
            lines = (_line(source, dict(zip(names, row, strict=True))) for row in result)
            part = write_part(raw, source.target, lines)
            if not part.print["bytes"]:
                part.part.unlink()
                raise DataError(
                    Problem(
                        "a query gives no rows",
                        where=f"collect: {source.name}",
                        found=f"columns {joined(names)}, and nothing below them",
                        wanted="rows",
                        do="correct the query; what was collected before is untouched",
                    )
                )
            yield part
    finally:
        engine.dispose()


def _rooted(source: CollectSettings, address: str, root: Path) -> Any:
    """Returns an SQLAlchemy address in which SQLite's file starts at the workspace.

    Raises:
        DataError: SQLite's file is not there: it would make an empty one.
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
                found=f"no file {path if source.from_ else 'where $' + str(source.url_env) + ' says'}",
                wanted="an SQLite file; a relative name starts at the workspace",
                do=f"correct the source's `{'from' if source.from_ else 'url_env'}`",
            )
        )
    return url.set(database=str(path))


def _line(source: CollectSettings, row: dict[str, Any]) -> bytes:
    for name, value in row.items():
        if isinstance(value, bytes | memoryview):
            raise DataError(
                Problem(
                    "a column holds bytes",
                    where=f"collect: {source.name}, column {name}",
                    wanted="text, a number, a date or nothing",
                    do="leave it out of the query, or convert it there",
                )
            )
        if isinstance(value, dict | list):
            row[name] = json.dumps(value, ensure_ascii=False, default=str)  # a database's own JSON
        elif isinstance(value, Decimal) or not isinstance(value, str | int | float | None):
            row[name] = str(value)
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace")
