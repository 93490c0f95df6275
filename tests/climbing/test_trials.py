import json
from dataclasses import replace

import pytest

from rungwise.cli import main as cli
from rungwise.climbing.trials import Trial, Trials, compare, sentences
from rungwise.core.errors import SettingsError
from rungwise.core.records import Interval
from rungwise.pipeline.stages import run_stage
from rungwise.report.trials import trials_text


def interval(value, half=0.05):
    return Interval(value, value - half, value + half, 100, 0.95)


def trial(method, family, score, difference=None, **more):
    defaults = {"trained": 1000, "share": 0.01, "peak_mib": 500.0, "seconds": 3.0, "latency": 1.0}
    return Trial(
        method, family, score=interval(score), difference=interval(difference) if difference is not None else None,
        **{**defaults, **more},
    )  # fmt: skip


TRIALS = Trials(
    "route", "accuracy", "bases/able", 30, 200, 100,
    (
        trial("full", "full", 0.82, 0.01, trained=100_000, peak_mib=1000.0),
        trial("lora", "reparametrisation", 0.81),
        trial("ia3", "addition", 0.6, -0.21),
        Trial("llama-adapter", "addition", 0, 0.0, 0.0, 0.0, None, None, None, "can't be used with this base"),
    ),
)  # fmt: skip


def test_the_sentences_name_clear_differences_and_compare_with_the_papers_claims():
    text = " ".join(sentences(TRIALS))
    assert "compared with LoRA, clearly better: nothing; clearly worse: ia3" in text
    assert "no clear difference from LoRA on these rows: full" in text
    assert "the paper 1 in 10,000; here 1 in 100" in text and "the paper a third; here 0.50" in text
    assert "here -0.010 (-0.060 to +0.040), no clear difference" in text
    text = trials_text(TRIALS)
    assert "100,000 (1.00%)" in text and "can't be used with this base" in text
    without = replace(TRIALS, trials=TRIALS.trials[1:])
    assert "add `full` to the methods" in " ".join(sentences(without))


@pytest.mark.slow
def test_each_method_runs_in_its_own_process_and_never_twice(workspace, monkeypatch, capsys):
    for verb in ("ingest", "validate", "split", "augment"):
        run_stage(workspace, verb)
    compared = compare(workspace, "route", ["prefix-tuning", "full"], base="bases/able", steps=4, rates={"lora": 1e-3})
    assert [t.method for t in compared.trials] == ["full", "lora", "prefix-tuning"]
    lora, full = compared.of("lora"), compared.of("full")
    assert lora.trained < full.trained and full.share == 1.0 and lora.difference is None and full.difference
    assert all(t.peak_mib > 100 and t.seconds > 0 and t.score for t in compared.trials)
    assert compared.of("prefix-tuning").latency is None and full.latency > 0
    from rungwise.attempts import run as attempts

    monkeypatch.setattr(attempts, "launched", lambda *a: pytest.fail("trained again"))
    monkeypatch.setenv("RUNGWISE_WORKSPACE", str(workspace))
    command = ["methods", "route", "--methods", "full,prefix-tuning", "--steps", "4", "--base", "bases/able"]
    capsys.readouterr()
    assert cli.main([*command, "--rate", "lora=1e-3"]) == 0
    table = capsys.readouterr().out
    assert table.startswith("route on bases/able: ") and "prefix-tuning" in table
    assert (workspace / ".rungwise/methods/route.svg").read_text().startswith("<svg")
    assert cli.main([*command, "--rate", "lora=1e-3", "--json"]) == 0
    again = {t["method"]: t for t in json.loads(capsys.readouterr().out)["trials"]}
    assert set(again) == {"lora", "full", "prefix-tuning"}
    assert again["full"]["score"]["value"] == full.score.value


@pytest.mark.parametrize(
    ("task", "methods"), [("other", ["lora"]), ("route", ["lorra"]), ("route", ["classical"]), ("route", [])]
)
def test_an_unknown_task_or_method_is_an_error(workspace, task, methods):
    with pytest.raises(SettingsError, match="no such task or method to compare"):
        compare(workspace, task, methods)
