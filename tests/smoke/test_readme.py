"""The README, typed as it stands: every command, in a clone, as somebody new would; its figures are those on record."""

import csv
import json
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rungwise.config import parse
from tests.conftest import REPOSITORY, environment, planted_rows, readme_blocks, script, tracked_files

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
VENV = Path(sys.executable).parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PLACES = {
    "Try it": "",
    "Your own rows in five minutes": "rungwise",
    "What happens": "mine",
    "A GPU box": "rungwise",
}
"""Heading -> the folder below HOME in which its commands are typed; `On a schedule`: tests/flows/test_deployment.py."""


@pytest.fixture(scope="module")
def hub():
    """A hub that knows the commit of every model, and holds none."""

    class Hub(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            name = self.path.removeprefix("/api/models/").partition("?")[0]
            body = json.dumps({"id": name, "sha": COMMIT, "siblings": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with a repository to clone: this one, with three steps, two rungs and 500 tickets."""
    home = tmp_path_factory.mktemp("home")
    origin = home / "origin"
    for name in tracked_files():
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, origin / name)
    params = (origin / "params.yaml").read_text()
    params = re.sub(r"steps: \d+", "steps: 3", params).replace("min_rows_per_label: 20", "min_rows_per_label: 2")
    lines = [line for line in params.splitlines() if "name: prompt" not in line and "name: pocket-m" not in line]
    (origin / "params.yaml").write_text("\n".join(lines) + "\n")
    tickets = (origin / "infra/demo/tickets.csv").read_text().splitlines(keepends=True)
    (origin / "infra/demo/tickets.csv").write_text("".join(tickets[:501]))
    with (home / "mails.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("body", "queue"), *planted_rows(600)])
    for command in ("init -q", "add -A", "-c user.name=t -c user.email=t@example.com commit -qm all"):
        subprocess.run(["git", *command.split()], cwd=origin, check=True, capture_output=True)
    return home


@pytest.fixture(scope="module")
def typed(home, hub):
    """Types a section's commands in its place; returns what they said."""

    def run(heading: str) -> str:
        script = ["set -euo pipefail"]
        for line in readme_blocks()[heading]:
            line = line.replace("ADDRESS", str(home / "origin"), 1)
            script.append(line.replace("pip install ", "pip install --dry-run "))  # nothing is installed over this
            if line.startswith("git clone"):  # the environment is there already, as after the first `make`
                script += ["mkdir .venv", *(f"ln -s {path} .venv/" for path in VENV.iterdir() if path.name != "ready")]
                script += ["touch .venv/ready", f"cp {home}/mails.csv ."]
        env = environment(
            HOME=str(home),
            PYTHONPATH=str(home / "rungwise"),
            PREFECT_HOME=str(home / "prefect"),
            HF_ENDPOINT=hub,
            HF_HOME=str(home / "hf"),
            PIP_DISABLE_PIP_VERSION_CHECK="1",
        )
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=home / PLACES[heading],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    return run


def test_every_section_with_commands_is_typed_somewhere():
    assert set(readme_blocks()) == {*PLACES, "On a schedule"}
    inline = re.findall(r"`((?:rungwise|make|dvc|prefect|mlflow|python|pip) [^`]+)`", README)
    typed_lines = "\n".join(line for lines in readme_blocks().values() for line in lines)
    elsewhere = {
        "make test": ".ci/run",
        "python -m benchmarks.real_data --source FOLDER": "tests/benchmarks/test_real_data.py",
        "python -m benchmarks.leakage --source FOLDER": "tests/benchmarks/test_leakage.py",
        "python -m benchmarks.suspects": "tests/benchmarks/test_suspects.py",
        "python -m benchmarks.data": "tests/benchmarks/test_data.py",
        "python -m benchmarks.planner": "tests/benchmarks/test_planner.py",
        "python -m benchmarks.training --source FOLDER": "tests/benchmarks/test_training.py",
        "python -m benchmarks.audit --source FOLDER": "tests/benchmarks/test_audit.py",
        "make gpu-check": "tests/benchmarks/test_gpu.py",
        "rungwise methods route": "tests/cli/test_training.py",
        "rungwise pack route large FOLDER": "tests/cli/test_training.py",
        "rungwise attempt FOLDER": "tests/cli/test_training.py",
        "rungwise unpack FOLDER": "tests/cli/test_training.py",
        "rungwise plan --probe": "tests/planning/test_probe.py",
        "rungwise plan --write": "tests/planning/test_plan.py",
    }
    assert [c for c in inline if c not in typed_lines and c not in elsewhere] == []
    for place in elsewhere.values():
        assert (REPOSITORY / place).exists()


def test_the_readme_typed_from_top_to_bottom(home, typed):
    said = typed("Try it")
    clone = home / "rungwise"
    assert said.count("Where to look next") == 3 and "route: is the accuracy at least 0.85?" in said
    assert "climb: nothing changed" in said.split("Where to look next")[1]  # the second `make demo`
    assert "Added to params.yaml: reply, triage, pocket-l" in said
    assert len(list((clone / "data/attempts").glob("train-*"))) == 4 * 3
    climbs = {p.parent.name: json.loads(p.read_text()) for p in clone.glob("data/climb/*/climb.json")}
    assert set(climbs) == {"route", "keywords", "reply", "triage"}
    assert "no rung without a language model can write" in climbs["triage"]["evidence"][0]["note"]

    said = typed("Your own rows in five minutes")
    assert "Format label: 4 different short answers in 600 rows" in said
    assert "You do not need a language model for this" in said and "(probability " in said

    said = typed("What happens")
    assert "Data and pipelines are up to date" in said and "climb: nothing changed" in said
    assert ".rungwise/docs/index.html" in said and "repair" in (home / "mine/wanted.csv").read_text()
    assert "Memory by part at the highest moment" in said and "Largest model on p3.2xlarge" in said
    assert "names no source under `collect`" in said and re.search(r"^[0-9a-f]{12}  20", said, re.M)

    namespace: dict[str, object] = {}
    code = "\n".join(readme_blocks("python")["The registry"])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=home / "mine", env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert any(label in done.stdout for label in ("repair", "delivery", "billing", "account")), namespace

    said = typed("A GPU box")
    assert f"@{COMMIT}" in said and said.count("You do not need a language model for this") >= 1
    assert "Would install rungwise" in said


def test_the_settings_shown_are_settings():
    from ruamel.yaml import YAML

    (shown,) = ["\n".join(lines) for lines in readme_blocks("yaml").values()]
    settings = parse(YAML(typ="safe").load(shown.replace("COMMIT", COMMIT)))
    assert [r.method for r in settings.ladder] == ["tfidf", "prompt", "lora", "lora"]


@pytest.fixture(scope="module")
def record():
    return script("record")


def test_the_figures_shown_are_those_on_record(record):
    found = json.loads(record.RESULTS.read_text())
    assert record.readme_table(found) in README
    assert record.picture(found) == record.PICTURE.read_text()
    assert all(found["tasks"][task]["sentence"] in README for task in ("route", "keywords"))
    for task, one in found["tasks"].items():
        champion = one["champion"]
        assert champion is None or one["test_look"], task
