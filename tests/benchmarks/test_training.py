"""Parts of the training benchmark: our trainer on real rows, the floor, the figures; TRL where it is installed."""

import pytest

from benchmarks import reading, training


@pytest.fixture(scope="module")
def folder(shared, tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "base"
    path.mkdir()
    training.make_base(path, shared)
    training.make_rows(path, shared)
    return path


def test_rows_have_the_documented_lengths(folder):
    for kind, n_answer in training.ANSWERS.items():
        rows = training.read_rows(folder, kind, training.ROWS)
        assert len(rows) == training.ROWS and all(answer[-1] == 0 for _, answer in rows)
        mean = sum(len(prompt) for prompt, _ in rows) / len(rows)
        n_shared = training.SHARED.get(kind, 0)
        assert (
            len({tuple(prompt[:n_shared]) for prompt, _ in rows}) == 1 < len({prompt[n_shared] for prompt, _ in rows})
        )
        assert abs(mean - n_shared - training.PROMPT_TOKENS) < 2 and max(len(a) for _, a in rows) == n_answer


def test_our_trainer_counts_every_token_and_the_loss_falls(folder):
    rows = training.read_rows(folder, "short", 8)
    measured = training.train_rungwise(folder, rows, 4)
    assert measured["tokens"] == 4 * sum(len(p) + len(a) for p, a in rows) and len(measured["ends"]) == 5
    assert measured["targets"] == 4 * sum(len(a) for _, a in rows) and measured["losses"][-1] < measured["losses"][0]


def test_trl_has_the_same_losses(folder):
    pytest.importorskip("trl", reason="TRL is in the extra `bench`")
    rows = training.read_rows(folder, "short", 8)
    ours = training.train_rungwise(folder, rows, 2)
    theirs = training.train_trl(folder, rows, 2, is_packed=False)
    assert theirs["targets"] == ours["targets"]
    assert theirs["losses"] == pytest.approx(ours["losses"], abs=1e-3)


@pytest.mark.parametrize("kind", ["short", "instructed"])
def test_mails_get_the_same_answers_as_row_by_row(monkeypatch, kind):
    monkeypatch.setattr(reading, "READ", 5)
    ratios = reading.of_mails(kind, 2)
    assert ratios["labels_same"] == ratios["writing_same"] == 1.0 < ratios["labels_times_as_fast_as_one_by_one"]


def test_the_floor_grows_with_the_answers():
    short, long = ([[[1] * 90, [1] * n]] for n in (4, 90))
    assert 0 < training.floor_operations(short) < training.floor_operations(long)
    assert training.floor_operations(short * 32, 60) < 0.5 * training.floor_operations(short * 32)
    assert training.matrix_rate(64) > 1e8


def test_figures_name_goals_and_whether_they_are_met():
    run = {"tokens_per_second": 100.0, "peak_mib": 100.0, "share_of_floor": 0.5}
    names = ("trl plain", "trl packed", training.HALF)
    peers = {name: {"tokens_per_second": 20.0, "peak_mib": 500.0} for name in names}
    detail = {
        "kinds": {"short": {"rungwise": run, **peers, "loss_difference": 1e-4}},
        "reading": {"writing_times_as_fast": 4.0},
    }
    figures = training.figures(detail)
    assert figures["short: times as fast"].value == 5.0 and figures["short: times as fast"].met
    assert figures["short: share of memory"].met and figures["writing times as fast"].met is False
