"""DVC is killed while it writes its own files; the same command continues."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from rungwise.core.errors import WorkspaceError
from rungwise.core.folders import tree_digests
from rungwise.workspace.dvc import changed, is_current
from rungwise.workspace.repair import repair
from tests.conftest import REPOSITORY, environment, with_dvc, write_workspace

LADDER = "  - {name: words, method: classical}\n"
RUN = [sys.executable, "-m", "rungwise", "run"]
LOCK, LIST = r"/dvc\.lock$", r"/rwlock$"
POINTS = [(LOCK, n) for n in range(1, 6)] + [(LIST, n) for n in (1, 2, 3, 8, 13, 21, 34)]
POINTS += [(r"/data/(?!raw|attempts)", n) for n in (1, 3, 9, 27, 60)] + [(r"/data/attempts", n) for n in (1, 4, 9)]
GRAPH = "stages:\n  copy:\n    cmd: cp a b\n    deps: [a]\n    outs: [b]\n"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, base_folder):
    """A workspace that was never run."""
    return with_dvc(write_workspace(tmp_path_factory.mktemp("killed") / "ws", base_folder, ladder=LADDER, target=0.3))


@pytest.fixture(scope="module")
def expected(prepared, tmp_path_factory):
    """The outputs of a run that nothing disturbs."""
    root = tmp_path_factory.mktemp("expected") / "ws"
    shutil.copytree(prepared, root, symlinks=True)
    subprocess.run(RUN, cwd=root, env=environment(), check=True, capture_output=True)
    return outputs(root)


def outputs(root):
    stages = ("ingest", "validate", "split", "augment", "climb")
    return {verb: tree_digests(root / "data" / verb) for verb in stages} | {"dvc.lock": (root / "dvc.lock").read_text()}


def killed(root, folder, command, pattern, at):
    """Runs a command one of whose processes is killed at a write; returns what was written so far."""
    (folder / "site").mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / "tests/crash/kill.py", folder / "site" / "sitecustomize.py")
    events = folder / "events"
    events.unlink(missing_ok=True)
    env = environment(
        PYTHONPATH=f"{folder / 'site'}{os.pathsep}{REPOSITORY / 'components'}",
        RUNGWISE_TEST_KILL=pattern,
        RUNGWISE_TEST_KILL_AT=str(at),
        RUNGWISE_TEST_EVENTS=str(events),
    )
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    return done, events.read_text().splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(("pattern", "at"), POINTS)
def test_a_run_continues_after_a_kill(prepared, expected, tmp_path, pattern, at):
    root = tmp_path / "ws"
    shutil.copytree(prepared, root, symlinks=True)
    done, events = killed(root, tmp_path, RUN, pattern, at)
    assert done.returncode and len(events) >= at, (done.stderr, len(events))
    again = subprocess.run(RUN, cwd=root, env=environment(), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert outputs(root) == expected
    assert not [p.name for p in root.glob("data/.*") if p.name != ".gitignore"]


@pytest.mark.parametrize(("pattern", "at"), [(LOCK, 1), (LIST, 2)])
def test_the_next_command_of_dvc_continues_after_a_kill(tmp_path, pattern, at):
    root = tmp_path / "ws"
    root.mkdir()
    (root / "dvc.yaml").write_text(GRAPH)
    (root / "a").write_text("1")
    with_dvc(root)
    repro = [sys.executable, "-m", "dvc", "repro"]
    subprocess.run(repro, cwd=root, env=environment(), check=True, capture_output=True)
    repair(root)
    before = (root / "dvc.lock").read_text()
    (root / "a").write_text("2")
    done, _ = killed(root, tmp_path, repro, pattern, at)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert 0 in [path.stat().st_size for path in (root / "dvc.lock", root / ".dvc/tmp/rwlock")]
    with pytest.raises(WorkspaceError, match=r"(?s)a killed run left damaged files.*`rungwise run` repairs them"):
        changed(root)  # reading takes no lock, so that it repairs nothing
    assert not is_current(root, "copy") and (root / "dvc.lock").read_text() == before
    assert changed(root) == ["copy"]


@pytest.mark.parametrize(("pattern", "at"), [(LOCK, 1), pytest.param(LIST, 15, marks=pytest.mark.slow)])
def test_bare_dvc_repro_continues_after_a_kill(prepared, tmp_path, pattern, at):
    root = tmp_path / "ws"
    shutil.copytree(prepared, root, symlinks=True)
    repro = [sys.executable, "-m", "dvc", "repro", "ingest"]
    done, _ = killed(root, tmp_path, repro, pattern, at)
    assert done.returncode == -signal.SIGKILL and (root / "data/ingest").is_dir(), done.stderr
    for _ in range(600):
        if not list((root / ".rungwise").glob("caretaker-*")):
            break
        time.sleep(0.1)
    again = subprocess.run(repro, cwd=root, env=environment(), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
