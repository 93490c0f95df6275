"""The incumbent on a workspace with a ladder, against a server in this process that knows the task."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from rungwise.cli import main as cli
from rungwise.climbing.incumbent import ask_incumbent, compare_incumbent, incumbent_lines, read_incumbent
from rungwise.config import PriceSettings
from rungwise.core.decisions import reason_from_json
from rungwise.core.errors import SettingsError
from rungwise.core.folders import read_lines
from rungwise.core.records import AnswerForm, Prediction, to_json
from rungwise.core.words import sentence_of
from rungwise.evidence.metrics import Metric
from rungwise.pipeline import steps
from rungwise.pipeline.stages import run_stage
from rungwise.report.read import explain, explain_json, status, status_json
from rungwise.report.text import explain_text, header, ladder_rows, status_text
from rungwise.workspace.layout import settings_of
from tests.chat_server import Reply, chat_server, closed_port, completion, transformers_serve
from tests.conftest import KEYWORDS, write_workspace

LADDER = "  - {name: classical, method: classical}\n"
METRIC = Metric("accuracy", AnswerForm("label"))


def knowing(body):
    """Answers as a model that knows the task, in a sentence."""
    text = body["messages"][-1]["content"]
    return 200, {}, completion(f"The label is {next(KEYWORDS[k] for k in KEYWORDS if k in text).title()}.")


@pytest.fixture(scope="module")
def climbed(tmp_path_factory, base_folder):
    root = write_workspace(tmp_path_factory.mktemp("incumbent") / "ws", base_folder, ladder=LADDER, target=0.5)
    for verb in ("ingest", "validate", "split", "augment", "climb"):
        run_stage(root, verb)
    return root


@pytest.fixture
def server():
    with chat_server(knowing) as running:
        yield running


@pytest.fixture
def root(climbed, monkeypatch):
    """The climbed workspace without what an earlier test asked."""
    params = climbed / "params.yaml"
    before = params.read_text()
    yield climbed
    params.write_text(before)


def with_incumbent(root, url, **settings):
    values = {"url": url, "model": "big", "consent": True, "retries": 0, "timeout_seconds": 5.0, **settings}
    params = root / "params.yaml"
    params.write_text(params.read_text().partition("incumbent:")[0] + f"incumbent: {json.dumps(values)}\n")
    return root


def test_the_incumbent_is_asked_once_and_compared_in_pairs(root, server):
    url, _, seen = server
    with_incumbent(root, url, price={"input": 2.0, "output": 8.0, "machine_hour": 0.5})
    asked = ask_incumbent(root)["route"]
    dev = list(read_lines(root / "data/split/route/dev.jsonl"))
    assert asked.rows == asked.answered == len(dev) and asked.name.startswith("big at 127.0.0.1:")
    assert asked.flaws == {} and asked.answered_by == ("m",) and asked.stopped == ""
    # two rows may have equal texts: one question
    assert len(seen) <= len(dev) and len(os.listdir(root / "data/attempts/asked")) == len({str(b) for b, _ in seen})
    assert ask_incumbent(root)["route"] == asked and len(seen) <= len(dev)

    one = status(root).tasks["route"]
    today = one.incumbent
    assert today.score.value == 1.0 and today.score.n == len(dev)
    compared = today.compared["classical"]
    assert compared.difference.n == len(dev) and compared.difference.value == one.evidence[0].score.value - 1
    assert compared.incumbent_cost == pytest.approx(1000 * (40 * 2 + 2 * 8) / 1e6)
    speed = one.speeds["classical"]
    assert 0 < speed.median_seconds < 1 and compared.cost == pytest.approx(speed.median_seconds * 1000 * 0.5 / 3600)
    assert reason_from_json(json.loads(json.dumps(to_json(compared)))) == compared


def test_the_table_has_columns_for_what_is_known(root, server):
    alone = status(root).tasks["route"]
    assert header(alone)[-2:] == ("ms/answer", "verdict")
    assert [row[0] for row in ladder_rows(alone)] == ["floor", "classical"]
    with_incumbent(root, server[0], price={"input": 2.0, "output": 8.0})
    ask_incumbent(root)
    one = status(root).tasks["route"]
    assert header(one)[-4:] == ("minus incumbent", "ms/answer", "cost/1,000", "verdict")
    _, rung, today = ladder_rows(one)
    assert rung[-2] == "" and " to " in rung[-4]  # no price of a machine, so no cost of a rung
    assert today[:2] == ("incumbent", "endpoint") and today[2].startswith("1.000 (") and today[-2] == "0.096 USD"
    assert today[-1] == "what you use today" and len(rung) == len(today) == len(header(one))
    text = status_text(status(root))
    assert "classical minus it, paired on" in text and "what you use today (big at" in text
    explained = explain(root)
    assert "median time of an answer" in explain_text(explained) and "classical minus it" in explain_text(explained)
    for found in (status_json(status(root))["tasks"], explain_json(explained)):
        figures = json.loads(json.dumps(found))["route"]["incumbent"]
        assert figures["compared"]["classical"]["code"] == "incumbent_compared"
        assert "what you use today" in figures["compared"]["classical"]["sentence"]


def test_answers_about_other_rows_or_settings_are_not_shown(root, server):
    with_incumbent(root, server[0])
    ask_incumbent(root)
    assert read_incumbent(root, settings_of(root), "route")
    with_incumbent(root, server[0], max_rows=7)
    assert status(root).tasks["route"].incumbent is None
    assert ask_incumbent(root)["route"].rows == 7 and status(root).tasks["route"].incumbent.score.n == 7
    with_incumbent(root, server[0], max_rows=7, concurrency=1, margin=0.2)  # decides nothing that is asked
    assert status(root).tasks["route"].incumbent.compared["classical"].margin == 0.2


def test_an_own_prompt_and_examples_are_sent(root, server):
    _, _, seen = server
    with_incumbent(root, server[0], max_rows=1, prompts={"route": "Where does this go? {body}"}, examples=3)
    ask_incumbent(root)
    (message,) = seen[-1][0]["messages"]
    assert message["content"].startswith("Where does this go? ")
    with_incumbent(root, server[0], max_rows=1, examples=3)
    ask_incumbent(root)
    assert [m["role"] for m in seen[-1][0]["messages"]] == ["system", *["user", "assistant"] * 3, "user"]
    assert '"account", "billing", "delivery", "repair"' in seen[-1][0]["messages"][0]["content"]


def test_nonsense_counts_as_wrong_and_failures_as_not_scored(root):
    replies: Iterator[Reply] = iter(
        [
            (200, {}, completion("I'm sorry, I can't.")),
            (200, {}, completion(None)),
            (500, {}, b"oops"),
            (200, {}, b"<html>"),
            (200, {}, completion("x" * 50_000)),
        ]
    )
    with chat_server(lambda body: next(replies)) as (url, _, _):
        with_incumbent(root, url, max_rows=5, concurrency=1)
        one = ask_incumbent(root)["route"]
        assert one.flaws == {"empty": 1, "not_a_label": 2} and one.unscored == {"http_500": 1, "no_completion": 1}
        today = status(root).tasks["route"].incumbent
        assert today.score.value == 0 and today.score.n == 3
        (line,) = incumbent_lines({"route": one}, None)
        assert "answered 3 of 5 validation rows (http_500: 1, no_completion: 1)" in line
        assert "count as wrong: empty: 1, not_a_label: 2" in line
        assert "The incumbent answered 3 of 5 rows" in status_text(status(root))
        predictions = list(read_lines(root / "data/incumbent/route/predictions.jsonl"))
        assert predictions[0]["answer"] == "I'm sorry, I can't." and predictions[4]["is_cut"]
        assert (root / "data/incumbent/.gitignore").read_text() == "*\n"


def test_a_server_that_refuses_does_not_end_a_run(root, monkeypatch):
    with_incumbent(root, f"http://127.0.0.1:{closed_port()}/v1", concurrency=1)
    (line,) = steps.incumbent(root)
    assert "answered 0 of" in line and "check that it runs, and `incumbent.url`" in line and "not_asked" in line
    assert status(root).tasks["route"].incumbent.score is None
    assert ladder_rows(status(root).tasks["route"])[-1][2] == "not answered"
    with chat_server((401, {}, b'{"error": {"code": "invalid_api_key"}}')) as (url, _, seen):
        with_incumbent(root, url, concurrency=1)
        (line,) = steps.incumbent(root)
        assert len(seen) == 1 and "http_401 (invalid_api_key): it refuses the key" in line
    monkeypatch.delenv("RUNGWISE_TEST_KEY", raising=False)
    with_incumbent(root, url, key_env="RUNGWISE_TEST_KEY")
    assert "warning: the incumbent was not asked: the endpoint's key is missing" in steps.incumbent(root)[0]


def test_the_key_is_in_no_file_and_rows_are_redacted(tmp_path, base_folder, monkeypatch, capsys):
    root = write_workspace(tmp_path / "ws", base_folder, rows=60, ladder=LADDER)
    raw = root / "data/raw/tickets.csv"
    raw.write_text(raw.read_text().replace("parcel", "parcel ann@example.com"))
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("min_rows: 20", "min_rows: 5"))
    for verb in ("ingest", "validate", "split", "augment"):
        run_stage(root, verb)
    monkeypatch.setenv("RUNGWISE_TEST_KEY", "sk-very-secret")
    monkeypatch.setenv("RUNGWISE_WORKSPACE", str(root))
    with chat_server(knowing) as (url, _, seen):
        with_incumbent(root, url, key_env="RUNGWISE_TEST_KEY")
        assert cli.main(["incumbent"]) == 0
        assert "1 row was redacted" in capsys.readouterr().out
        assert all(headers["Authorization"] == "Bearer sk-very-secret" for _, headers in seen)
        assert "ann@example.com" not in json.dumps([body for body, _ in seen])
        assert "[EMAIL]" in json.dumps([body for body, _ in seen])
        assert cli.main(["incumbent", "--json"]) == 0
        figures = json.loads(capsys.readouterr().out)["route"]
        assert figures["redacted"] > 0 and figures["unscored"] == {}
    assert not [p for p in root.rglob("*") if p.is_file() and b"sk-very-secret" in p.read_bytes()]


def test_without_consent_or_section_nothing_is_sent(root, server, monkeypatch, capsys):
    with pytest.raises(SettingsError, match="does not name an incumbent"):
        ask_incumbent(root)
    with_incumbent(root, server[0], consent=False, model="unheard")
    with pytest.raises(SettingsError, match="validation rows would be sent"):
        ask_incumbent(root)
    with_incumbent(root, server[0], consent=False, model="unheard", examples=2)
    with pytest.raises(SettingsError, match="validation rows and 2 training rows would be sent"):
        ask_incumbent(root)
    monkeypatch.setenv("RUNGWISE_WORKSPACE", str(root))
    assert cli.main(["incumbent"]) == 2 and "incumbent.consent" in capsys.readouterr().err
    assert not server[2]


def test_a_command_that_gets_no_answer_fails(root, monkeypatch):
    with_incumbent(root, f"http://127.0.0.1:{closed_port()}/v1", model="absent")
    monkeypatch.setenv("RUNGWISE_WORKSPACE", str(root))
    assert cli.main(["incumbent"]) == 1


def answers(right, n, start=0):
    return [Prediction(f"r{i}", f"g{i}", "a", "a" if i < right else "b") for i in range(start, n)]


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome", "says"),
    [
        (answers(300, 300), answers(250, 300), "better", "is clearly better than what you use today"),
        (answers(270, 300), answers(270, 300), "as_good", "is as good as what you use today"),
        (answers(200, 300), answers(270, 300), "worse", "is clearly worse than what you use today"),
        (answers(18, 20), answers(18, 20), "not_shown", "These rows can't show that small is as good as"),
        (answers(5, 10), answers(10, 20, 10), "nothing_in_common", "no row was scored by both"),
    ],
)
def test_as_good_means_that_the_lower_end_is_above_minus_the_margin(ours, theirs, outcome, says):
    one = compare_incumbent(METRIC, 0.03, 0.95, "small", ours, "big at host", theirs)
    assert one.outcome == outcome and says in sentence_of(one)


def test_the_verdict_names_the_fraction_of_the_cost():
    one = compare_incumbent(METRIC, 0.03, 0.95, "small", answers(270, 300), "big at host", answers(270, 300))
    priced = replace(one, cost=0.0124, incumbent_cost=1.1, currency="EUR")
    assert sentence_of(priced).startswith(
        "small is as good as what you use today (big at host) at 1.1% of the cost "
        "(0.012 EUR for 1,000 answers in place of 1.10 EUR). small minus it, paired on 300 rows: +0.000 (-0.0"
    )
    assert sentence_of(priced).endswith("the lower end is above -0.03 (`incumbent.margin`).")
    assert "at less than 0.1% of the cost (0.00012 EUR" in sentence_of(replace(priced, cost=0.000124))
    dearer = sentence_of(replace(priced, cost=2.5))
    assert "of the cost" not in dearer and "(2.50 EUR for 1,000 answers in place of 1.10 EUR)" in dearer
    worse = sentence_of(replace(priced, outcome="worse"))
    assert "of the cost" not in worse


def test_costs_are_of_the_tokens_that_were_used(root, server):
    with_incumbent(root, server[0])
    one = ask_incumbent(root)["route"]
    assert one.cost_per_1000(None) is None
    assert one.cost_per_1000(PriceSettings(input=1.0, output=0.0)) == pytest.approx(0.04)


@pytest.mark.slow
def test_a_real_server_is_asked(root, base_folder, tmp_path):
    """`transformers serve` with a model of random weights, which hardly names a label."""
    with transformers_serve(base_folder, tmp_path) as (url, model, log):
        with_incumbent(root, url, model=model, timeout_seconds=60.0, max_rows=3, max_tokens_per_answer=8)
        one = ask_incumbent(root)["route"]
        assert one.answered == 3, log.read_text()[-3000:]
    assert (
        set(one.flaws) <= {"not_a_label", "empty"}
        and one.is_counted
        and one.input_tokens > 3
        and one.output_tokens <= 24
    )
    assert one.median_seconds > 0 and status(root).tasks["route"].incumbent.score.n == 3
