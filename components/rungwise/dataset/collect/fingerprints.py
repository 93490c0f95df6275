"""Reads and writes the fingerprints of the collected files: data/raw/SOURCES.json."""

import json
from pathlib import Path
from typing import Any, Final

from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import read_json

FINGERPRINTS: Final = "SOURCES.json"
"""File in data/raw that records what `collect` copied there. It is not a source of rows."""


def fingerprints_text(known: dict[str, Any]) -> str:
    """Returns the fingerprints as the text of the file; equal fingerprints give equal text."""
    return json.dumps(known, sort_keys=True, ensure_ascii=False, indent=1) + "\n"


def read_fingerprints(record: Path) -> dict[str, Any]:
    """Returns source name -> its entry: origin, licence, query, and the `files` that it put into data/raw.

    Raises:
        DataError: the fingerprints can't be read.
    """
    if not record.exists():
        return {}
    try:
        known = read_json(record)
        if not all(isinstance(path, str) for value in known.values() for path in value["files"].keys()):
            raise ValueError
        return dict(known)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(
            Problem(
                "the fingerprints of the collected files can't be read",
                where=str(record),
                wanted="the JSON that `rungwise collect` wrote, with the `files` of each source",
                do="restore it (from git if it was committed), or move it away together with the files that it names",
            )
        ) from None
