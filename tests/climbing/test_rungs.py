from typing import NoReturn

import pytest

from rungwise.climbing.ladder import climb_ladder
from rungwise.climbing.rungs import evaluate_rung, spec_of, task_climb
from rungwise.config import parse
from rungwise.core.errors import ModelError, Problem, RungwiseError, SettingsError, TrainingError
from rungwise.core.recipes import STAGES
from rungwise.core.records import Prompting, to_json
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
