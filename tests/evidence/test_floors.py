from rungwise.core.records import AnswerForm, Example
from rungwise.evidence.floors import COPY, FREQUENT, floor_of, most_frequent
from rungwise.evidence.metrics import Metric

LABELS, LIST, TEXT = AnswerForm("label", ("a", "b")), AnswerForm("list"), AnswerForm("text")


def rows(answers, texts=()):
    texts = texts or [f"text {i}" for i in range(len(answers))]
    return [
        Example(f"r{i}", {"body": text, "unused": "no"}, answer, "s", i, f"g{i}")
        for i, (text, answer) in enumerate(zip(texts, answers, strict=True))
    ]


def test_the_most_frequent_label_is_that_of_the_training_rows():
    floor = floor_of(Metric("accuracy", LABELS), ["body"], rows("abbab"), rows("aaab"), 0.95)
    assert floor.floor.name == FREQUENT and {p.answer for p in floor.predictions} == {"b"}
    assert floor.floor.score.value == 0.25 and floor.floor.score.n == 4
    assert floor_of(Metric("accuracy", LABELS), ["body"], [], rows("a"), 0.95) is None
    assert floor_of(Metric("accuracy", LABELS), ["body"], rows("a"), [], 0.95) is None


def test_of_equally_frequent_answers_the_first_by_name_is_used():
    assert most_frequent(LABELS, ["b", "a"]) == "a"
    assert most_frequent(LIST, ["zip; tent", "tent; zip", "mug", ""]) == "tent; zip", "in any order"
    assert most_frequent(LIST, ["", "", "mug"]) == ""


def test_each_field_of_an_object_has_its_most_frequent_value():
    form = AnswerForm("json", fields={"q": LABELS, "w": LIST})
    answers = ['{"q": "a", "w": ["x", "y"]}', '{"q": "b", "w": ["y", "x"]}', '{"q": "b", "w": []}', "not an object"]
    assert most_frequent(form, answers) == '{"q": "b", "w": ["x", "y"]}'
    assert most_frequent(form, ["nothing"]) == '{"q": "", "w": []}'


def test_a_copy_of_the_input_is_the_floor_of_a_text_where_it_is_better():
    metric, train = Metric("chrf", TEXT), rows(["thank you", "thank you"])
    copied = floor_of(metric, ["body"], train, rows(["the tent leaks"], ["the tent leaks!"]), 0.95)
    assert copied.floor.name == COPY and copied.predictions[0].answer == "the tent leaks!"
    canned = floor_of(metric, ["body"], train, rows(["thank you"], ["my order"]), 0.95)
    assert canned.floor.name == FREQUENT and canned.floor.score.value == 1.0
