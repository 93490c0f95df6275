"""Reads a task's aliases from MLflow's SQLite file, because importing MLflow takes two seconds of processor time.

The tables are those of MLflow 3 (https://github.com/mlflow/mlflow, mlflow/store/model_registry/dbmodels). The caller
asks MLflow itself if a file has other tables.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

_ALIASES: Final = """
select a.alias, a.version from registered_model_aliases a
join model_versions v on v.name = a.name and v.version = a.version and v.workspace = a.workspace
where a.name = ? and a.workspace = 'default' and v.current_stage <> 'Deleted_Internal'
"""
_TAGS: Final = "select key, value from model_version_tags where name = ? and version = ? and workspace = 'default'"


def aliases_of(database: Path, model: str) -> dict[str, tuple[int, Mapping[str, str]]] | None:
    """Returns alias -> version and its tags of a registered model; None if the file's tables are others."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=10)) as connection:
            rows = connection.execute(_ALIASES, (model,)).fetchall()
            return {alias: (int(n), dict(connection.execute(_TAGS, (model, n)).fetchall())) for alias, n in rows}
    except sqlite3.Error:
        return None
