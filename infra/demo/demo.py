"""The demonstration on this machine: `make demo`. Afterwards `rungwise` commands work in the repository.

Puts the made-up tickets into data/raw under DVC, fetches the bases, runs the Prefect flow, lets the champions answer,
and prints the results and the next steps. A second call resumes where the first one stopped and repeats no finished
work. `make demo-full` first adds the tasks of full.yaml to params.yaml and, where the Gemma terms were accepted, its
rung with a larger model.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from rungwise.config import base_of, edit
from rungwise.core.errors import ModelError, Problem, RungwiseError, WorkspaceError
from rungwise.model.bases import base_folder
from rungwise.model.embedded import EMBEDDED, has_accepted
from rungwise.report.read import status
from rungwise.report.text import status_text
from rungwise.workspace.layout import Paths, settings_of
from rungwise.workspace.process import prepare_environment, workspace_root

ROWS = Path(__file__).with_name("tickets.csv")
FULL = Path(__file__).with_name("full.yaml")
DISK_MIB, MEMORY_MIB = 1500, 4000
"""Upper bounds of what the flow requires in addition to the installed packages, rounded up."""
QUESTIONS = {
    "route": ["The zip of my tent is stuck"],
    "keywords": ["The zip of my tent is stuck"],
    "reply": ["--field", "tenant=fernweg", "--field", "body=The zip of my tent is broken. Order FW-12345."],
    "triage": ["--field", "tenant=fernweg", "--field", "body=The zip of my tent is broken. Order FW-12345."],
}
"""Task -> what its champion is asked: arguments of `rungwise predict`."""
NEXT = """
Where to look next (source .venv/bin/activate):
  rungwise explain                            each rung, its score, and why the climb continued or stopped
  params.yaml                                 tasks, bars, ladder: change one and `rungwise run`
  data/climb/TASK/predictions/RUNG.jsonl      every answer on the validation rows
  mlflow ui --backend-store-uri sqlite:///mlflow.db     (Model training > Experiments > tickets)
  rungwise init DIR --rows FILE --text COLUMN --answer COLUMN      a workspace with your own rows
