"""Shows the practical approach on this machine: `make demo`, after which `rungwise` commands work in the repository.

Puts the made-up tickets into data/raw under DVC, runs the Prefect flow, and says what came out and where to look
next. Run again it goes on where it stopped, and does nothing twice. `make demo-full` first adds to params.yaml the
tasks and the rung of full.yaml that it lacks: the climb goes on with harder tasks and a larger model.
"""

import argparse
import io
import shutil
import subprocess
import sys
from pathlib import Path

from rungwise.core.errors import Problem, RungwiseError, WorkspaceError
from rungwise.core.folders import replace_text
from rungwise.report.read import status
from rungwise.report.text import status_text
from rungwise.workspace.layout import Paths, settings_of
from rungwise.workspace.process import prepare_environment, workspace_root

ROWS = Path(__file__).with_name("tickets.csv")
FULL = Path(__file__).with_name("full.yaml")
DISK_MIB, MEMORY_MIB = 500, 1500
"""What the flow takes at most beside what is installed, rounded up."""
NEXT = """
Where to look next (source .venv/bin/activate):
  rungwise explain                            each rung, what it showed, and why the climb went on or stopped
{predict}  params.yaml                                 tasks, bars, ladder: change one and `rungwise run`
  data/climb/TASK/predictions/RUNG.jsonl      every answer on the development rows
  mlflow ui --backend-store-uri sqlite:///mlflow.db     (Model training > Experiments > rungwise)
  rungwise init DIR --rows FILE --text COLUMN --answer COLUMN      the same with your own rows
"""
PREDICT = '  rungwise predict {task} "The zip of my tent is stuck"\n'


def free_mib(root: Path) -> tuple[float, float | None]:
    """Returns the free disk under the workspace and the available memory in MiB; None where that can't be told."""
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text(encoding="ascii").splitlines() if meminfo.exists() else []
    kib = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    return shutil.disk_usage(root).free / 2**20, None if kib is None else kib / 1024


def check_room(root: Path) -> None:
    """Checks that the demonstration can run to its end here.

    Raises:
        WorkspaceError: there is too little disk or memory.
    """
    disk, memory = free_mib(root)
    for what, found, wanted in (("disk", disk, DISK_MIB), ("memory", memory, MEMORY_MIB)):
        if found is not None and found < wanted:
            raise WorkspaceError(
                Problem(
                    f"there is too little {what} for the demonstration",
                    where=str(root),
                    found=f"{found:.0f} MiB free",
                    wanted=f"{wanted} MiB",
                    do="free some, or set RUNGWISE_WORKSPACE to a copy of the repository on a larger disk"
                    if what == "disk"
                    else "close other programs",
                )
            )


def check_is_demo(root: Path) -> None:
    """Checks that the workspace is the demonstration's: its params.yaml reads the tickets, its models are there.

    Raises:
        RungwiseError: it is another, or params.yaml can't be read.
    """
    paths = [source.path for source in settings_of(root).ingest.sources]
    if paths != [ROWS.name] or not (root / "infra" / "demo" / "models").is_dir():
        raise WorkspaceError(
            Problem(
                "this workspace is not the demonstration's",
                where=str(root),
                found=f"sources {', '.join(paths)}",
                wanted=f"the repository's own, which reads {ROWS.name}",
                do="unset RUNGWISE_WORKSPACE and go to the repository's folder; `rungwise run` climbs with other rows",
            )
        )


def place_rows(root: Path) -> None:
    """Puts the tickets into data/raw under DVC, unless they are there.

    Raises:
        WorkspaceError: other rows stand there under that name, or DVC can't take them.
    """
    target = Paths(root).raw / ROWS.name
    if target.exists() and target.read_bytes() != ROWS.read_bytes():
        raise WorkspaceError(
            Problem(
                "data/raw holds other rows than the demonstration's",
                where=str(target),
                do="`rungwise run` climbs with your rows; move them away to see the demonstration",
            )
        )
    if target.exists() and (root / "data" / "raw.dvc").exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROWS, target)
    command = [sys.executable, "-m", "dvc", "add", "-q", "data/raw"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkspaceError(Problem("DVC can't take the rows", where=str(root), found=done.stderr.strip()[-300:]))


def add_full(params: Path) -> list[str]:
    """Adds the tasks and rungs of full.yaml to params.yaml, comments and all; returns the names of those it lacked."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 1000, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    settings, more = (yaml.load(path.read_text(encoding="utf-8")) for path in (params, FULL))
    tasks = [name for name in more["tasks"] if name not in settings["tasks"]]
    known = {rung["name"] for rung in settings["ladder"]}
    rungs = [rung for rung in more["ladder"] if rung["name"] not in known]
    for name in tasks:
        settings["tasks"][name] = more["tasks"][name]
    settings["ladder"].extend(rungs)
    if tasks or rungs:
        text = io.StringIO()
        yaml.dump(settings, text)
        replace_text(params, text.getvalue())
    return [*tasks, *(rung["name"] for rung in rungs)]


def main() -> int:
    """Runs the demonstration; returns its exit code."""
    parser = argparse.ArgumentParser(description="Shows the practical approach on made-up tickets.")
    parser.add_argument("--full", action="store_true", help="all four tasks and the largest of the models")
    is_full = parser.parse_args().full
    prepare_environment()
    root = workspace_root()
    try:
        check_is_demo(root)
        check_room(root)
        place_rows(root)
        added = add_full(Paths(root).params) if is_full else []
        if added:
            print(f"Added to params.yaml: {', '.join(added)} (`git diff params.yaml` shows it).", flush=True)
        code = subprocess.run([sys.executable, "-m", "rungwise.flows.pipeline"], cwd=root, check=False).returncode
        if code:
            print("The flow stopped above; what was finished is kept, and the same command goes on from there.")
            return code
        found = status(root)
        champions = [name for name, task in found.tasks.items() if task.champion]
        told = "".join(PREDICT.format(task=task) for task in champions[:1])
        print(f"\n{status_text(found)}\n{NEXT.format(predict=told)}")
    except RungwiseError as error:
        print(f"make demo: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
