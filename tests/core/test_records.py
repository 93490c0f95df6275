"""Records become JSON and digests in one way only, and come back equal."""

import json
from dataclasses import replace

import pytest

from rungwise.core.records import (
    AnswerForm,
    AttemptSpec,
    Base,
    Evidence,
    Example,
    Interval,
    Prediction,
    Rejection,
    canonical_json,
    digest,
    from_json,
    to_json,
)

FORM = AnswerForm("json", (), ";", {"items": AnswerForm("list"), "queue": AnswerForm("label", ("a", "b"))})
SPEC = AttemptSpec(
    base=Base("bases/able", code="c" * 64),
    method="lora",
    prompt="{body}\nQueue:",
    form=FORM,
    rank=4,
    targets=("q_proj", "v_proj"),
    learning_rate=1e-3,
    metric="fields",
)
EVIDENCE = Evidence(
    rung="lora-4",
    method="lora",
    base="bases/able",
    base_digest="d" * 64,
    attempt="e" * 64,
    score=Interval(0.9, 0.85, 0.94, 200, 0.95),
    n=201,
    unscored={"over_context": 1},
    train_rows=500,
    train_rejected={},
    base_parameters=1000,
    trained_parameters=10,
    train_tokens=12345,
    also={"macro F1": Interval(0.8, 0.7, 0.9, 200, 0.95)},
    cut=2,
)
GOLDEN = {
    "example": (
        Example("ä-1", {"body": "Grüße,\nEve", "subject": "x"}, "a", "mails", 3, "g-1", None, ("p-1", "p-2"), ("42",)),
        '{"answer":"a","facts":["42"],"fields":{"body":"Grüße,\\nEve","subject":"x"},"group":"g-1","id":"ä-1","line":3,"parents":["p-1","p-2"],"role":null,"source":"mails"}',
        "b34a644369ef0b36d13d93942320fba2170476c448a75eacae489d339e22b275",
    ),
    "plain example": (
        Example("r-1", {"body": ""}, "", "mails", 1, "r-1", "dev"),
        '{"answer":"","facts":[],"fields":{"body":""},"group":"r-1","id":"r-1","line":1,"parents":[],"role":"dev","source":"mails"}',
        "8dfcf3400b6664ed80f0192ba91e7f72ab8b21c12ea2977f0cf173116a5f6cb0",
    ),
    "rejection": (
        Rejection("ingest", "mails", 7, "no_answer", "column queue"),
        '{"detail":"column queue","id":"","line":7,"reason":"no_answer","source":"mails","stage":"ingest"}',
        "8458f250f65a5ef7522eb02afbe669b9fd556d1f31216d9eff2f7da755463390",
    ),
    "base": (
        Base("owner/name", "f" * 40),
        '{"name":"owner/name","revision":"ffffffffffffffffffffffffffffffffffffffff"}',
        "bf0d584f38a18bb698747c34aec608c135fb999ef461909f73bb9cad7d9a3356",
    ),
    "form": (
        FORM,
        '{"fields":{"items":{"fields":{},"format":"list","labels":[],"separator":";"},"queue":{"fields":{},"format":"label","labels":["a","b"],"separator":";"}},"format":"json","labels":[],"separator":";"}',
        "2180c0df8c5d92da7a060ec3dc4d0a36ba66be9b52b90566dc5296f679c67b73",
    ),
    "spec": (
        SPEC,
        '{"alpha":32.0,"base":{"code":"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc","name":"bases/able","revision":""},"batch_size":32,"checkpointing":false,"clip_norm":1.0,"compiled":false,"dropout":0.0,"eval_every":0,"eval_rows":0,"examples":0,"form":{"fields":{"items":{"fields":{},"format":"list","labels":[],"separator":";"},"queue":{"fields":{},"format":"label","labels":["a","b"],"separator":";"}},"format":"json","labels":[],"separator":";"},"layers":0,"learning_rate":0.001,"max_over_context":0.1,"max_tokens_per_microbatch":0,"method":"lora","metric":"fields","patience":0,"precision":"fp32","prompt":"{body}\\nQueue:","rank":4,"schedule":"cosine","seed":0,"steps":300,"targets":["q_proj","v_proj"],"template":"plain","tokens":0,"warmup_share":0.05,"weight_decay":0.0}',
        "67ecb30bd895d90e55ab38472446f8ea89a21c02ae4e93b9a653c4c0b4a84b37",
    ),
    "spec without a base": (
        AttemptSpec(None, "classical", "{body}", AnswerForm("label", ("a",))),
        '{"alpha":32.0,"base":null,"batch_size":32,"checkpointing":false,"clip_norm":1.0,"compiled":false,"dropout":0.0,"eval_every":0,"eval_rows":0,"examples":0,"form":{"fields":{},"format":"label","labels":["a"],"separator":";"},"layers":0,"learning_rate":null,"max_over_context":0.1,"max_tokens_per_microbatch":0,"method":"classical","metric":"","patience":0,"precision":"fp32","prompt":"{body}","rank":16,"schedule":"cosine","seed":0,"steps":300,"targets":["all-linear"],"template":"plain","tokens":0,"warmup_share":0.05,"weight_decay":0.0}',
        "43f5cdc2629499418423861843ab8a3fa8f78110fed2fd46e9ea5cd2d4464025",
    ),
    "prediction": (
        Prediction("r-1", "g-1", "a", "b", 0.5, facts=("42",), is_cut=True),
        '{"answer":"b","expected":"a","facts":["42"],"group":"g-1","id":"r-1","is_cut":true,"probability":0.5,"unscored":""}',
        "eeed6eb91af62b652733c691b8a584422f6e138473df7e716ee5d57dde6a0cb8",
    ),
    "unscored prediction": (
        Prediction("r-1", "g-1", "a", None, unscored="over_context"),
        '{"answer":null,"expected":"a","facts":[],"group":"g-1","id":"r-1","is_cut":false,"probability":0.0,"unscored":"over_context"}',
        "29e60e2e22c8a96f95339d78239721e46ef20e08714b600a5fd9824faf6c879e",
    ),
    "interval": (
        Interval(1.0, 0.5, 1.0, 9, 0.95),
        '{"confidence":0.95,"high":1.0,"low":0.5,"n":9,"value":1.0}',
        "9ecb989e05ba657bdee411eba0605378c66aa4a7559e670aa5763312643bf616",
    ),
    "evidence": (
        EVIDENCE,
        '{"also":{"macro F1":{"confidence":0.95,"high":0.9,"low":0.7,"n":200,"value":0.8}},"attempt":"eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee","base":"bases/able","base_digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","base_parameters":1000,"cut":2,"method":"lora","n":201,"note":"","rung":"lora-4","score":{"confidence":0.95,"high":0.94,"low":0.85,"n":200,"value":0.9},"train_rejected":{},"train_rows":500,"train_tokens":12345,"trained_parameters":10,"unscored":{"over_context":1}}',
        "64d7d9c030b1f279f313da236f5848acaa3a1987387ed5c190bce9ae32724f19",
    ),
    "evidence without a score": (
        replace(EVIDENCE, score=None, also={}, note="was not trained"),
        '{"also":{},"attempt":"eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee","base":"bases/able","base_digest":"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd","base_parameters":1000,"cut":2,"method":"lora","n":201,"note":"was not trained","rung":"lora-4","score":null,"train_rejected":{},"train_rows":500,"train_tokens":12345,"trained_parameters":10,"unscored":{"over_context":1}}',
        "c1e4a4f8a897de6a4e0e9bb26664aa9ddf6d70bff55b109fa8e8167173d4f0be",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_json_and_digest_of_a_record_do_not_change(name):
    record, text, sha256 = GOLDEN[name]
    assert canonical_json(to_json(record)) == text
    assert digest(to_json(record)) == sha256


@pytest.mark.parametrize("name", GOLDEN)
def test_a_record_is_read_back_equal_with_its_types(name):
    record, text, _ = GOLDEN[name]
    again = from_json(type(record), json.loads(text))
    assert again == record and canonical_json(to_json(again)) == text
    assert repr(again) == repr(record)  # tuples stay tuples, and floats stay floats


def test_a_record_without_a_field_or_of_another_type_is_an_error():
    with pytest.raises(ValueError, match=r"(?s)Interval.*confidence.*missing"):
        from_json(Interval, {"value": 1.0, "low": 0.5, "high": 1.0, "n": 9})
    with pytest.raises(ValueError, match=r"(?s)Evidence.*train_rows"):
        from_json(Evidence, {**to_json(EVIDENCE), "train_rows": "many"})
