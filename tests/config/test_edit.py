import warnings

import pytest

from rungwise import config
from rungwise.config import RENAMED, RenamedSetting, edit, rename_settings
from rungwise.core.errors import Problem, SettingsError
from rungwise.workspace.layout import settings_of

TEXT = """\
# why these values
seed: 7
tasks:      # what is asked
  route: {target: 0.9}   # the bar

# the rungs
ladder:
  - {name: a, base: acme/one}   # small
  - {name: b, base: "acme/two"}
"""


def test_values_are_replaced_and_everything_else_stays():
    changed = edit.replaced(TEXT, {("ladder", 0, "base"): "x/one", ("ladder", 1, "base"): "x/two", ("seed",): "8"})
    assert changed == TEXT.replace("acme/", "x/").replace("seed: 7", "seed: 8")


def test_a_value_behind_an_alias_is_replaced_once():
    text = "a: &x acme/one\nb: *x\n"
    assert edit.replaced(text, {("a",): "y", ("b",): "y"}) == "a: &x y\nb: *x\n"


def test_keys_are_renamed_and_settings_inserted():
    renamed = edit.renamed(TEXT, {("tasks", "route"): "sort", ("ladder", 1, "name"): "title"})
    assert renamed == TEXT.replace("route:", "sort:").replace("{name: b", "{title: b")
    assert edit.inserted("train: {}\n", "train", "steps", "3") == "train: {steps: 3}\n"
    assert edit.inserted("train: {a: 1}  # x\n", "train", "steps", "3") == "train: {steps: 3, a: 1}  # x\n"
    assert edit.inserted("train:\n  a: 1\n", "train", "steps", "3") == "train:\n  steps: 3\n  a: 1\n"


def test_entries_come_after_the_last_entry_of_their_section():
    extended = edit.extended(TEXT, "tasks", ["  reply: {target: 0.5}"])
    assert extended == TEXT.replace("# the bar\n", "# the bar\n  reply: {target: 0.5}\n")
    assert edit.extended(TEXT, "ladder", ["  - {name: c}\n"]) == TEXT + "  - {name: c}\n"


def test_an_edit_with_unexpected_values_does_not_change_the_file(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    for text in (TEXT.replace("seed: 7", "seed: 9"), "a: [", "- list"):
        with pytest.raises(SettingsError, match="by hand"):
            edit.write(path, text, lambda values: values["seed"] == 8, Problem("no", do="write it by hand"))
    assert path.read_text() == TEXT
    edit.write(path, TEXT.replace("seed: 7", "seed: 8"), lambda values: values["seed"] == 8, Problem("no"))
    assert "seed: 8" in path.read_text()


OLD = {"look_every": "10", "look_rows": "50", "tokens_at_once": "2048"}


def with_old_names(workspace, style="flow"):
    path = workspace / "params.yaml"
    old = ", ".join(f"{name}: {value}" for name, value in OLD.items())
    text = path.read_text().replace("train: {steps: 20,", f"train: {{steps: 20, {old},   # chosen\n  ")
    if style == "block":
        lines = "".join(f"  {name}: {value}   # {name} was chosen\n" for name, value in OLD.items())
        text = path.read_text()
        start = text.index("train:")
        text = text[:start] + "train:\n  steps: 20\n" + lines + "evaluate" + text[text.index("evaluate") + 8 :]
    path.write_text(text)
    return path


def test_old_names_of_settings_work_with_a_warning_that_names_the_new_one(workspace):
    assert {name for section, name in RENAMED if section == "train"} == set(OLD)
    with_old_names(workspace)
    with pytest.warns(RenamedSetting) as warned:
        train = settings_of(workspace).train
    assert (train.eval_every, train.eval_rows, train.max_tokens_per_microbatch) == (10, 50, 2048)
    lines = [str(one.message) for one in warned]
    assert any("train.look_every is deprecated, use eval_every" in line for line in lines) and len(lines) == 3


@pytest.mark.parametrize("style", ["flow", "block"])
def test_old_names_are_rewritten_with_comments_and_order_kept(workspace, style):
    path = with_old_names(workspace, style)
    wanted = path.read_text()
    for old, new in (("look_every:", "eval_every:"), ("look_rows:", "eval_rows:")):
        wanted = wanted.replace(old, new)
    wanted = wanted.replace("tokens_at_once:", "max_tokens_per_microbatch:")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RenamedSetting)
        renamed = rename_settings(path)
    assert renamed["train.look_every"] == "train.eval_every" and len(renamed) == 3
    assert path.read_text() == wanted
    assert rename_settings(path) == {} and settings_of(workspace).train.eval_every == 10


OLD_LADDER = """\
ladder:   # cheapest first
  - {name: classical, method: tfidf}   # no language model
  - name: second
    method: "tfidf"   # in quotes
"""


