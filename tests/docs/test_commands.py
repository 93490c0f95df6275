"""Every command of the documents runs: here in one prepared place, in another named test, or for a stated reason not."""

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rungwise.cli import main as cli
from tests.conftest import REPOSITORY, environment, planted_rows, tracked_files
from tests.docs.documents import DOCUMENTS, blocks, commands, inline, name

VENV = Path(sys.executable).parents[1]
TUTORIAL = REPOSITORY / "docs" / "tutorial.md"

TUTORIAL_TYPED = [
    "cp rungwise/infra/demo/tickets.csv mails.csv",
    "head -2 mails.csv",
    "rungwise init mine --rows mails.csv --text body --answer keywords --base pocket-s --base pocket-m",
    "cd mine",
    "sed -i 's/keywords: 0.75/keywords: 0.8/' params.yaml",
    "sed -i 's/^split: .*/split: {group: problem_id, dev: 0.2, test: 0.2}/' params.yaml",
]
"""Typed where the clone is; the run that follows is typed with other rows, on which the first rung passes."""
TYPED = [
    "rungwise init large --rows mails.csv --text body --answer queue --ladder qwen3",
    "rungwise init mine --rows mails.csv --text body --answer queue --base pocket-s",
    "cd mine",
    "rungwise run",
    "rungwise explain",
    "rungwise status",
    'rungwise predict queue "The zip of my tent is stuck"',
    'rungwise predict keywords "The zip of my tent is stuck"',
    'rungwise predict keywords "The zip of my tent is stuck" --json',
    "rungwise promote queue",
    "dvc repro",
    "dvc status",
    "rungwise collect",
    "rungwise plan",
    "rungwise data docs",
    "rungwise data log",
    "rungwise generate queue --label repair --rows 30 --export wanted.csv",
]
"""Typed in a second folder with a table of 600 planted rows."""
CLONE_TYPED = ["git clone ADDRESS rungwise", "cd rungwise", "make demo"]
"""Typed with a small copy of the repository behind ADDRESS; see the fixtures `clone` and `demonstration`."""
EXAMPLES = ["rungwise init queues --rows infra/demo/tickets.csv --text body --answer queue", "cd queues"]
"""Typed in the clone's root."""

