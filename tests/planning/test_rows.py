import json
from dataclasses import replace

import pytest

from rungwise.climbing.rungs import task_climb
from rungwise.config import load as load_settings
from rungwise.core.folders import write_folder
from rungwise.core.prompts import prompt_text
from rungwise.core.records import Base, to_lines
from rungwise.model import language_model as models
from rungwise.planning import rows as planning_rows
from rungwise.planning.check import check_ladder
from rungwise.planning.machines import THIS, Machine, machines
from rungwise.planning.plan import plan_ladder
from rungwise.planning.rows import Lengths, ladder_lengths, prepared
from rungwise.report.plan import plan_text, rows_texts
from tests.conftest import examples

CPU = Machine(THIS, "2 cores", None, 8 * 10**9, 1e11, 5e10, 1e10, None, None, device="cpu")


def lengths_by_hand(root, settings):
    """Longest row, mean without padding and longest answer, from the loaded model and every row."""
    lm = models.load(Base("bases/able"), root)
    train = list(task_climb(root, settings, "route").train)
    prompts = models.encode_prompts(lm, [prompt_text(settings.tasks["route"].prompt, e.fields) for e in train])
    answers = models.encode_answers(lm, [e.answer for e in train])
    sizes = [len(p) + len(a) for p, a in zip(prompts, answers, strict=True)]
    return len(train), max(sizes), sum(sizes) / len(sizes), max(map(len, answers))


def test_prepared_rows_are_measured_with_the_rungs_own_tokenizer(ready, settings):
    n, longest, mean, answer = lengths_by_hand(ready, settings)
    result = ladder_lengths(ready, settings)["rank-2"]["route"]
    assert (result.rows, result.rows_read, result.tokens, result.answer_tokens) == (n, n, longest, answer)
    assert result.unpadded_tokens == pytest.approx(mean) and mean < result.mean_tokens < 1.2 * mean < longest
    assert 0 < result.mean_answer_tokens <= answer and result.labels == 4 and result.too_long == 0
    shown = ladder_lengths(ready, settings)["prompt"]["route"]
    assert shown.tokens > result.tokens + 2 * 8  # two solved examples stand before the question


def test_of_many_rows_a_sample_and_the_longest_are_read(ready, settings, monkeypatch):
    whole = ladder_lengths(ready, settings)["rank-2"]["route"]
    monkeypatch.setattr(planning_rows, "SAMPLE", 40)
    monkeypatch.setattr(planning_rows, "LONGEST", 12)
    some = ladder_lengths(ready, settings)["rank-2"]["route"]
    assert 40 < some.rows_read <= 52 < some.rows == whole.rows and some.tokens == whole.tokens
    assert some.unpadded_tokens == pytest.approx(whole.unpadded_tokens, rel=0.1)  # the longest do not weigh in the mean
    fits = plan_ladder(ready, settings, [CPU], machines())
    assert (
        f"measured on {whole.rows} prepared rows ({some.rows_read} of them read, including the longest)"
        in plan_text(fits, [])
    )


def test_rows_that_exceed_the_context_do_not_count(ready, settings):
    long = replace(examples(1)[0], fields={"body": "parcel " * 400})
    folder = ready / "data" / "augment"
    text = (folder / "route" / "train.jsonl").read_text() + to_lines([long])

    def write(part):
        (part / "route").mkdir()
        (part / "route/train.jsonl").write_text(text)

    write_folder(folder, write)
    result = ladder_lengths(ready, settings)["rank-2"]["route"]
    assert result.too_long == 1 and result.tokens < 256
    assert any("1 exceed the base's context" in line for line in rows_texts(plan_ladder(ready, settings, [CPU], {})))


def test_the_longest_row_decides_memory_and_the_mean_decides_time(ready, settings):
    measured = plan_ladder(ready, settings, [CPU], machines())[1]
    by_longest = plan_ladder(ready, settings, [CPU], machines(), tokens=measured.lengths.tokens)[1]
    assert measured.need == by_longest.need and measured.tokens == by_longest.tokens == measured.lengths.tokens
    ratio = measured.lengths.mean_tokens / measured.lengths.tokens
    assert measured.seconds / by_longest.seconds == pytest.approx(ratio, rel=0.1) and ratio < 0.9
    assert (measured.task, measured.rung) == ("route", "rank-2")


