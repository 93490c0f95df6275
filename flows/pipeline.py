"""The whole path as one Prefect flow: collect, prepare, climb, register, promote.

`python -m rungwise.flows.pipeline` runs it here; infra/prefect.yaml deploys it. It holds the workspace's lock from
start to end and fails by name if params.yaml or data/raw is changed meanwhile.
"""

from prefect import flow

from rungwise.climbing.ladder import check_bases
from rungwise.flows.climb import climb, ladder_table
from rungwise.flows.prepare import collect, prepare
from rungwise.flows.release import accept, promote, register
from rungwise.pipeline.effects import check_drift
from rungwise.pipeline.stages import check_rows, clear_leftovers
from rungwise.workspace.layout import check_unchanged, settings_of, snapshot
from rungwise.workspace.lock import locked
from rungwise.workspace.process import workspace_root


@flow(name="rungwise")
def pipeline() -> dict[str, str]:
    """Runs one pass over the workspace; returns what became of each task."""
    root = workspace_root()
    settings_of(root)  # a missing or wrong params.yaml is said before anything is made here
    with locked(root, "the Prefect flow"):
        if settings_of(root).collect:
            collect(root)
        settings, before = settings_of(root), snapshot(root)
        check_rows(root)
        check_bases(root, settings)
        clear_leftovers(root)
        prepare(root, before)
        check_drift(root)
        climb(root, before)
        accept(root)
        ended: dict[str, str] = {}
        for name in settings.tasks:
            check_unchanged(root, before)
            ended[name] = promote(root, name) if register(root, name) is not None else "not registered"
            ladder_table(root, name)
        check_unchanged(root, before)
    return ended


if __name__ == "__main__":
    pipeline()