COMPARE = "tests/release/test_compare.py"
HISTORY, TRAINING, PLAN = "tests/history/test_history.py", "tests/cli/test_training.py", "tests/planning/test_plan.py"
ELSEWHERE = {
    "rungwise compare queue --rows tickets.csv --label 100 --to labels.csv": (COMPARE, '"--rows", "pool.jsonl"'),
    "rungwise compare queue --labels labels.csv": (COMPARE, '["compare", "route", "--labels", str(to)]'),
    'rungwise predict queue "Where is my parcel?" --json': (
        "tests/release/test_abstain.py",
        '"predict", "route", "hm", "--json"',
    ),
    "rungwise incumbent": ("tests/climbing/test_incumbent.py", 'cli.main(["incumbent"])'),
    **{
        line: ("tests/pipeline/test_figures.py", f'"{line.partition(" -S")[0]}')
        for line in commands(REPOSITORY / "docs/howto/schedule.md")
        if line.startswith(("dvc metrics", "dvc params", "dvc plots", "dvc exp"))
    },
    "rungwise upgrade": ("tests/workspace/test_upgrade.py", '"upgrade"'),
    "rungwise data diff OLD NEW": (HISTORY, '"data", "diff"'),
    "rungwise data forget ROW": (HISTORY, '"data", "forget", row]'),
    "rungwise data forget ROW --purge": (HISTORY, '"--purge"]'),
    "rungwise data prune --keep 5": (HISTORY, "prune(copied, 1)"),
    "rungwise data show 85b73b9dd3f90133": ("tests/report/test_rows.py", '"data", "show"'),
    "rungwise data push": (HISTORY, "push"),
    "rungwise data pull": (HISTORY, "pull"),
    "rungwise generate queue": ("tests/generate/test_fulfil.py", '"generate", "route", "--label"'),
    "rungwise generate queue --base models/writer": ("tests/generate/test_fulfil.py", "base"),
    "cd large && rungwise pin": ("tests/model/test_hub.py", 'rungwise(workspace, "pin"'),
    "rungwise bases": ("tests/cli/test_bases.py", 'rungwise(tmp_path, "bases"'),
    "rungwise bases add smollm2-135m": ("tests/model/test_embedded.py", "fetched(tiny)"),
    "rungwise bases add model.gguf": ("tests/cli/test_bases.py", '"bases", "add", str(file)'),
    "rungwise pack queue small bundle": (TRAINING, '"pack", "route"'),
    "rungwise attempt bundle": (TRAINING, '"attempt", str(bundle)'),
    "rungwise unpack bundle": (TRAINING, '"unpack", str(bundle)'),
    "rungwise methods queue": (TRAINING, '"methods"'),
    "rungwise plan --machine p3.2xlarge --machine l4": (PLAN, '"--machine", "p3.2xlarge", "--machine"'),
    "rungwise run --dry-run": ("tests/pipeline/test_planned.py", '"run", "--dry-run"'),
    "rungwise run --task queue": ("tests/pipeline/test_planned.py", '"run", "--task"'),
    "rungwise plan --machine all": (PLAN, '"--machine", "all"'),
    "rungwise plan --config config.json --machine l4": (PLAN, '"--config"'),
    "rungwise plan --write": (PLAN, '"--write"'),
    "rungwise plan --probe": ("tests/planning/test_probe.py", '"plan", "--probe"'),
    "python -m rungwise.flows.pipeline": ("tests/contract/test_two_runners.py", "rungwise.flows.pipeline"),
    "make demo-full": ("tests/demo/test_demo.py", "full"),
    "make docs": ("tests/docs/test_pages.py", '"-m", "sphinx"'),
    "make gpu-check": ("tests/benchmarks/test_gpu.py", "--quick"),
    "python examples/own_metric_and_generator.py mine queue billing": (
        "tests/test_examples.py",
        "own_metric_and_generator.py",
    ),
    "python infra/demo/record.py --all-rungs": ("tests/demo/test_record.py", "all_rungs"),
    **{
        line: ("tests/flows/test_deployment.py", "for line in SCHEDULE")
        for line in commands(REPOSITORY / "docs/howto/schedule.md")
        if "prefect" in line.lower()
    },
    **{
        line: (f"tests/benchmarks/test_{line.split()[2].removeprefix('benchmarks.')}.py", "benchmarks")
        for line in commands(REPOSITORY / "docs/results.md")
        if line.startswith("python -m benchmarks.")
    },
}
"""Command -> the test file that runs it, and what must be written there."""
NOT_RUN = {
    "pip install './rungwise[train,pipeline]'": "would replace the package under test; tests/package/test_wheel.py installs a wheel",
    "pip install -c constraints.txt -e '.[train]'": "as above",
    "python3 -m venv venv && source venv/bin/activate": "makes an empty environment",
    'make setup TORCH="torch==2.13.0 --index-url ADDRESS"': "downloads another build of torch",
    "mlflow ui --backend-store-uri sqlite:///mlflow.db": "serves until it is stopped; the registry is read in "
    "tests/release/test_registry.py",
    "cd queues && rungwise run": "the same run as of `mine`, with three minutes of training",
}
"""Command -> why it is not typed."""
INSTALLS = [command for command in NOT_RUN if command.startswith("pip install")]


def parts(command: str) -> list[str]:
    return command.split(" && ")