def test_the_old_name_of_the_rung_without_a_model_works_with_a_warning_and_is_rewritten(workspace):
    path = workspace / "params.yaml"
    text = path.read_text()
    start, end = text.index("ladder:"), text.index("ingest:")
    path.write_text(text[:start] + OLD_LADDER + text[end:])
    with pytest.warns(RenamedSetting, match="method tfidf is deprecated, use classical"):
        settings = settings_of(workspace)
    assert [rung.method for rung in settings.ladder] == ["classical", "classical"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RenamedSetting)
        assert rename_settings(path) == {"ladder.method tfidf": "classical"}
    wanted = OLD_LADDER.replace("method: tfidf", "method: classical").replace('"tfidf"', '"classical"')
    assert path.read_text() == text[:start] + wanted + text[end:]
    assert rename_settings(path) == {} and settings_of(workspace).ladder[0].method == "classical"


def test_both_names_of_a_setting_and_unknown_names_are_errors(workspace):
    path = workspace / "params.yaml"
    text = path.read_text()
    path.write_text(text.replace("train: {steps: 20,", "train: {steps: 20, look_every: 5, eval_every: 5,"))
    with pytest.raises(SettingsError, match="its old and its new name(.|\n)*remove look_every"):
        settings_of(workspace)
    path.write_text(text.replace("train: {steps: 20,", "train: {steps: 20, look_sometimes: 5,"))
    with pytest.raises(SettingsError, match="unknown key(.|\n)*look_sometimes(.|\n)*eval_every"):
        settings_of(workspace)


def test_a_pin_that_can_not_be_written_does_not_change_the_file(tmp_path, workspace):
    path = workspace / "params.yaml"
    text = path.read_text().replace("base: bases/able, method: lora", 'base: "acme\\u002fone", method: lora')
    path.write_text(text)
    with pytest.raises(SettingsError, match="with escapes(.|\n)*by hand"):
        config.pin(path, lambda name: "a" * 40)
    assert path.read_text() == text


OLD_BARS = """\
seed: 7
tasks:
  route:
    prompt: "{body}:"
    answer: {column: queue}
    target: 0.85   # why
  # a comment
  reply: {prompt: "{body}:", target: 0.5, answer: {column: reply, format: text}}
  last: {prompt: "{body}:", answer: {column: reply, format: text}, target: 0.6}   # a comment
# the rungs
ladder:
  - {name: classical, method: classical}
ingest: {sources: [{name: a, path: a.csv}]}
validate: {}
split: {}
augment: {}
train: {}
evaluate: {}
decide: {}
"""
NEW_BARS = """\
seed: 7
tasks:
  route:
    prompt: "{body}:"
    answer: {column: queue}
  # a comment
  reply: {prompt: "{body}:", answer: {column: reply, format: text}}
  last: {prompt: "{body}:", answer: {column: reply, format: text}}   # a comment
bars:
  route: 0.85   # why
  reply: 0.5
  last: 0.6
# the rungs
ladder:
"""


def test_bars_move_out_of_the_tasks_with_their_comments(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(OLD_BARS)
    with pytest.warns(RenamedSetting) as warned:
        assert config.load(path).bars == {"route": 0.85, "reply": 0.5, "last": 0.6}
    assert len(warned) == 3 and "tasks.route.target is deprecated, use bars.route" in str(warned[0].message)
    assert rename_settings(path) == {f"tasks.{name}.target": f"bars.{name}" for name in ("route", "reply", "last")}
    assert path.read_text() == NEW_BARS + OLD_BARS.partition("ladder:\n")[2]
    assert rename_settings(path) == {}


def test_a_task_with_two_bars_and_bars_that_cant_be_moved_are_errors(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(OLD_BARS + "bars: {route: 0.9}\n")
    with pytest.raises(SettingsError, match="a task has two bars"):
        config.load(path)
    path.write_text(OLD_BARS.replace("target: 0.85   # why", "target:\n      0.85"))
    with pytest.raises(SettingsError, match=r"(?s)can't be moved.*bars\.route: 0\.85"):
        rename_settings(path)


@pytest.mark.parametrize("promote", ["promote: {min_scored: 20}", "promote:\n  min_scored: 20", "promote: {}"])
@pytest.mark.parametrize("split", ["split: {dev: 0.2, min_test: 50}", "split:\n  min_test: 50   # few\n  dev: 0.2"])
def test_the_setting_that_only_warns_works_in_its_old_section_and_moves(workspace, split, promote):
    path = workspace / "params.yaml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("split:", "promote:"))]
    path.write_text("\n".join([*lines, split, promote]) + "\n")
    with pytest.warns(RenamedSetting, match=r"split.min_test is deprecated, use promote.min_test"):
        assert settings_of(workspace).promote.min_test == 50
    assert rename_settings(path) == {"split.min_test": "promote.min_test"}
    settings = settings_of(workspace)  # without a warning
    assert settings.promote.min_test == 50 and settings.split.dev == 0.2 and rename_settings(path) == {}
    path.write_text(path.read_text().replace("dev: 0.2", "dev: 0.2, min_test: 7" if "{dev" in split else "min_test: 7"))
    with pytest.raises(SettingsError, match=r"(?s)both its old and its new place.*remove split.min_test"):
        settings_of(workspace)
