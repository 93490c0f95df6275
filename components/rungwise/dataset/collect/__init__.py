"""Copies the rows of external sources into data/raw, with a fingerprint of every file.

The only step that reads from outside the workspace, apart from `generate`. It runs before the DVC graph: `ingest` reads
only data/raw, so a run depends on what was collected and not on the network. All files of a source are written to
temporary files before the first one replaces its target; an unchanged file is not touched. Secret addresses and
credentials appear neither in messages nor in the fingerprints.

Files are read with fsspec (https://filesystem-spec.readthedocs.io), tables with SQLAlchemy
(https://docs.sqlalchemy.org).
"""

from rungwise.dataset.collect.snapshot import Collected, Collection, collect

__all__ = ["Collected", "Collection", "collect"]
