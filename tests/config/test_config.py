from typing import Any

import pytest

from rungwise import config
from rungwise.core.errors import SettingsError, WorkspaceError
from tests.conftest import PARAMS

GOOD: dict[str, Any] = {
    "tasks": {"route": {"prompt": "{body}\nQueue:", "answer": {"column": "queue"}}},
    "bars": {"route": 0.9},
    "ladder": [{"name": "small", "base": "models/x", "method": "lora"}],
    "ingest": {"sources": [{"name": "tickets", "path": "tickets.csv"}]},
    "seed": 7,
    **{name: {} for name in ("validate", "split", "augment", "train", "evaluate", "decide")},
}


def changed(path: str, value: object) -> dict:
    import copy

    values = copy.deepcopy(GOOD)
    here: Any = values
    *parts, last = [int(p) if p.isdigit() else p for p in path.split("/")]
    for part in parts:
        here = here.setdefault(part, {}) if isinstance(here, dict) else here[part]
    here[last] = value
    return values


def test_the_smallest_settings_are_enough():
    settings = config.parse(GOOD)
    assert settings.train.batch_size == 32 and settings.validate_.min_rows == 50


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("train/stepz", 3, ["unknown key", "train.stepz", "steps"]),
        ("ladder/0/rankk", 3, ["unknown key", "rankk", "rank"]),
        ("train/steps", "many", ["train.steps", '"many"', "integer"]),
        ("tasks/route/metric", "f2", ['"f2"', "wanted: 'accuracy', 'set_f1'"]),
        ("train/steps", 0, ["train.steps", "greater than or equal to 1"]),
        ("train/steps", True, ["train.steps", "true"]),
        ("seed", "7", ["seed", '"7"', "integer"]),
        ("tasks/..%2fx", {}, ["a lowercase letter"]),
        ("tasks/$(touch y)", {}, ["$(touch y)", "a lowercase letter"]),
        ("ladder/0/name", "a/b", ["ladder.0.name", "a lowercase letter"]),
        ("ladder/0/base", "owner/name@main", ["40 hexadecimal"]),
        ("ladder/0/base", "../x/y@" + "a" * 40, ["owner/name"]),
        ("ingest/sources/0/path", "../secret.csv", ["a relative path inside data/raw"]),
        ("ingest/sources/0/path", "/etc/passwd", ["a relative path inside data/raw"]),
        ("ingest/sources/0/encoding", "utf-99", ["utf-99"]),
        ("tasks/route/prompt", "no slot", ["has no {slot}"]),
        ("tasks/route/optional", ["title"], ["optional: title is not a slot of the prompt"]),
        ("tasks/route/optional", ["body"], ["at least one slot must have text"]),
        ("tasks/route/prompt", "{body.__class__}", ["brace that is not part of a slot"]),
        ("tasks/route/sources", ["other"], ["there is no source 'other'"]),
        ("augment/templates", ["{other}"], ["must have the slot {body}"]),
        ("augment", {"templates": ["{hi} {body}"]}, ["must have the slot {body}", "`wordings` is empty"]),
        ("augment", {"templates": ["{body}"], "wordings": {"body": ["x"]}}, ["the slot of the row's own text"]),
        ("augment/templates", ["{body!r}"], ["brace that is not part of a slot"]),
        ("incumbent", {"url": "http://x/v1?key=a", "model": "m"}, ["incumbent.url", "pattern"]),
        ("incumbent", {"url": "http://x/v1", "model": "m", "max_cost": 1.0}, ["max_cost: it requires `price`"]),
        ("incumbent", {"url": "http://x/v1", "model": "m", "request": {"model": "n"}}, ["model can't be set here"]),
        (
            "incumbent",
            {"url": "http://x/v1", "model": "m", "prompts": {"other": "{body}"}},
            ["there is no task 'other'"],
        ),
        ("incumbent", {"url": "http://x/v1", "model": "m", "prompts": {"route": "{text}"}}, ["slots", "{body}"]),
        ("incumbent", {"url": "http://x/v1", "model": "m", "prompts": {"route": "no slot"}}, ["slots", "{body}"]),
        (
            "incumbent",
            {"url": "http://x/v1", "model": "m", "price": {"input": 1.0}},
            ["incumbent.price.output", "a key is missing"],
        ),
        ("collect", [{"name": "a", "from": "b://c:secret@d", "to": "x"}], ["holds a password"]),
        ("collect", [{"name": n, "from": n, "to": t} for n, t in (("a", "x"), ("b", "x/y.csv"))], ["is inside a (x)"]),
        ("split", {"dev": 0.5, "test": 0.5}, ["leave no rows for training"]),
        ("tasks/route/answer", {"column": "q", "format": "text", "words": {"a": "b"}}, ["words", "only format label"]),
        (
            "tasks/route/answer",
            {"column": "q", "labels": ["a"], "words": {"b": "c"}},
            ["label that does not exist", "b"],
        ),
        ("ladder/0/shown", "similar", ["method lora does not have this setting"]),
        ("ladder", [], ["ladder"]),
        ("ladder/0/targets", [], ["ladder.0.targets"]),
        ("ladder", [GOOD["ladder"][0]] * 2, ["'small' is used twice"]),
        ("tasks/route/answer/items", "closed", ["only format list has items"]),
        (
            "tasks/route/answer",
            {"column": "k", "format": "list", "items": "open", "labels": ["a"]},
            ["`labels` names the items"],
        ),
        ("tasks/route/answer", {"column": "k", "format": "list", "labels": ["a;b"]}, ["has no separator"]),
        ("tasks/route/answer", {"column": "k", "format": "list", "labels": [" a"]}, ["no white space around it"]),
    ],
)
def test_a_wrong_setting_is_named(path, value, words):
    with pytest.raises(SettingsError) as error:
        config.parse(changed(path, value))
    for word in words:
        assert word in str(error.value)


