"""MLflow's SQLite file: its address, and the aliases and model folders in it.

They are read without MLflow, because importing it takes two seconds of processor time. The tables are those of MLflow 3
(https://github.com/mlflow/mlflow, mlflow/store/model_registry/dbmodels). The caller asks MLflow itself if a file has
other tables. In an address `%`, `?` and `#` have a meaning; in a path they have none.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

_ALIASES: Final = """
select a.alias, a.version from registered_model_aliases a
join model_versions v on v.name = a.name and v.version = a.version and v.workspace = a.workspace
where a.name = ? and a.workspace = 'default' and v.current_stage <> 'Deleted_Internal'
"""
_TAGS: Final = "select key, value from model_version_tags where name = ? and version = ? and workspace = 'default'"

_FOLDER: Final = """
select m.artifact_location from model_versions v join logged_models m on v.source = 'models:/' || m.model_id
where v.name = ? and v.version = ? and v.workspace = 'default' and m.lifecycle_stage = 'active'
"""


_DRIVERS: Final = ("sqlite", "sqlite+pysqlite")


def address_of(database: Path) -> str:
    """Returns the address by which MLflow opens an SQLite file."""
    path = str(database)
    if not set(path) & set("%?#"):
        return f"sqlite:///{path}"
    # under the driver's short name, MLflow makes the folder of the path before it is decoded
    return f"sqlite+pysqlite:///{quote(path)}"


def database_of(address: str) -> Path | None:
    """Returns the SQLite file of an address; None if it is a server or another database."""
    driver, _, rest = address.partition(":///")
    return Path(unquote(rest.partition("?")[0])) if driver in _DRIVERS else None


def local_path(place: str) -> Path | None:
    """Returns the path of a place in which MLflow keeps files; None if it is not on this machine."""
    parts = urlsplit(place)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(place)


def aliases_of(database: Path, model: str) -> dict[str, tuple[int, Mapping[str, str]]] | None:
    """Returns alias -> version and its tags of a registered model; None if the file's tables are others."""
    try:
        with closing(_opened(database)) as connection:
            rows = connection.execute(_ALIASES, (model,)).fetchall()
            return {alias: (int(n), dict(connection.execute(_TAGS, (model, n)).fetchall())) for alias, n in rows}
    except sqlite3.Error:
        return None


def folder_of(database: Path, model: str, version: int) -> Path | None:
    """Returns the folder of a version's files; None if it is not on this machine, or the tables are others."""
    try:
        with closing(_opened(database)) as connection:
            row = connection.execute(_FOLDER, (model, version)).fetchone()
    except sqlite3.Error:
        return None
    path = local_path(row[0]) if row else None
    return path if path and path.is_dir() else None


def _opened(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=10)