def test_every_command_has_its_place_and_every_place_its_command():
    shown = {command for document in DOCUMENTS for command in commands(document)}
    typed = {*TUTORIAL_TYPED, *TYPED, *CLONE_TYPED, *EXAMPLES}
    named = {*ELSEWHERE, *NOT_RUN}
    missing = {c for c in shown - named if not set(parts(c)) <= typed}
    assert not missing, "commands of the documents that no test runs; add each to a list of this file"
    assert not named - shown, "named here and no longer in any document"
    assert not typed - {part for command in shown for part in parts(command)}, "typed here and no longer shown"


@pytest.mark.parametrize(("place", "words"), sorted(set(ELSEWHERE.values())))
def test_the_test_named_for_a_command_runs_it(place, words):
    assert words in (REPOSITORY / place).read_text(encoding="utf-8")


def parser():
    return cli.parser()


def accepted(parser, words: list[str]) -> str:
    """Returns what is wrong with a command, of which not all arguments have to be there; empty where nothing is."""
    command, options = parser, set(parser._option_string_actions)
    for word in words:
        choices = next((a.choices for a in command._actions if a.choices and isinstance(a.choices, dict)), None)
        if choices and not word.startswith("-"):
            if word not in choices and word != "COMMAND":
                return f"{word} is not a command"
            command = choices.get(word, command)
            options |= set(command._option_string_actions)
        elif word.startswith("--") and word not in options:
            return f"{word} is not an option"
    return ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=[name(document) for document in DOCUMENTS])
def test_commands_in_sentences_exist(document):
    shown = [part for command in commands(document) for part in parts(command)]
    for code in [*shown, *inline(document)]:
        if code.startswith("rungwise "):
            assert not accepted(parser(), shlex.split(code)[1:]), code
        if re.match(r"make [a-z-]+$", code):
            assert re.search(rf"^{code.removeprefix('make ')}:", (REPOSITORY / "Makefile").read_text(), re.M), code


def test_a_command_that_does_not_exist_is_noticed():
    assert accepted(parser(), ["walk"]) == "walk is not a command"
    assert accepted(parser(), ["data", "log", "--purge"]) == "--purge is not an option"
    assert accepted(parser(), ["data", "forget", "ROW", "--purge"]) == ""


