"""What a killed registration leaves in MLflow and in the workspace: running runs, models without a version."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from rungwise.release.connection import TAG, Connection, all_pages, short

SCRATCH: Final = ".rungwise/registering"
"""The folder for temporary files of a registration, in the workspace."""


@contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """Yields a folder for temporary files, also MLflow's: those of a killed process are found and removed."""
    folder, before = root / SCRATCH, tempfile.tempdir
    if quote(str(folder)) == str(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        tempfile.tempdir = str(folder)
    else:  # MLflow takes a folder whose path has %, ? or # for an address
        folder = Path(tempfile.mkdtemp(prefix="rungwise-registering-"))
    try:
        yield folder
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(connection: Connection, task: str, name: str, attempts: Sequence[str]) -> None:
    """Removes a task's models without a version, and temporary files; ends its runs that nobody continues as killed.

    Hold the workspace's lock, and log the runs of the last climb before, which completes theirs. A server may be in use
    by other workspaces: there, only what belongs to `attempts`, the digests of the last climb, counts.

    `name`: the name of the task's registered model.
    """
    shutil.rmtree(connection.root / SCRATCH, ignore_errors=True)
    own = f"tags.`{TAG}task` = '{task}'"
    names = [name for one in attempts for name in (short(one), one)]  # earlier versions wrote the whole digest
    queries = [own] if connection.database else [f"{own} AND tags.`{TAG}attempt` = '{name}'" for name in names]
    with connection.client() as (_, client):
        experiments = [e.experiment_id for e in client.search_experiments()]
        registered = {version.source for version in client.search_model_versions(f"name = '{name}'")}
        for query in queries:
            for model in list(all_pages(client.search_logged_models, experiments, query)):
                if f"models:/{model.model_id}" not in registered:
                    client.delete_logged_model(model.model_id)
                    connection.remove(model.artifact_location)
            if connection.database:
                running = f"{query} AND attributes.status = 'RUNNING'"
                for run in list(all_pages(client.search_runs, experiments, running)):
                    client.set_terminated(run.info.run_id, "KILLED")
