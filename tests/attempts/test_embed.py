import json
import shutil
from dataclasses import replace

import pytest

from rungwise.attempts import __main__ as run
from rungwise.attempts import bundle as bundles
from rungwise.attempts import run as attempts
from rungwise.attempts import store
from rungwise.attempts.evaluate import evaluate_attempt
from rungwise.core.errors import WorkspaceError
from rungwise.core.folders import tree_digests
from rungwise.core.records import AnswerForm, Base
from rungwise.model.encoder import Encoder
from tests.conftest import examples, make_base
from tests.model.tiny_encoder import LABELS, make_encoder, quiet, rows_with, spec, with_modules


@pytest.fixture
def root(tmp_path):
    make_encoder(tmp_path / "bases" / "tiny")
    return tmp_path


@pytest.fixture
def texts_read(monkeypatch):
    """The numbers of texts of all batches that an encoder reads."""
    sizes: list[int] = []
    real = Encoder.embed

    def counted(self, ids):
        sizes.append(len(ids))
        return real(self, ids)

    monkeypatch.setattr(Encoder, "embed", counted)
    return sizes


def test_tasks_on_the_same_rows_embed_them_once(root, texts_read):
    rows = examples(80)
    first = attempts.train_attempt(root / "store", spec(), rows, root, quiet)
    n = len({e.fields["body"] for e in rows})
    assert sum(texts_read) == n
    words = [replace(e, answer=e.fields["body"]) for e in rows]
    second = attempts.train_attempt(root / "store", spec(AnswerForm("text")), words, root, quiet)
    assert sum(texts_read) == n and first.digest != second.digest
    predictions = evaluate_attempt(root / "store", second, spec(AnswerForm("text")), words, root, quiet)
    # the time of an answer is measured on single rows, which are read again and not kept
    assert sum(one for one in texts_read if one > 1) == n and all(p.answer == p.expected for p in predictions)


def test_cut_rows_and_a_causal_base_are_said_in_the_notes(root):
    with_modules(root / "bases" / "tiny", {}, normalize=False, longest=10)
    lines: list[str] = []
    options = attempts.RunOptions(say=lines.append)
    rows = [*examples(40), *rows_with([("box " * 30, "repair")])]
    attempt = attempts.train_attempt(root / "store", spec(), rows, root, quiet, options=options)
    cut = sum(len(e.fields["body"].split()) > 8 for e in rows)
    note = f"{cut} of 41 training rows are longer than the encoder's input of 10 tokens and were cut"
    assert lines == [note] and attempt.cost["notes"] == [note]
    make_base(root / "bases" / "causal")
    causal = replace(spec(), base=Base("bases/causal"))
    attempt = attempts.train_attempt(root / "store", causal, examples(40), root, quiet, options=options)
    assert "bases/causal is a causal language model" in attempt.cost["notes"][0]
    answers = evaluate_attempt(root / "store", attempt, causal, examples(20, 2), root, quiet)
    assert all(p.answer in LABELS.labels for p in answers)


def test_the_digest_depends_on_what_decides_the_vectors_and_not_on_peft(root, monkeypatch):
    def name():
        return store.attempt_digest(spec(), examples(20), root)

    names = [name()]
    monkeypatch.setattr(store, "TRAINING", 99)
    monkeypatch.setattr(store, "ANSWERING", 99)
    assert name() == names[0]
    monkeypatch.setattr(store, "EMBEDDING", 99)
    names.append(name())
    with_modules(root / "bases" / "tiny", {"pooling_mode_cls_token": True})
    names.append(name())
    assert len(set(names)) == 3
    assert set(store.versions_of(spec())) == {"torch", "transformers", "scikit-learn", "numpy"}


def test_rows_that_nothing_can_be_fitted_on_are_a_note(root):
    rows = rows_with([("box", "repair"), ("order", "repair")])
    attempt = attempts.train_attempt(root / "store", spec(), rows, root, quiet)
    assert attempt.result["note"] == "nothing to fit: the training rows have 1 label"
    scores = evaluate_attempt(root / "store", attempt, spec(), examples(5), root, quiet)
    assert {p.unscored for p in scores} == {"not_trained"}


def test_a_bundle_takes_the_encoder_along_and_gives_equal_hashes(root, tmp_path_factory, monkeypatch):
    with_modules(root / "bases" / "tiny", {"pooling_mode_cls_token": True})
    bundle = attempts.bundle_of(spec(), examples(60), root, eval_rows=(), options=attempts.RunOptions())
    bundles.pack(root / "bundle", bundle, with_base=True)
    away = tmp_path_factory.mktemp("away") / "bundle"
    shutil.move(root / "bundle", away)
    assert json.loads((away / "content/bases/tiny/1_Pooling/config.json").read_text())["pooling_mode_cls_token"]
    with monkeypatch.context() as patch:
        missing = {"torch": "2", "transformers": "5", "scikit-learn": "not installed", "numpy": "2"}
        patch.setattr(store, "versions_of", lambda spec: missing)
        patch.setattr(run, "versions_of", lambda spec: missing)
        with pytest.raises(WorkspaceError, match=r"(?s)a different one on this machine.*scikit-learn not installed"):
            run.run(away)
    run.run(away)
    folder = bundles.unpack(away, bundle, root / "store")
    here = attempts.train_attempt(root / "other", spec(), examples(60), root, quiet)
    assert folder.name == here.folder.name
    left, right = ({n: d for n, d in tree_digests(f).items() if n != store.COST} for f in (folder, here.folder))
    assert left == right and "embed.safetensors" in left


def test_a_library_that_is_missing_has_no_version():
    assert store._version_of("no-such-library") == "not installed"
