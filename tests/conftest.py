"""Fixtures and functions that many tests share: tiny bases, planted rows, whole workspaces."""

import importlib.util
import os
import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from rungwise.core.records import Example
from rungwise.workspace.process import NO_TELEMETRY, prepare_environment

prepare_environment()
REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared"
FILLER = "the a please my order box when where soon blue green old new today again still".split()
KEYWORDS = {"parcel": "delivery", "refund": "billing", "broken": "repair", "login": "account"}


def planted_rows(n: int, seed: int = 1) -> list[tuple[str, str]]:
    """Returns (text, label) rows: filler words with one keyword that decides the label."""
    draw = random.Random(seed)
    rows = []
    for _ in range(n):
        key = draw.choice(sorted(KEYWORDS))
        words = [draw.choice(FILLER) for _ in range(draw.randint(3, 8))]
        words.insert(draw.randrange(len(words) + 1), key)
        rows.append((" ".join(words), KEYWORDS[key]))
    return rows


def examples(n: int, seed: int = 1) -> list[Example]:
    return [
        Example(f"row-{i}", {"body": text}, label, "planted", i + 2, f"group-{i}")
        for i, (text, label) in enumerate(planted_rows(n, seed))
    ]


def make_base(folder: Path, *, hidden: int = 32, layers: int = 2, context: int = 256, seed: int = 0) -> Path:
    """Makes a Llama with random weights and a byte-level BPE that knows the planted words."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator([f"{text}\nQueue: {label}" for text, label in planted_rows(300, 9)], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|end|>", model_max_length=context
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=context,
            tie_word_embeddings=False,
            initializer_range=0.1,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that learns the planted task with LoRA in a hundred steps."""
    return make_base(tmp_path_factory.mktemp("bases") / "able")


