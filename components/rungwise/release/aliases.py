"""Reads aliases and model folders from MLflow's SQLite file: importing MLflow takes two seconds of processor time.

The tables are those of MLflow 3 (https://github.com/mlflow/mlflow, mlflow/store/model_registry/dbmodels). The caller
asks MLflow itself if a file has other tables.
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
    place = urlsplit(row[0]) if row else None
    if place is None or place.scheme not in ("", "file"):
        return None
    path = Path(unquote(place.path))
    return path if path.is_dir() else None


def _opened(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=10)
