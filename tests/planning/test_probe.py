import itertools
import json
from dataclasses import replace

import pytest

from rungwise.cli import main as cli
from rungwise.climbing.rungs import spec_of
from rungwise.core.errors import TrainingError
from rungwise.planning import measure, probe
from rungwise.planning.machines import THIS, Machine, machines
from rungwise.planning.plan import plan_ladder
from rungwise.planning.probe import probed
from rungwise.planning.rows import padded_tokens
from rungwise.report.plan import duration, plan_text
from rungwise.training.batches import TokenRow, batches

CPU = Machine(THIS, "2 cores", None, 8 * 10**9, 1e11, 5e10, 1e10, None, None, device="cpu")


def run(root, settings, fits):
    said: list[str] = []
    result = probed(
        root, settings, fits, lambda r, t, labels: spec_of(settings, settings.tasks[t], r, labels), said.append
    )
    return result, said


def test_a_few_real_steps_are_compared_with_the_estimate(ready, settings, monkeypatch):
    fits = plan_ladder(ready, settings, [CPU, machines()["l4"]], machines())
    result, said = run(ready, settings, fits)
    assert [one.measured_seconds is not None for one in result] == [False, False, True, False]
    (one,) = [one for one in result if one.measured_seconds]
    assert one.machine == THIS and one.measured_steps == probe.MAX_STEPS and said == ["plan: 20 steps of route/rank-2"]
    assert 0 < one.measured_seconds < 60 and one.ratio == pytest.approx(one.seconds / one.measured_seconds)
    assert replace(one, measured_seconds=None, measured_steps=0) == fits[2]
    text = plan_text(result, [])
    assert (
        "Probed on this machine:" in text
        and f"by 20 real steps; estimated {duration(one.seconds)}, {one.ratio:.2f} times" in text
    )
    assert "Probed" not in plan_text(fits, [])


def test_the_measured_time_is_the_median_steps_over_all_tokens(ready, settings, monkeypatch):
    """With a clock that runs a millisecond for each padded token, and once stands still."""
    shown = []

    def train(lm, spec, rows, *, progress):
        for number, batch in enumerate(batches(rows, batch_size=spec.batch_size, steps=spec.steps, seed=spec.seed)):
            shown.append(padded_tokens(batch, spec.max_tokens_per_microbatch)[0])
            progress(number + 1, spec.steps, "")

    def now():
        return sum(n if i != 2 else 50 * n for i, n in enumerate(shown)) / 1000  # one step was disturbed

    monkeypatch.setattr(measure, "train", train)
    monkeypatch.setattr("rungwise.planning.measure.time.perf_counter", now)
    one = run(ready, settings, plan_ladder(ready, settings, [CPU], {}))[0][1]
    assert len(shown) == one.measured_steps + 1
    assert one.measured_seconds == pytest.approx(0.001 * one.lengths.mean_tokens * 16 * 20)


def test_how_many_steps_depends_on_how_long_one_is(ready, settings, monkeypatch):
    asked = []

    def one_second(*_, steps, tokens):
        asked.append(steps)
        return 1.0

    monkeypatch.setattr(measure, "seconds_per_token", one_second)
    (one,) = [one for one in plan_ladder(ready, settings, [CPU], {}) if one.rung == "rank-2"]
    run(ready, settings, [replace(one, seconds=seconds) for seconds in (1.0, 20.0, 20_000.0, None)])
    assert asked == [20, 10, 3, 3]


def test_a_rung_that_does_not_fit_or_runs_elsewhere_is_not_probed(ready, settings, monkeypatch):
    monkeypatch.setattr(measure, "seconds_per_token", lambda *_, **__: pytest.fail("it was probed"))
    for machine in (replace(CPU, memory_bytes=1000), machines()["l4"]):
        fits = plan_ladder(ready, settings, [machine], {})
        assert run(ready, settings, fits) == (fits, [])


def test_without_prepared_rows_random_ones_are_as_long_as_assumed(workspace, settings, monkeypatch):
    seen = []

    def one_second(lm, spec, rows, **_):
        seen.append(rows)
        return 1.0

    monkeypatch.setattr(measure, "seconds_per_token", one_second)
    run(workspace, settings, plan_ladder(workspace, settings, [CPU], {}, tokens=40))
    run(workspace, settings, plan_ladder(workspace, settings, [CPU], {}, tokens=40, answer_tokens=5))
    assert [{(row.length, len(row.answer)) for row in rows} for rows in seen] == [{(40, 32)}, {(40, 5)}]
    assert all(len(rows) == 16 for rows in seen)


def test_a_steps_tokens_are_counted_with_the_padding_of_each_microbatch():
    rows = [TokenRow((5,) * n, (7,) * m) for n, m in ((10, 2), (3, 1), (4, 4))]
    assert padded_tokens(rows, 10**6) == (3 * 12, 3 * 4)
    assert padded_tokens(rows, 16) == (2 * 8 + 12, 2 * 4 + 2)  # two short rows, then the long one


def test_a_failing_step_is_an_error(ready, settings, monkeypatch):
    def diverge(*_, **__):
        raise TrainingError("the training diverged")

    monkeypatch.setattr(measure, "train", diverge)
    with pytest.raises(TrainingError, match="diverged"):
        run(ready, settings, plan_ladder(ready, settings, [CPU], {}))


def test_the_command_probes_this_machine_in_addition_to_others(ready, monkeypatch, capsys):
    monkeypatch.setenv("RUNGWISE_WORKSPACE", str(ready))
    monkeypatch.setattr(measure, "this_machine", lambda: CPU)
    capsys.readouterr()
    assert cli.main(["plan", "--probe", "--machine", "l4", "--json"]) == 0
    fits = json.loads(capsys.readouterr().out)["fits"]
    assert [(one["rung"], one["machine"], one["ratio"] is not None) for one in fits] == [
        (rung, machine, rung == "rank-2" and machine == THIS)
        for rung, machine in itertools.product(("prompt", "rank-2"), (THIS, "l4"))
    ]
    assert cli.main(["plan", "--probe", "--config", "x"]) == 2
    assert "--probe with --config" in capsys.readouterr().err
