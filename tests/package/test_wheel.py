"""What a new user gets: a wheel, installed into an empty environment, used outside a clone."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, environment, planted_rows

pytest.importorskip("build", reason="building a wheel needs the packages build and hatchling")


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and a workspace made in it."""

    python: Path
    workspace: Path

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in environment(**more).items() if k != "PYTHONPATH"}
        env["PATH"] = f"{self.python.parent}:{env['PATH']}"
        return subprocess.run(command, cwd=self.workspace, env=env, capture_output=True, text=True, timeout=300)

    def ok(self, *command: str, **more: str) -> str:
        done = self.run(*command, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution, as on a package index."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(folder.glob("rungwise-*.tar.gz"))) == 1
    return next(folder.glob("rungwise-*.whl"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Installed]:
    """A new environment with the wheel, and a workspace that has folders with the names of this repository's folders."""
    folder = tmp_path_factory.mktemp("new-user")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    # the dependencies come from this environment; path files in it, such as that of an editable install, are not read
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    rows = folder / "rows.csv"
    rows.write_text("\n".join(["body,queue", *(f"{text},{label}" for text, label in planted_rows(260))]) + "\n")
    workspace = folder / "workspace"
    for name in ("components", "flows", "tests", "infra"):
        (workspace / name).mkdir(parents=True)
        (workspace / name / "__init__.py").write_text("raise ImportError('a folder of the workspace was imported')\n")
    one = Installed(python, folder)
    given = ("--rows", "rows.csv", "--text", "body", "--answer", "queue", "--base", "pocket-s")
    one.ok("rungwise", "init", "workspace", *given)
    params = workspace / "params.yaml"
    text = params.read_text().replace("queue: 0.9 ", "queue: 0.4 ")
    text = re.sub(r"steps: \d+", "steps: 60", text)
    params.write_text(text.replace("  - {name: classical, method: classical}\n", "").replace("test: 0.15", "test: 0.3"))
    yield Installed(python, workspace)
    shutil.rmtree(folder, ignore_errors=True)


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    package = REPOSITORY / "components" / "rungwise"
    listed = {
        p.relative_to(package.parent).as_posix()
        for p in package.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    listed |= {f"rungwise/flows/{p.name}" for p in (REPOSITORY / "flows").glob("*.py")}
    listed |= {
        f"rungwise/init/models/{p.parent.name}/{p.name}" for p in (REPOSITORY / "infra/demo/models").rglob("*.*")
    }
    assert (
        "rungwise/py.typed" in held
        and "rungwise/report/templates/rows.html" in held
        and "rungwise/init/graph.yaml" in held
        and "rungwise/planning/machines.yaml" in held
    )
    assert listed <= held, sorted(listed - held)
    assert not any(name.startswith(("tests/", "benchmarks/", "infra/", "flows/", "components/")) for name in held)


def test_a_new_user_gets_from_rows_to_an_answer(installed: Installed) -> None:
    code = "import rungwise; print(rungwise.__file__, rungwise.__version__)"
    place, version = installed.ok(str(installed.python), "-c", code).split()
    assert str(REPOSITORY) not in place and installed.ok("rungwise", "--version").split() == ["rungwise", version]
    assert 'base: "pocket-s"' in (installed.workspace / "params.yaml").read_text()
    shown = installed.ok("rungwise", "run")
    assert "is good enough" in shown and "it is the champion, version 1" in shown
    answer = json.loads(installed.ok("rungwise", "predict", "queue", "please the parcel when", "--json"))
    assert answer["version"] == 1 and answer["answer"] in {"delivery", "billing", "repair", "account"}


@pytest.mark.slow
def test_the_flow_runs_from_the_wheel_and_has_nothing_to_do(installed: Installed) -> None:
    done = installed.run(str(installed.python), "-m", "rungwise.flows.pipeline", PREFECT_LOGGING_TO_API_ENABLED="false")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "climb: nothing changed" in done.stderr + done.stdout


def test_the_registered_model_loads_in_a_process_with_only_the_wheel(installed: Installed) -> None:
    code = """
import mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
model = mlflow.pyfunc.load_model("models:/workspace-queue@champion")
print(model.predict([{"body": "please the parcel when"}])[0].answer)
print(mlflow.pyfunc.get_model_dependencies("models:/workspace-queue@champion"))
"""
    answer, requirements = installed.ok(str(installed.python), "-W", "ignore", "-c", code).splitlines()[:2]
    assert answer in {"delivery", "billing", "repair", "account"}
    version = installed.ok("rungwise", "--version").split()[1]
    assert f"rungwise=={version}" in Path(requirements).read_text().splitlines()


def test_an_installation_without_one_of_its_files_names_it(installed: Installed, tmp_path: Path) -> None:
    find = "import rungwise, pathlib; print(pathlib.Path(rungwise.__file__).parent / 'init' / 'graph.yaml')"
    path = Path(installed.ok(str(installed.python), "-c", find).strip())
    kept = path.read_bytes()
    path.unlink()
    try:
        rows = installed.workspace.parent / "rows.csv"
        more = ["--rows", str(rows), "--text", "body", "--answer", "queue"]
        done = installed.run("rungwise", "init", str(tmp_path / "other"), *more)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert "a file is missing" in done.stderr and str(path) in done.stderr and "pip install" in done.stderr
    finally:
        path.write_bytes(kept)