def test_the_extras_that_are_installed_exist():
    import tomllib

    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for command in INSTALLS:
        for extra in re.findall(r"\[([\w,]+)\]", command)[0].split(","):
            assert extra in extras


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with a repository to clone: this one, with one rung, and 300 tickets to route."""
    home = tmp_path_factory.mktemp("home")
    origin = home / "origin"
    for file in tracked_files():
        (origin / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / file, origin / file, follow_symlinks=False)
    params = (origin / "params.yaml").read_text().replace("min_rows_per_label: 20", "min_rows_per_label: 2")
    lines = [line for line in params.splitlines() if "base: " not in line]
    text = re.sub(r"(?s)  reply:\n.*?(?=bars:)", "", "\n".join(lines) + "\n")
    text = re.sub(r"  reply: 0.*\n", "", text)
    (origin / "params.yaml").write_text(text)
    for command in ("init -q", "add -A", "-c user.name=t -c user.email=t@example.com commit -qm all"):
        subprocess.run(["git", *command.split()], cwd=origin, check=True, capture_output=True)
    return home


@pytest.fixture(scope="module")
def typed(home):
    """Types commands one after the other in a folder below home; returns command -> what it printed."""

    def run(folder: str, lines: list[str], **more: str) -> dict[str, str]:
        mark = "----8<----"
        script = ["set -euo pipefail"]
        for line in lines:
            script += [f"echo '{mark}'", line.replace("ADDRESS", "origin")]
        env = environment(HOME=str(home), PREFECT_HOME=str(home / "prefect"), **more)
        (home / folder).mkdir(exist_ok=True)
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=home / folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:]
        return dict(zip(lines, (text.strip() for text in done.stdout.split(f"{mark}\n")[1:]), strict=True))

    return run


@pytest.fixture(scope="module")
def clone(home, typed):
    """The clone, with the environment that is there already, as after the first `make`."""
    typed(".", CLONE_TYPED[:1])
    venv = home / "rungwise" / ".venv"
    venv.mkdir()
    for path in VENV.iterdir():
        if path.name != "ready":
            (venv / path.name).symlink_to(path)
    (venv / "ready").touch()
    return home / "rungwise"


@pytest.fixture(scope="module")
def demonstration(home, clone):
    """`make demo`, started in the clone; it runs on while the commands of a workspace are typed."""
    env = environment(HOME=str(home), PREFECT_HOME=str(home / "prefect"), PYTHONPATH=str(clone / "components"))
    with (home / "demo.log").open("w") as log:
        process = subprocess.Popen(["make", "demo"], cwd=clone, env=env, stdout=log, stderr=log)
    yield process
    process.terminate()
    process.wait(30)


def test_the_tutorial_up_to_its_run_is_typed_and_shows_what_is_printed(home, clone, typed):
    printed = typed(".", TUTORIAL_TYPED)
    shown = blocks(TUTORIAL, "text")
    assert shown[0].strip() == printed["head -2 mails.csv"]
    init = next(command for command in TUTORIAL_TYPED if "rungwise init" in command)
    assert shown[1].strip() == printed[init], "docs/tutorial.md shows another output of `rungwise init`"
    (settings,) = blocks(TUTORIAL, "yaml")
    assert YAML(typ="safe").load(settings) == YAML(typ="safe").load(home / "mine" / "params.yaml")


def test_the_example_is_typed(home, clone, typed):
    shown = EXAMPLES[0].replace("init queues", f"init {home / 'queues'}")  # a workspace can't be inside another
    typed("rungwise", [shown])
    assert "format: label" in (home / "queues" / "params.yaml").read_text()


@pytest.mark.slow  # the same path is typed outside a clone by tests/package
def test_the_commands_of_a_workspace_are_typed(home, demonstration, typed):
    own = home / "own"
    own.mkdir()
    with (own / "mails.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("body", "queue"), *planted_rows(600)])
    lines = [line.replace(" keywords ", " queue ") for line in TYPED]  # the tutorial's task has other rows
    printed = typed("own", lines)
    assert "Qwen/Qwen3-0.6B" in (own / "large" / "params.yaml").read_text()
    assert printed[TYPED[1]].count("\n") >= 4 and "classical" in printed["rungwise run"]
    answer = json.loads(printed['rungwise predict queue "The zip of my tent is stuck" --json'])
    assert answer["answer"] in ("repair", "delivery", "billing", "account") and answer["version"] == 1
    assert printed["dvc status"] == "Data and pipelines are up to date."
    assert ".rungwise/docs/index.html" in printed["rungwise data docs"]
    assert "pocket-s" in printed["rungwise plan"]
    assert re.match("[0-9a-f]{12}  20", printed["rungwise data log"])
    assert "repair" in (own / "mine" / "wanted.csv").read_text()
    api, registry = (
        blocks(REPOSITORY / f"docs/{page}.md", "python") for page in ("reference/python", "howto/registry")
    )
    code = "\n".join([*api, "import os; os.chdir('mine')", *registry])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=own, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count(answer["answer"]) >= 2 and "queue keep" in done.stdout


@pytest.mark.slow
def test_the_demonstration_runs_in_a_clone(home, clone, demonstration):
    assert demonstration.wait(300) == 0, (home / "demo.log").read_text()[-6000:]
    assert "Where to look next" in (home / "demo.log").read_text()
    (climb,) = clone.glob("data/climb/*/climb.json")
    assert [rung["rung"] for rung in json.loads(climb.read_text())["evidence"]] == ["classical"]
    plan = subprocess.run(["make", "-n", "demo-full"], cwd=clone, capture_output=True, text=True, check=True).stdout
    assert "infra/demo/demo.py --full" in plan
