import pytest

from rungwise.climbing.rungs import spec_of
from rungwise.config import parse
from rungwise.core.errors import SettingsError
from rungwise.core.records import Prompting, to_json
from tests.config.test_config import GOOD

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
