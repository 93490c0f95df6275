"""Registers a task's climb in a process that is killed, then again in one that is not.

`python -m tests.crash.registering ROOT COUNT [--new]` does so with copies of the workspace ROOT and prints a line of JSON for
each: the point of the kill, the number of events before it, and what MLflow and the folders hold afterwards. An event is a
commit to MLflow's database, or a write to a file of the workspace or the temporary folder. A point is the number of the
event that does not happen any more. The first line is of point 0, which kills nothing, and the others are of COUNT points
evenly spread over all events. The database exists before, or does not with `--new`. MLflow is imported once, and each try
is a fork.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_FILES = ("os.rename", "os.mkdir", "os.remove", "shutil.rmtree")


def forked(act: Callable[[], Any]) -> int:
    """Returns the exit status of a function in a process of its own; 0 if it returned."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def watched(root: Path, temporary: Path, events: Path, at: int) -> None:
    """Writes a line for each event to a file, and kills this process at one of them."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    places = (str(root), str(temporary))
    busy: list[str] = []

    def happens(what: str) -> None:
        if busy:
            return
        busy.append(what)
        with events.open("a+") as stream:
            stream.write(what + "\n")
            stream.seek(0)
            number = len(stream.readlines())
        busy.pop()
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(name: str, arguments: tuple) -> None:
        is_file = name in _FILES or (name == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT)
        if is_file and str(arguments[0]).startswith(places) and str(arguments[0]) != str(events):
            happens(f"{name} {arguments[0]}")

    event.listen(Engine, "commit", lambda connection: happens(f"commit {connection.engine.url}"))
    sys.addaudithook(audit)


def register(root: Path) -> None:
    """Registers the task, without the process that proves the model."""
    from rungwise.release.register import register as act

    act(root, "route", lambda folder: None)


def held(root: Path) -> dict[str, Any]:
    """Returns what MLflow and the folders hold."""
    import mlflow
    from mlflow.entities import ViewType

    address = f"sqlite:///{root / 'mlflow.db'}"
    client = mlflow.MlflowClient(address, address)
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments, run_view_type=ViewType.ALL)
    models = client.search_logged_models(experiments)
    versions = client.search_model_versions("name = 'route'")
    return {
        "runs": sorted(
            [run.data.tags.get("rungwise.rung", ""), run.info.status, run.info.lifecycle_stage] for run in runs
        ),
        "metrics": [len(client.get_metric_history(run.info.run_id, "dev_score")) for run in runs],
        "models": [str(model.status) for model in models],
        "versions": [[v.version, v.tags.get("rungwise.reload")] for v in versions],
        "aliases": client.get_registered_model("route").aliases,
        "folders": len(list((root / "mlartifacts").glob("models/*")))
        + len(list((root / "mlartifacts").glob("*/artifacts"))),
        "files": sorted(path.name for path in (root / ".rungwise").rglob("*") if path.is_file()),
    }


def tried(root: Path, folder: Path, point: int) -> dict[str, Any]:
    """Returns what is held after a try that is killed at a point and one that is not."""
    copy, temporary, events, result = (folder / name for name in ("ws", "temporary", "events", "result"))
    shutil.copytree(root, copy, symlinks=True)
    temporary.mkdir()
    tempfile.tempdir = str(temporary)

    def killed() -> None:
        watched(copy, temporary, events, point)
        register(copy)

    status = forked(killed)
    n = len(events.read_text().splitlines())
    done = [forked(lambda: register(copy)), forked(lambda: result.write_text(json.dumps(held(copy))))]
    return {
        "point": point,
        "status": status,
        "events": n,
        "last": events.read_text().splitlines()[-1].replace(str(folder), ""),
        "again": done,
        **(json.loads(result.read_text()) if result.is_file() else {}),
        "left": sorted(path.name for path in temporary.iterdir()),
    }


def main() -> None:
    import mlflow.pyfunc  # noqa: F401  # imported once, for all forks
    from mlflow.store.tracking import sqlalchemy_store  # noqa: F401

    import rungwise.release.versions  # noqa: F401

    root, count = Path(sys.argv[1]), int(sys.argv[2])
    if "--new" not in sys.argv:
        forked(lambda: make_database(root))
    points = [0]
    for point in points:
        with tempfile.TemporaryDirectory(dir=root.parent) as folder:
            result = tried(root, Path(folder), point)
        if point == 0:
            points += [1 + (result["events"] - 1) * i // max(1, count - 1) for i in range(count)]
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


def make_database(root: Path) -> None:
    """Makes MLflow's database."""
    from rungwise.release.connection import Connection

    with Connection(root).client():
        pass


if __name__ == "__main__":
    from rungwise.workspace.process import prepare_environment

    prepare_environment()
    main()
