from dataclasses import replace
from typing import NoReturn

import pytest

from rungwise.climbing.ladder import climb_ladder
from rungwise.climbing.rungs import evaluate_rung, spec_of, task_climb, training_rows
from rungwise.config import parse
from rungwise.core.errors import ModelError, Problem, RungwiseError, SettingsError, TrainingError
from rungwise.core.recipes import STAGES
from rungwise.core.records import Example, Prompting, to_json
from rungwise.core.table import Table
from rungwise.pipeline.stages import run_stage
from rungwise.workspace.layout import settings_of
from tests.config.test_config import GOOD
from tests.conftest import sided_rows, write_sided

LABELS = ["DESC", "card_arrival"]


def spec(rung, **answer):
    task = {**GOOD["tasks"]["route"], "answer": {"column": "queue", "format": "label", **answer}}
    values = {**GOOD, "tasks": {"route": {**task, "instruction": "Sort."}}, "ladder": [{"name": "one", **rung}]}
    settings = parse(values)
    return spec_of(settings, settings.tasks["route"], settings.ladder[0], LABELS)


def test_words_and_instruction_are_part_of_a_prompt_rung_alone():
    prompt = spec({"base": "bases/able", "method": "prompt"}, words={"DESC": "description"})
    assert prompt.prompting == Prompting("Sort.", {"DESC": "description", "card_arrival": "card arrival"}, "fixed")
    assert (prompt.template, prompt.examples, prompt.metric) == ("auto", 36, "accuracy")
    lora = spec({"base": "bases/able", "method": "lora"}, words={"DESC": "description"})
    assert lora.prompting is None and lora.template == "plain" and "prompting" not in to_json(lora)
    assert to_json(lora) == to_json(spec({"base": "bases/able", "method": "lora"}))


def test_similar_examples_are_fewer_by_default():
    assert spec({"base": "bases/able", "method": "prompt", "shown": "similar"}).examples == 8
    assert spec({"base": "bases/able", "method": "prompt", "shown": "similar", "examples": 3}).examples == 3
    assert spec({"base": "bases/able", "method": "prompt", "examples": 0}).examples == 0
    assert spec({"base": "bases/able", "method": "lora"}).examples == 0


def test_words_of_a_label_that_no_row_has_are_an_error():
    with pytest.raises(SettingsError, match=r"(?s)label that does not exist.*DESK"):
        spec({"base": "bases/able", "method": "prompt"}, words={"DESK": "description"})


def test_an_error_of_a_rung_names_the_task_and_the_rung(tmp_path):
    rows = [row for side in ("train", "dev", "test") for row in sided_rows(40, side)]
    root = write_sided(tmp_path / "ws", rows)
    for verb in STAGES[:-1]:
        run_stage(root, verb)
    one = task_climb(root, settings_of(root), "route")

    def fails(kind: type[RungwiseError], where: str):
        def train(*_: object) -> NoReturn:
            raise kind(Problem("broken", where=where, found="3 of 3 rows", do="convert it again"))

        with pytest.raises(kind, match="3 of 3 rows") as error:
            climb_ladder(one, "data", train, evaluate_rung)
        return error.value.problem.where

    assert fails(ModelError, "base x") == "task route, rung classical: base x"
    assert fails(TrainingError, "") == "task route, rung classical"


def rows(n_groups, size=4):
    """Rows in groups, the last of each synthetic."""
    places = [(g, i) for g in range(n_groups) for i in range(size)]
    return Table.of(
        Example(f"r{g}-{i}", {"body": "a"}, "DESC", "mails", i, f"g{g}", parents=(f"r{g}-0",) if i == size - 1 else ())
        for g, i in places
    )


def evaluated(eval_rows=500):
    return replace(spec({"base": "bases/able", "method": "lora"}), eval_every=10, eval_rows=eval_rows)


def test_rows_that_choose_the_best_step_are_whole_groups_held_back_from_training():
    train = rows(100)
    rest, held = training_rows(train, evaluated())
    assert 40 <= len(held) <= 42 and not set(rest.group) & set(held.group)
    assert not any(held.parents), "synthetic rows are not scored"
    lost = {row.id for row in train} - {row.id for row in (*rest, *held)}
    assert lost and all(row.parents for row in train if row.id in lost), "nor trained on, as they say the same"
    more = training_rows(rows(110), evaluated())[1]
    assert len(set(held.group) - set(more.group)) <= 4, "few groups change when rows are added"
    assert len(training_rows(train, evaluated(eval_rows=6))[1]) == 6


def test_without_evaluations_all_rows_are_trained_on():
    rest, held = training_rows(rows(3), spec({"base": "bases/able", "method": "lora"}))
    assert rest == rows(3) and len(held) == 0


def test_rows_of_one_group_can_not_be_held_back():
    with pytest.raises(TrainingError, match=r"(?s)no training rows can be held back.*4 rows of 1 group.*eval_every: 0"):
        training_rows(rows(1), evaluated())
    rest, held = training_rows(rows(2), evaluated())
    assert (len(rest), len(held)) == (4, 3)