def test_a_misspelled_key_comes_before_the_key_that_is_missing_because_of_it():
    values = changed("tasks/route/question", "{body}")
    del values["tasks"]["route"]["prompt"]
    with pytest.raises(SettingsError, match=r"(?s)unknown key \(1 more: tasks.route.prompt\).*question"):
        config.parse(values)


def test_a_number_that_is_not_finite_is_named(tmp_path):
    (tmp_path / "params.yaml").write_text("train: {steps: .nan}")
    with pytest.raises(SettingsError, match=r"train\.steps is not a finite number"):
        config.read_raw(tmp_path / "params.yaml")


def test_a_missing_key_is_named():
    values = changed("seed", 1)
    del values["tasks"]["route"]["answer"]
    with pytest.raises(SettingsError, match=r"(?s)a key is missing.*tasks\.route\.answer"):
        config.parse(values)


def test_a_section_that_dvc_needs_is_required():
    values = changed("seed", 1)
    del values["split"]
    with pytest.raises(SettingsError, match=r"(?s)a key is missing.*write `split: \{\}`"):
        config.parse(values)


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2\n", "a: [1", "- 1\n", "", "\xff", "tasks: {1: x, route: y}", 'seed: "\\uD800"']
)
def test_a_file_that_is_not_a_mapping_is_an_error(tmp_path, text):
    (tmp_path / "params.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError, match=r"params\.yaml"):
        config.load(tmp_path / "params.yaml")


MERGES = "m: &m {{x: 1}}\n" + "".join(
    f"m{n}: &m{n} {{{{{{key}}: [{', '.join(['*m' + str(n - 1 if n else '')] * 10)}]}}}}\n" for n in range(8)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40)),
            "aliases",
        ),
        ("long: &long " + "x" * 200_000 + "\nlist: [" + ", ".join(["*long"] * 1000) + "]\n", "aliases"),
        ("a: &a [*a]\n", "an alias refers to itself"),
        (MERGES.format(key="<<"), "aliases with `<<` stand for more"),
        (MERGES.format(key="!!merge more"), "aliases with `<<` stand for more"),
        ("a: &a {<<: *a}\n", "an alias refers to itself"),
        ("a: " + "9" * 5_000 + "\n", "value has 5000 digits\n *wanted: texts"),
        ("a: .inf\n", "a is not a finite number\n *wanted: texts"),
        ("a: &a {b: {c: *a}}\n", "an alias refers to itself"),
        ("a: " + "[" * 5_000 + "]" * 5_000, "can't be read"),
    ],
)
def test_a_file_whose_aliases_never_end_ends_at_once(tmp_path, text, words):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SettingsError, match=words):
        config.read_raw(tmp_path / "params.yaml")


def test_what_dvc_can_not_read_is_refused_with_its_line(tmp_path):
    (tmp_path / "params.yaml").write_text("seed: 7\naugment: {endpoint: {url: http://host/v1}}\n")
    with pytest.raises(SettingsError, match=r"(?s)can't be read.*line 2.*in quotes"):
        config.read_raw(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text('seed: 7\naugment: {endpoint: {url: "http://host/v1"}}\n')
    assert config.read_raw(tmp_path / "params.yaml")["augment"]["endpoint"]["url"] == "http://host/v1"


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(SettingsError, match="RUNGWISE_WORKSPACE"):
        config.load(tmp_path / "params.yaml")


def test_every_setting_is_documented():
    def sections(model):
        yield model
        for field in model.model_fields.values():
            inner = config.inner_section(field.annotation)
            if inner:
                yield from sections(inner)

    for section in sections(config.Settings):
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name} has no docstring"


def laddered(tmp_path, ladder):
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS.format(target=0.9, ladder=ladder, steps=1))
    return path


def test_a_base_behind_an_anchor_is_pinned_once_for_all(tmp_path):
    ladder = "  - {name: a, base: &hub acme/pocket, method: lora}\n  - {name: b, base: *hub, method: lora}"
    path = laddered(tmp_path, ladder)
    assert config.pin(path, lambda name: "a" * 40) == {"acme/pocket": "a" * 40}
    assert [r.base for r in config.load(path).ladder] == ["acme/pocket@" + "a" * 40] * 2