"""
NO_BASES = """make demo: the bases can't be fetched. To run without them, set `base: pocket-m` on the rung
`smollm2-135m` of params.yaml, and delete the rung `embed`. The pocket models are toys: they show the path only."""


def free_mib(root: Path) -> tuple[float, float | None]:
    """Returns the free disk of the workspace and the available memory in MiB; None where the system does not say."""
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text(encoding="ascii").splitlines() if meminfo.exists() else []
    kib = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    return shutil.disk_usage(root).free / 2**20, None if kib is None else kib / 1024


def check_room(root: Path) -> None:
    """Checks that this machine has room for the whole demonstration.

    Raises:
        WorkspaceError: there is too little disk or memory.
    """
    disk, memory = free_mib(root)
    for what, free, wanted in (("disk", disk, DISK_MIB), ("memory", memory, MEMORY_MIB)):
        if free is not None and free < wanted:
            raise WorkspaceError(
                Problem(
                    f"there is too little {what} for the demonstration",
                    where=str(root),
                    found=f"{free:.0f} MiB free",
                    wanted=f"{wanted} MiB",
                    do="free some space, or set RUNGWISE_WORKSPACE to a copy of the repository on a larger disk"
                    if what == "disk"
                    else "close other programs",
                )
            )


def check_is_demo(root: Path) -> None:
    """Checks that the workspace is the demonstration's: params.yaml reads the tickets, and the models are there.

    Raises:
        RungwiseError: it is another workspace, or params.yaml can't be read.
    """
    paths = [source.path for source in settings_of(root).ingest.sources]
    if paths != [ROWS.name] or not (root / "infra" / "demo" / "models").is_dir():
        raise WorkspaceError(
            Problem(
                "this workspace is not the demonstration's",
                where=str(root),
                found=f"sources {', '.join(paths)}",
                wanted=f"the repository's own workspace, which reads {ROWS.name}",
                do="unset RUNGWISE_WORKSPACE and change to the repository's folder; for other rows use `rungwise run`",
            )
        )


def place_rows(root: Path) -> None:
    """Puts the tickets into data/raw under DVC, unless they are there.

    Raises:
        WorkspaceError: there are other rows under that name, or DVC can't add them.
    """
    target = Paths(root).raw / ROWS.name
    if target.exists() and target.read_bytes() != ROWS.read_bytes():
        raise WorkspaceError(
            Problem(
                "data/raw contains other rows than the demonstration's",
                where=str(target),
                do="`rungwise run` climbs with your rows; move them to another folder to see the demonstration",
            )
        )
    if target.exists() and (root / "data" / "raw.dvc").exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROWS, target)
    command = [sys.executable, "-m", "dvc", "add", "-q", "data/raw"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkspaceError(Problem("DVC can't add the rows", where=str(root), found=done.stderr.strip()[-300:]))


def fetch_bases(root: Path) -> None:
    """Fetches the bases of the ladder that are not on this machine.

    Raises:
        ModelError: a base can't be fetched.
    """
    for rung in settings_of(root).ladder:
        if base := base_of(rung):
            base_folder(base, root)


def ask(root: Path, task: str) -> str:
    """Returns a `rungwise predict` command for the task's champion as a user types it, and what it prints."""
    arguments = ["predict", task, *QUESTIONS[task]]
    done = subprocess.run(
        [sys.executable, "-m", "rungwise", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    return f"$ {shlex.join(['rungwise', *arguments])}\n{done.stdout or done.stderr}"


def add_full(params: Path, *, with_gemma: bool) -> list[str]:
    """Adds the missing tasks and rungs of full.yaml, with their comments, to params.yaml; returns their names."""
    from ruamel.yaml import YAML

    text, full = params.read_text(encoding="utf-8"), FULL.read_text(encoding="utf-8")
    values, more = (YAML(typ="safe").load(one) for one in (text, full))
    added = []
    for section in ("tasks", "bars", "ladder") if with_gemma else ("tasks", "bars"):
        entries = zip(_names(more[section]), edit.entries_of(full, section), strict=True)
        missing = {name: entry for name, entry in entries if name not in _names(values[section])}
        text = edit.extended(text, section, list(missing.values()))
        added += [name for name in missing if section != "bars"]
    if added:
        own = {name: {**more[name], **values[name]} for name in ("tasks", "bars")}
        ladder = [*values["ladder"], *(rung for rung in more["ladder"] if rung["name"] in added)]
        problem = Problem("full.yaml can't be added to params.yaml", where=str(params), do=f"add {FULL} by hand")
        edit.write(params, text, lambda result: result == {**values, **own, "ladder": ladder}, problem)
    return added


def _names(section: dict[str, Any] | list[dict[str, Any]]) -> list[str]:
    return list(section) if isinstance(section, dict) else [rung["name"] for rung in section]


def main() -> int:
    """Runs the demonstration; returns its exit code."""
    parser = argparse.ArgumentParser(description="Runs the demonstration on made-up tickets.")
    parser.add_argument("--full", action="store_true", help="all four tasks")
    is_full = parser.parse_args().full
    prepare_environment()
    root = workspace_root()
    try:
        check_is_demo(root)
        check_room(root)
        place_rows(root)
        added = add_full(Paths(root).params, with_gemma=has_accepted(EMBEDDED["gemma3-270m"])) if is_full else []
        if added:
            print(f"Added to params.yaml: {', '.join(added)} (`git diff params.yaml` shows it).", flush=True)
        try:
            fetch_bases(root)
        except ModelError:
            print(NO_BASES, file=sys.stderr)
            raise
        code = subprocess.run([sys.executable, "-m", "rungwise.flows.pipeline"], cwd=root, check=False).returncode
        if code:
            print("The flow failed (see above); completed work is kept. Fix the error and run the same command again.")
            return code
        state = status(root)
        print(f"\n{status_text(state)}\n")
        for name, task in state.tasks.items():
            if task.champion:
                print(ask(root, name), flush=True)
        print(NEXT)
    except RungwiseError as error:
        print(f"make demo: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