def test_lengths_given_by_the_caller_replace_measured_ones(ready, settings):
    result = plan_ladder(ready, settings, [CPU], machines(), tokens=99)[1]
    assert result.tokens == 99 and result.lengths.mean_tokens == 99 and result.answer_tokens < 9
    assert any("99 tokens per row as given" in text for text in rows_texts([result]))
    result = plan_ladder(ready, settings, [CPU], machines(), tokens=99, answer_tokens=9)[1]
    assert (result.tokens, result.answer_tokens, result.task) == (99, 9, "")
    assert rows_texts([result]) == ["as given: 99 tokens per row, 9 of them the answer"]
    result = plan_ladder(ready, settings, [CPU], machines(), answer_tokens=9)[1]
    assert result.answer_tokens == 9 and any("9 per answer as given" in text for text in rows_texts([result]))


def test_a_shared_prefix_is_planned_once(ready, settings):
    path = ready / "params.yaml"
    head = "Sort the mail of a customer into one of the queues that stand below."
    whole = path.read_text().replace('"{body}', f'"{head} {{body}}')
    path.write_text(whole)
    (one,) = (f for f in plan_ladder(ready, load_settings(path), [CPU], machines()) if f.rung == "rank-2")
    assert 32 < one.lengths.shared_tokens < one.tokens
    assert f"a shared prefix of {one.lengths.shared_tokens} tokens is read once" in plan_text([one], [])
    for setting in ("compiled: true", "launch: [torchrun]", "checkpointing: true"):
        path.write_text(whole.replace("train: {", f"train: {{{setting}, "))
        (alone,) = (f for f in plan_ladder(ready, load_settings(path), [CPU], machines()) if f.rung == "rank-2")
        assert alone.seconds > 1.5 * one.seconds, setting
    result = plan_ladder(ready, settings, [CPU], machines())[1]
    assert result.lengths.shared_tokens == 0 and "shared prefix" not in plan_text([result], [])


@pytest.mark.parametrize("harm", ["no rows", "changed", "no base", "slot", "no context"])
def test_lengths_that_cant_be_measured_are_assumed_with_a_reason(ready, settings, harm):
    reasons = {
        "no rows": "not prepared",
        "changed": "were changed",
        "no base": "not on this machine",
        "slot": "don't have subject",
    }
    if harm == "no rows":
        (ready / "data" / "augment" / "route" / "train.jsonl").unlink()
    elif harm == "changed":
        with (ready / "data" / "augment" / "route" / "train.jsonl").open("a") as file:
            file.write("{}\n")
    elif harm == "no base":
        (ready / "bases" / "able" / "tokenizer.json").unlink()
    elif harm == "slot":
        path = ready / "params.yaml"
        text = path.read_text().replace("{body}\\nQueue", "{body} {subject}\\nQueue")
        path.write_text(text.replace("per_label: 30", "per_label: 30, field: body"))
        settings = load_settings(path)
    else:
        path = ready / "bases" / "able" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"max_position_embeddings": 4}))
    result = ladder_lengths(ready, settings)["rank-2"]
    assert set(result) == {""} and result[""].tokens == 512 and result[""].rows is None
    assert reasons.get(harm, "fits the context of 4 tokens") in result[""].reason
    if harm != "no context":
        text = plan_text(plan_ladder(ready, settings, [CPU], machines()), [])
        assert f"assumed ({result[''].reason}): 512 tokens per row, 32 of them the answer" in text


def test_a_hub_base_is_measured_only_if_it_is_on_this_machine(ready, settings, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    path = ready / "params.yaml"
    path.write_text(path.read_text().replace("bases/able", "some/model@" + "0" * 40))
    result = ladder_lengths(ready, load_settings(path))["rank-2"]
    assert result[""].reason.startswith("the base is not on this machine")


def test_the_check_before_a_climb_uses_the_measured_rows(ready, settings):
    needed = max(one.need.total for one in plan_ladder(ready, settings, [CPU], {}))
    assert not check_ladder(ready, settings, replace(CPU, memory_bytes=needed + 1), {})
    assumed = max(one.need.total for one in plan_ladder(ready, settings, [CPU], {}, tokens=256, answer_tokens=32))
    assert assumed > 1.5 * needed


def test_a_task_without_a_sealed_folder_has_no_prepared_rows(workspace):
    assert prepared(workspace, "route") is None and Lengths().rows is None