def test_a_base_written_with_escapes_is_not_reported_as_pinned(tmp_path):
    path = laddered(tmp_path, '  - {name: a, base: "acme\\x2fpocket", method: lora}')
    kept = path.read_bytes()
    with pytest.raises(SettingsError, match="(?s)can't be added to a base's name.*acme/pocket@aaa"):
        config.pin(path, lambda name: "a" * 40)
    assert path.read_bytes() == kept


def test_patience_without_evaluations_is_refused():
    with pytest.raises(SettingsError, match="set eval_every too"):
        config.parse(changed("train/patience", 4))


def test_an_evaluation_after_the_last_step_is_refused():
    steps = config.parse(changed("seed", 7)).train.steps
    assert config.parse(changed("train/eval_every", steps)).train.eval_every == steps
    with pytest.raises(
        SettingsError,
        match=f"(?s){steps + 1} steps between evaluations, but no rung is trained for more than {steps} steps",
    ):
        config.parse(changed("train/eval_every", steps + 1))
    changes = changed("train/eval_every", steps + 1)
    changes["ladder"] = [{"name": "asked", "base": "bases/able", "method": "prompt", "examples": 2}]
    assert config.parse(changes).train.eval_every == steps + 1, "nothing trains"


def test_an_error_in_the_only_rung_is_one_error():
    with pytest.raises(SettingsError) as caught:
        config.parse(changed("ladder/0/rank", -1))
    assert "more" not in str(caught.value).splitlines()[0] and "rank" in str(caught.value)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"base": None}, "every other method requires one"),
        ({"template": "chat"}, "reads the fields of a row, not a prompt"),
        ({"remote_code": "a" * 64}, "runs no code of a base"),
        ({"steps": 5}, "does not train a language model"),
        ({"rank": 5}, "does not have this setting"),
    ],
)
def test_settings_that_a_frozen_encoder_does_not_have_are_refused(more, words):
    rung = {"name": "embed", "base": "models/x", "method": "embed"}
    assert config.parse(changed("ladder/0", rung)).ladder[0].base == "models/x"
    with pytest.raises(SettingsError) as error:
        config.parse(changed("ladder/0", {k: v for k, v in (rung | more).items() if v is not None}))
    assert words in str(error.value)


def test_the_marks_of_a_conflict_are_named(tmp_path):
    (tmp_path / "params.yaml").write_text("seed: 7\n<<<<<<< HEAD\ntasks: {}\n=======\nladder: []\n>>>>>>> other\n")
    with pytest.raises(WorkspaceError, match=r"conflict marks(.|\n)*params\.yaml, line 2(.|\n)*resolve"):
        config.read_raw(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("bars", "words"),
    [
        ({"rout": 0.9}, "task route has no bar, and 'rout' is not a task"),
        ({"route": 0.9, "other": 0.5}, "'other' is not a task"),
        ({"route": 1.0}, "bars.route"),
        ({}, "bars"),
    ],
)
def test_every_task_has_one_bar(bars, words):
    with pytest.raises(SettingsError) as error:
        config.parse(changed("bars", bars))
    assert words in str(error.value)


def test_a_missing_section_of_bars_says_what_to_write():
    values = changed("seed", 1)
    del values["bars"]
    with pytest.raises(SettingsError, match=r"(?s)the section `bars`.*write `bars: \{TASK: 0.9\}"):
        config.parse(values)


@pytest.mark.parametrize(
    ("abstain", "words"),
    [
        ({"right": {"rout": 0.9}}, "there is no task 'rout'"),
        ({"right": {"route": 1.0}}, "abstain.right.route"),
        ({"right": {"route": 0}}, "abstain.right.route"),
        ({"right": {"route": 0.9}, "confidence": 0.4}, "abstain.confidence"),
    ],
)
def test_the_goal_of_answers_without_people_is_one_of_a_task_and_below_1(abstain, words):
    with pytest.raises(SettingsError) as error:
        config.parse(changed("abstain", abstain))
    assert words in str(error.value)


def test_texts_are_never_entirely_right_and_have_no_such_goal():
    values = changed("abstain", {"right": {"route": 0.9}})
    values["tasks"]["route"] |= {"answer": {"column": "queue", "format": "text"}, "metric": "chrf"}
    with pytest.raises(SettingsError, match="the answers of task route are texts, which are never entirely right"):
        config.parse(values)


@pytest.mark.parametrize("models", ["mine", "a/{task}", "{task}{task}", "", "mine {task}"])
def test_names_of_models_contain_the_task_once(models):
    with pytest.raises(ValueError, match="such as `tickets-"):
        config.RegisterSettings(models=models)
    assert config.RegisterSettings(models="tickets-{task}").models.format(task="route") == "tickets-route"
