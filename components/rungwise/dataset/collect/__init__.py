"""Copies what the sources hold into data/raw, with a fingerprint of every file: the only step that looks outside.

An effect before the DVC graph: `ingest` reads data/raw alone, so that a run depends on what was collected and never
on the weather. All files of a source are written beside their places before the first one takes its place; one that
did not change is not touched. Addresses and credentials reach neither a message nor the fingerprints.

Files by fsspec (https://filesystem-spec.readthedocs.io), tables by SQLAlchemy (https://docs.sqlalchemy.org).
"""

from rungwise.dataset.collect.snapshot import Collected, Collection, collect

__all__ = ["Collected", "Collection", "collect"]
