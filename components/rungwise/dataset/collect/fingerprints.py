"""What `collect` notes about the files that it copied."""

import json
from pathlib import Path
from typing import Any, Final

from rungwise.core.errors import DataError, Problem
from rungwise.core.folders import read_json

FINGERPRINTS: Final = "SOURCES.json"
"""What `collect` writes into data/raw about what it copied there; no source of rows."""


def fingerprints_text(known: dict[str, Any]) -> str:
    return json.dumps(known, sort_keys=True, ensure_ascii=False, indent=1) + "\n"


def read_fingerprints(record: Path) -> dict[str, Any]:
    """Returns source -> what it put into data/raw before.

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
                "the fingerprints of what was collected can't be read",
                where=str(record),
                wanted="what `rungwise collect` wrote: JSON with the `files` of each source",
                do="restore it (git has it if it was committed); or move it away, and the files that it names too",
            )
        ) from None