@pytest.fixture(scope="session")
def weak_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of width 8 with one layer, which can't learn the planted task."""
    return make_base(tmp_path_factory.mktemp("bases") / "weak", hidden=8, layers=1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and models; without it the test is skipped."""
    if not SHARED.is_dir():
        pytest.skip(f"there is no folder with real data: {SHARED}")
    return SHARED


PARAMS = """\
seed: 7
tasks:
  route:
    prompt: "{{body}}\\nQueue:"
    answer: {{column: queue}}
bars: {{route: {target}}}
ladder:
{ladder}
ingest:
  sources:
    - {{name: tickets, path: tickets.csv}}
validate: {{min_rows: 20}}
split: {{dev: 0.25, test: 0.25}}
augment: {{templates: ["Hi, {{body}}"], per_label: 30}}
train: {{steps: {steps}, batch_size: 16, learning_rate: 1e-2}}
evaluate: {{confidence: 0.95}}
decide: {{min_scored: 20}}
register: {{experiment: rungwise}}
promote: {{min_scored: 20}}
"""
LADDER = """\
  - {name: prompt, base: bases/able, method: prompt, examples: 2}
  - {name: rank-2, base: bases/able, method: lora, rank: 2, alpha: 4}
"""


def write_workspace(
    root: Path, base: Path, *, rows: int = 200, ladder: str = LADDER, steps: int = 20, target: float = 0.9
) -> Path:
    """Makes a workspace without git and DVC: params.yaml, dvc.yaml, data/raw and bases/able."""
    (root / "data" / "raw").mkdir(parents=True)
    lines = ["body,queue", *(f"{text},{label}" for text, label in planted_rows(rows))]
    (root / "data" / "raw" / "tickets.csv").write_text("\n".join(lines) + "\n")
    (root / "params.yaml").write_text(PARAMS.format(target=target, ladder=ladder.rstrip("\n"), steps=steps))
    shutil.copy(REPOSITORY / "dvc.yaml", root / "dvc.yaml")
    shutil.copytree(base, root / "bases" / "able")
    return root


SIDED_PARAMS = """\
seed: 7
tasks:
  route:
    prompt: "{{body}}\\nQueue:"
    answer: {{column: queue}}
bars: {{route: {target}}}
ladder:
{ladder}
ingest:
  sources:
    - {{name: tickets, path: tickets.csv}}
validate: {{min_rows: 20}}
split: {{given: side, leaks: exact}}
augment: {{}}
train: {{steps: 2}}
evaluate: {{confidence: 0.95}}
decide: {{min_scored: 20}}
register: {{experiment: rungwise}}
promote: {{min_scored: 20}}
"""


def sided_rows(n: int, side: str, *, wrong: float = 0.0, seed: int = 1) -> list[tuple[str, str, str]]:
    """Returns (text, label, side) rows without duplicates; a share `wrong` of the labels is drawn by lot."""
    draw = random.Random(f"{side}{seed}")
    labels = sorted(KEYWORDS.values())
    return [
        (
            f"{text} {''.join(draw.choices('abcdefgh', k=6))}",
            draw.choice(labels) if draw.random() < wrong else label,
            side,
        )
        for text, label in planted_rows(n, draw.randrange(1000))
    ]


def write_sided(
    root: Path,
    rows: Sequence[tuple[str, str, str]],
    *,
    target: float = 0.8,
    ladder: str = "  - {name: classical, method: classical}",
) -> Path:
    """Makes a workspace without a base whose rows say on which side they are; no git, no DVC."""
    (root / "data" / "raw").mkdir(parents=True)
    lines = ["body,queue,side", *(",".join(row) for row in rows)]
    (root / "data" / "raw" / "tickets.csv").write_text("\n".join(lines) + "\n")
    (root / "params.yaml").write_text(SIDED_PARAMS.format(target=target, ladder=ladder.rstrip("\n")))
    shutil.copy(REPOSITORY / "dvc.yaml", root / "dvc.yaml")
    return root


@pytest.fixture
def workspace(tmp_path: Path, base_folder: Path) -> Path:
    return write_workspace(tmp_path / "workspace", base_folder)


def with_dvc(root: Path) -> Path:
    """Makes a workspace a git and DVC repository."""
    for command in (
        ["git", "init", "-q"],
        ["git", "config", "user.email", "test@example.com"],
        ["git", "config", "user.name", "test"],
        [sys.executable, "-m", "dvc", "init", "-q"],
    ):
        subprocess.run(command, cwd=root, check=True, capture_output=True)
    shutil.copy(REPOSITORY / ".dvc" / "config", root / ".dvc" / "config")
    return root


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that a test starts: this interpreter first, without the caller's workspace or registry."""
    registry = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RUNGWISE_") and k not in registry}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}", **more}


def watched(folder: Path) -> dict[str, str]:
    """An environment in which every connection beyond loopback is recorded in `folder`/network.log.

    Variables that turn off telemetry are removed: the product has to set them itself.
    """
    (folder / "site").mkdir()
    shutil.copy(REPOSITORY / "tests/contract/no_network.py", folder / "site" / "sitecustomize.py")
    path = f"{folder / 'site'}{os.pathsep}{REPOSITORY / 'components'}"
    kept = {k: v for k, v in environment().items() if k not in NO_TELEMETRY}
    return {**kept, "PYTHONPATH": path, "RUNGWISE_TEST_NETWORK": str(folder / "network.log")}


def _is_kept(path: Path) -> bool:
    return path.is_file() or path.is_symlink()


def tracked_files() -> list[str]:
    """Returns the repository's files and links as a commit of the working tree would hold them."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and _is_kept(REPOSITORY / name)]


def script(name: str) -> ModuleType:
    """Returns a script of infra/demo as a module."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / f"infra/demo/{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rungwise() -> Run:
    """Runs the command line in a workspace: `rungwise(root, "run")`."""

    def run(root: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rungwise", *arguments]
        return subprocess.run(command, cwd=root, env=environment(**more), capture_output=True, text=True, timeout=300)

    return run


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """Returns the message of a command that failed as expected: exit code 2, no traceback."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return textwrap.dedent(done.stderr)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One temporary Prefect server for all tests that run a flow in this process."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield
