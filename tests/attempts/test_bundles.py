import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rungwise.attempts import __main__ as run
from rungwise.attempts import bundle as bundles
from rungwise.attempts import run as attempts
from rungwise.attempts import store
from rungwise.attempts.launch import PROGRESS
from rungwise.attempts.store import open_attempt
from rungwise.core.errors import ModelError, TrainingError, WorkspaceError
from rungwise.core.folders import is_sealed, tree_digests, write_folder
from rungwise.core.records import AnswerForm, AttemptSpec, Base, to_json
from rungwise.model.predict import Prompted
from tests.conftest import environment, examples

FORM = AnswerForm("label", ("account", "billing", "delivery", "repair"))
TORCHRUN = ("torchrun", "--standalone", "--nproc_per_node", "2")


@pytest.fixture
def root(tmp_path, base_folder):
    shutil.copytree(base_folder, tmp_path / "bases" / "able")
    return tmp_path


def spec_for(**more):
    more = {"rank": 4, "steps": 6, "batch_size": 8, "seed": 5, "learning_rate": 5e-3, **more}
    return AttemptSpec(Base("bases/able"), "lora", "{body}\nQueue:", FORM, **more)


def quiet(done, total, what):
    pass


def packed(root, spec, n=40):
    options = attempts.RunOptions(checkpoint_steps=2)
    eval_rows = examples(20, 3) if spec.eval_every else ()
    bundle = attempts.bundle_of(spec, examples(n), root, eval_rows=eval_rows, options=options)
    bundles.pack(root / "bundle", bundle, with_base=True)
    return root / "bundle", bundle


def losses(folder):
    return json.loads((folder / store.LOSSES).read_text())["losses"]


BARE = """
import importlib.util
import sys

LACKING = {"ruamel", "mlflow", "dvc", "prefect", "great_expectations", "sklearn", "rensa", "rapidfuzz",
           "sqlalchemy", "pyarrow", "sacrebleu"}

class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in LACKING:
            raise ModuleNotFoundError(f"{name} is not on a bare machine", name=name)

real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.split(".")[0] in LACKING else real(name, package)
sys.meta_path.insert(0, Bare())
from rungwise.attempts.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_bundle_runs_on_a_bare_machine_and_is_unpacked_with_equal_hashes(root, tmp_path_factory):
    spec = spec_for(eval_every=3, eval_rows=20, metric="accuracy")
    bundle, made = packed(root, spec)
    away = tmp_path_factory.mktemp("away") / "bundle"
    shutil.move(bundle, away)
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(away)], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rungwise unpack" in done.stderr
    folder = bundles.unpack(away, made, root / "store")
    assert folder.name == f"train-{made.name}" and is_sealed(folder)
    here = attempts.train_attempt(root / "other", spec, examples(40), root, quiet, eval_rows=examples(20, 3))
    differ = {store.COST}
    left, right = ({n: d for n, d in tree_digests(f).items() if n not in differ} for f in (folder, here.folder))
    assert left == right and "adapter_model.safetensors" in left


def test_a_missing_or_changed_result_is_refused(root):
    spec = spec_for()
    bundle, made = packed(root, spec)
    with pytest.raises(WorkspaceError, match=r"(?s)no complete result.*rungwise attempt"):
        bundles.unpack(bundle, made, root / "store")
    result = run.run(bundle)
    (result / "losses.json").write_text("[]")
    with pytest.raises(WorkspaceError, match=r"(?s)changed or is incomplete.*SEAL.json"):
        bundles.unpack(bundle, made, root / "store")
    (bundle / "content" / "rows.jsonl").write_text("")
    with pytest.raises(WorkspaceError, match=r"(?s)not a complete bundle.*rungwise pack"):
        bundles.name_of(bundle)


def test_other_libraries_or_another_base_are_refused(root, monkeypatch):
    bundle, _ = packed(root, spec_for())
    monkeypatch.setattr(store, "versions", lambda: {"torch": "1.0", "transformers": "1", "peft": "1"})
    with pytest.raises(WorkspaceError, match=r"(?s)a different one on this machine.*torch 1.0.*torch 2"):
        run.run(bundle)


def test_a_folder_with_other_files_is_not_overwritten(root):
    (root / "bundle").mkdir()
    (root / "bundle" / "thesis.txt").write_text("mine")
    with pytest.raises(WorkspaceError, match="not empty"):
        packed(root, spec_for())


@pytest.mark.parametrize("name", ["/somewhere/base", "../base"])
def test_a_base_outside_the_workspace_is_not_packed(root, name):
    if name.startswith(".."):
        shutil.copytree(root / "bases" / "able", root.parent / "base", dirs_exist_ok=True)
    else:
        name = str(root / "bases" / "able")
    spec = replace(spec_for(), base=Base(name))
    with pytest.raises(ModelError, match="can't include this base"):
        packed(root, spec)


def test_two_processes_give_the_losses_of_one(root):
    spec = spec_for(steps=8, batch_size=10)
    one = attempts.train_attempt(root / "one", spec, examples(40), root, quiet)
    seen: list[tuple[int, int, str]] = []
    said: list[str] = []
    options = attempts.RunOptions(launch=TORCHRUN, say=said.append)
    two = attempts.train_attempt(
        root / "two",
        spec,
        examples(40),
        root,
        lambda done, total, what: seen.append((done, total, what)),
        options=options,
    )
    assert losses(two.folder) == pytest.approx(losses(one.folder), abs=2e-4)
    assert two.cost["processes"] == 2 and one.cost["processes"] == 1
    assert [step[0] for step in seen] == list(range(1, 9))
    assert two.digest == one.digest and sorted(p.name for p in (root / "two").iterdir()) == [f"train-{one.digest}"]


@pytest.mark.parametrize(
    ("launch", "words"),
    [(("no-such-launcher",), "can't be started"), ((sys.executable, "-c", "raise SystemExit(3)"), "several processes")],
)
def test_a_launcher_that_fails_is_an_error(root, launch, words):
    with pytest.raises(TrainingError, match=words):
        attempts.train_attempt(
            root / "store", spec_for(), examples(40), root, quiet, options=attempts.RunOptions(launch=launch)
        )
    assert not [p for p in (root / "store").iterdir() if p.name.startswith("train-")]


def test_a_launcher_without_training_is_an_error(root):
    options = attempts.RunOptions(launch=(sys.executable, "-c", "print('hello')"))
    with pytest.raises(TrainingError, match=r"(?s)without training.*hello.*torchrun"):
        attempts.train_attempt(root / "store", spec_for(), examples(40), root, quiet, options=options)


def test_a_launched_process_reports_the_same_error_as_one_process(root):
    messages = []
    for launch in ((), (sys.executable,)):
        with pytest.raises(ModelError, match="a rank exceeds the width of a layer") as caught:
            options = attempts.RunOptions(launch=launch)
            attempts.train_attempt(root / "store", spec_for(rank=99), examples(40), root, quiet, options=options)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_current_limits_apply_to_finished_attempts(root):
    rows = [*examples(40), *(replace(e, id=f"long-{e.id}", fields={"body": "very " * 200}) for e in examples(2))]
    spec = spec_for(max_over_context=0.5)
    said: list[str] = []

    def train(**limits):
        options = attempts.RunOptions(
            limits={"prompt_over_context": 0.5, **limits}, shown=root / "audit.txt", say=said.append
        )
        return attempts.train_attempt(root / "store", spec, rows, root, quiet, options=options)

    assert train() == train()
    assert said[-1] == "2 of 42 training rows exceed the base's context and are left out"
    with pytest.raises(
        TrainingError, match=r"(?s)exceed the current limits.*prompt_over_context, 4.8% of 42.*at most 1.0%"
    ):
        train(prompt_over_context=0.01)


@pytest.mark.parametrize("method", ["prompt-tuning", "prefix-tuning"])
def test_virtual_tokens_reduce_the_context(root, method):
    def train(tokens):
        spec = replace(spec_for(steps=2), method=method, tokens=tokens)
        return attempts.train_attempt(root / "store", spec, examples(40), root, quiet), spec

    with pytest.raises(ModelError, match=r"(?s)leave no room.*256 of a context of 256"):
        train(256)
    made, _ = train(250)
    assert "all 40 training rows are longer than the context of 6 tokens" in made.result["note"]
    made, spec = train(200)
    model = open_attempt(made.folder, root, spec)
    assert isinstance(model, Prompted) and model.lm.context_tokens == 56


def test_a_file_in_place_of_a_folder_is_an_error(root):
    (root / "bundle").write_text("mine")
    with pytest.raises(WorkspaceError, match=r"(?s)can't be written.*a file"):
        packed(root, spec_for())
    (root / "bundle").unlink()
    bundle, _ = packed(root, spec_for())
    (bundle / "result").write_text("mine")
    with pytest.raises(WorkspaceError, match=r"(?s)can't be written.*a file"):
        run.run(bundle)


def rewritten(bundle, target, **changes):
    """Returns a bundle that says other things of itself, sealed like a good one."""

    def write(part):
        shutil.copytree(bundle / "content", part, dirs_exist_ok=True)
        saved = {**json.loads((part / "bundle.json").read_text()), **changes}
        (part / "bundle.json").write_text(json.dumps({k: v for k, v in saved.items() if v is not None}))

    write_folder(target / "content", write)
    return target


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options": None, "spec": None, "versions": None}, r"found:\s+name\n.*name, options, spec, versions"),
        ({"name": "x/../../promote"}, r"found:\s+name: x/\.\./\.\./promote\n.*64 hexadecimal digits"),
        ({"name": "A" * 64}, "64 hexadecimal digits"),
        ({"name": ["a" * 64]}, "64 hexadecimal digits"),
        ({"spec": {"method": "lora"}}, "ValidationError.*right types"),
        ({"options": {"checkpoint_steps": 2, "limits": 7}}, "AttributeError.*right types"),
        ({"options": {"checkpoint_steps": [], "limits": {}}}, "TypeError.*right types"),
    ],
)
def test_a_bundle_that_is_not_one_is_an_error(root, changes, words):
    bundle, _ = packed(root, spec_for())
    with pytest.raises(WorkspaceError, match="(?s)not a complete bundle.*" + words):
        run.run(rewritten(bundle, root / "again", **changes))


def test_a_bundle_of_a_method_that_does_not_exist_is_an_error(root):
    bundle, made = packed(root, spec_for())
    spec = to_json(replace(made.spec, method="magic"))
    with pytest.raises(WorkspaceError, match="(?s)not a complete bundle.*magic"):
        bundles.read(rewritten(bundle, root / "again", spec=spec))


@pytest.mark.parametrize("name", ["../../bases/able", "~root/base"])
def test_a_bundle_does_not_read_a_base_outside_of_it(root, name):
    bundle, made = packed(root, spec_for())
    spec = to_json(replace(made.spec, base=Base(name)))
    with pytest.raises(ModelError, match="leads out"):
        bundles.read(rewritten(bundle, root / "again", spec=spec))


@pytest.mark.parametrize("kind", ["file", "folder", "pipe"])
@pytest.mark.parametrize("place", ["content", "result"])
def test_links_and_pipes_in_a_bundle_are_refused(root, kind, place):
    bundle, made = packed(root, spec_for(steps=1))
    run.run(bundle)
    inside = bundle / place if place == "content" else bundle / place / f"train-{made.name}"
    match kind:
        case "file":
            (root / "private.json").write_text("{}")
            (inside / "more.json").symlink_to(root / "private.json")
        case "folder":
            (inside / "more").symlink_to(root / "bases")
        case "pipe":
            os.mkfifo(inside / "more.json")
    with pytest.raises(WorkspaceError, match="not a file"):
        bundles.name_of(bundle)
        bundles.unpack(bundle, made, root / "store")
    assert not (root / "store").exists()


def _link(root, bundle):
    (bundle / "audit.txt").symlink_to(root / "private")


def _second_name(root, bundle):
    (bundle / "audit.txt").hardlink_to(root / "private")


def _pipe(root, bundle):
    os.mkfifo(bundle / "audit.txt")


def _result(root, bundle):
    (bundle / "result").symlink_to(root / "outside")


def _leftover(root, bundle):
    (bundle / "result").mkdir()
    (bundle / "result" / ".audit.part").symlink_to(root / "private")


@pytest.mark.parametrize("place", [_link, _second_name, _pipe, _result, _leftover])
def test_a_bundle_that_leads_out_of_its_folder_is_refused_before_anything_is_written(root, place):
    bundle, _ = packed(root, spec_for(steps=1))
    (root / "private").write_text("mine")
    (root / "outside").mkdir()
    place(root, bundle)
    with pytest.raises(WorkspaceError, match="not a file"):
        run.run(bundle)
    assert (root / "private").read_text() == "mine" and not list((root / "outside").iterdir())


def test_a_bundle_may_be_named_by_a_link(root):
    bundle, made = packed(root, spec_for(steps=1))
    (root / "named").symlink_to(bundle)
    assert run.run(root / "named").name == f"train-{made.name}"


def test_an_error_of_a_launched_process_reaches_the_user(root):
    options = attempts.RunOptions(launch=TORCHRUN, limits={"over_context": 0.0})
    spec = replace(spec_for(), learning_rate=1e30, clip_norm=1e30)
    with pytest.raises(TrainingError, match="diverged"):
        attempts.train_attempt(root / "store", spec, examples(40), root, quiet, options=options)


def test_a_run_killed_at_any_step_ends_with_the_same_bytes(root):
    spec = spec_for(steps=9, dropout=0.1)
    bundle, made = packed(root, spec)
    name = made.name
    wanted = tree_digests(attempts.train_attempt(root / "straight", spec, examples(40), root, quiet).folder)
    command = [sys.executable, "-m", "rungwise.attempts.__main__", str(bundle), "--for-a-parent"]
    draw = random.Random(7)
    for kill_after in sorted(draw.sample(range(1, 9), 3)):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
        for line in process.stderr:
            if line.startswith(PROGRESS) and json.loads(line[len(PROGRESS) :])[0] >= kill_after:
                os.kill(process.pid, signal.SIGKILL)
                break
        process.wait()
        process.stderr.close()
    assert not is_sealed(bundle / "result" / f"train-{name}")
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert "resumed from step" in (bundle / "result" / f"train-{name}" / "cost.json").read_text(), done.stderr
    actual = tree_digests(bundle / "result" / f"train-{name}")
    assert {n: d for n, d in actual.items() if n != store.COST} == {n: d for n, d in wanted.items() if n != store.COST}
    assert [p.name for p in Path(bundle / "result").iterdir()] == [f"train-{name}"]
