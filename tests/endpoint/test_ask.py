"""Answers are paid for once, within a budget, and a server that fails is not asked again and again."""

import json
import threading
from dataclasses import replace

import pytest

from rungwise.config import IncumbentSettings
from rungwise.core.errors import SettingsError, WorkspaceError
from rungwise.endpoint.answers import MAX_CHARACTERS
from rungwise.endpoint.ask import MAX_FAILURES, answers_about, ask, cost_of, question
from rungwise.endpoint.client import Completion, Failure

GOOD = Completion("billing", "stop", "m", 1000, 100, 1100, True, 0.2)
PRICE = {"input": 1.0, "output": 10.0}


def settings(**values):
    return IncumbentSettings.model_validate(
        {"url": "http://localhost/v1", "model": "m", "consent": True, "concurrency": 1, **values}
    )


def questions(one, n=10):
    return [question(one, f"row-{i}", [{"role": "user", "content": f"text {i}"}]) for i in range(n)]


class Server:
    """Answers with `replies` in turn, then always with the last one; counts what it was asked."""

    def __init__(self, *replies):
        self.replies, self.seen, self.lock = list(replies), [], threading.Lock()

    def __call__(self, body):
        with self.lock:
            self.seen.append(body)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def asked(one, store, *replies, n=10, **more):
    server = Server(*replies)
    return ask(one, questions(one, n), store, lambda: server, lambda *_: None, **more), server


def never():
    raise AssertionError("nothing has to be asked")


def test_each_question_is_asked_once(tmp_path):
    one = settings(concurrency=4, price=PRICE)
    first, server = asked(one, tmp_path, GOOD)
    assert len(server.seen) == 10 and not first.missing and first.cost == pytest.approx(10 * 0.002)
    second = ask(one, questions(one), tmp_path, never, lambda *_: None)
    assert second == first  # also the cost, so that the budget ends at the same place


def test_another_model_setting_or_text_is_another_question(tmp_path):
    one = settings()
    keys = {
        q.key
        for other in (one, settings(model="n"), settings(temperature=1.0), settings(url="http://localhost/v2"),
                      settings(max_tokens_per_answer=9), settings(request={"top_p": 0.5}))
        for q in questions(other, 2)
    }  # fmt: skip
    assert len(keys) == 12
    assert questions(settings(concurrency=9, margin=0.5), 1)[0].key == questions(one, 1)[0].key


def test_fields_of_a_request_can_be_added_and_left_out():
    one = settings(request={"temperature": None, "reasoning_effort": "low"})
    assert questions(one, 1)[0].body == {
        "model": "m",
        "messages": [{"role": "user", "content": "text 0"}],
        "max_tokens": 512,
        "reasoning_effort": "low",
    }


def test_the_budget_is_never_exceeded_and_ends_the_asking(tmp_path):
    one = settings(price=PRICE, max_cost=0.01, max_tokens_per_answer=100, concurrency=4)
    result, server = asked(one, tmp_path, GOOD)
    assert result.cost <= 0.01 and result.stopped is None
    assert 0 < len(server.seen) == len(result.answers) < 10
    assert set(result.missing.values()) == {"over_budget"}
    again, server = asked(one, tmp_path, GOOD)
    assert again == result and not server.seen  # the next run stops at the same place


def test_what_other_tasks_cost_counts(tmp_path):
    one = settings(price=PRICE, max_cost=0.01)
    result, server = asked(one, tmp_path, GOOD, spent=0.01)
    assert not server.seen and result.cost == 0 and set(result.missing.values()) == {"over_budget"}


def test_a_lost_answer_counts_with_the_most_that_it_can_cost(tmp_path):
    one = settings(price=PRICE, max_tokens_per_answer=1000)
    lost, _ = asked(one, tmp_path, Failure("timed_out"), n=1)
    assert lost.cost == pytest.approx(0.01, rel=0.05)
    refused, _ = asked(one, tmp_path, Failure("http_500"), n=1)
    assert refused.cost == 0


def test_failures_are_counted_and_asked_again_by_the_next_run(tmp_path):
    one = settings()
    result, _ = asked(one, tmp_path, Failure("timed_out"), GOOD, Failure("http_500"), GOOD)
    assert result.missing == {"row-0": "timed_out", "row-2": "http_500"} and result.stopped is None
    again, server = asked(one, tmp_path, GOOD)
    assert len(server.seen) == 2 and not again.missing


def test_after_some_failures_in_a_row_nothing_more_is_asked(tmp_path):
    result, server = asked(settings(), tmp_path, GOOD, Failure("no_connection"))
    assert len(server.seen) == 1 + MAX_FAILURES and result.stopped == Failure("no_connection")
    assert list(result.missing.values()) == ["no_connection"] * MAX_FAILURES + ["not_asked"] * 4


def test_a_refusal_ends_the_asking_at_once(tmp_path):
    result, server = asked(settings(), tmp_path, Failure("http_401", "invalid_api_key"))
    assert len(server.seen) == 1 and result.stopped == Failure("http_401", "invalid_api_key")


def test_a_missing_key_loses_no_stored_answer(tmp_path):
    one = settings()
    asked(one, tmp_path, GOOD, n=3)

    def connect():
        raise SettingsError("no key")

    assert len(ask(one, questions(one, 3), tmp_path, connect, lambda *_: None).answers) == 3
    with pytest.raises(SettingsError, match="no key"):
        ask(one, questions(one, 4), tmp_path, connect, lambda *_: None)


def test_a_damaged_answer_is_asked_again(tmp_path):
    one = settings()
    asked(one, tmp_path, GOOD, n=2)
    for path, text in zip(sorted((tmp_path / "asked").iterdir()), ('{"half', '{"rows": []}'), strict=True):
        path.write_text(text)
    result, server = asked(one, tmp_path, GOOD, n=2)
    assert len(server.seen) == 2 and len(result.answers) == 2


def test_too_long_an_answer_is_cut_and_broken_text_is_repaired(tmp_path):
    long = replace(GOOD, content="x" * (MAX_CHARACTERS + 9))
    result, _ = asked(settings(), tmp_path, long, replace(GOOD, content="half \ud800"), n=2)
    assert len(result.answers["row-0"].content) == MAX_CHARACTERS and result.answers["row-0"].finish == "length"
    assert result.answers["row-1"].content == "half ?"


def test_a_store_that_is_full_ends_the_asking(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rungwise.endpoint.ask.os.fsync", full)
    with pytest.raises(WorkspaceError, match="(?s)can't be stored.*No space left"):
        asked(settings(), tmp_path, GOOD)
    assert not list((tmp_path / "asked").iterdir())


def test_an_error_in_the_client_is_not_lost_in_its_thread(tmp_path):
    def broken(body):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(settings(), questions(settings(), 2), tmp_path, lambda: broken, lambda *_: None)


def test_answers_are_found_by_their_rows(tmp_path):
    one = settings()
    asked(one, tmp_path, GOOD, n=2)
    same = [replace(q, row="other") for q in questions(one, 1)]
    ask(one, same, tmp_path, never, lambda *_: None)  # another row with equal text
    (name,) = answers_about(tmp_path, "row-0")
    assert answers_about(tmp_path, "other") == [name] and answers_about(tmp_path, "row-7") == []
    assert json.loads((tmp_path / name).read_text())["rows"] == ["row-0", "other"]
    (tmp_path / name).write_text("{")
    assert answers_about(tmp_path, "row-7") == [name]  # nobody knows whose it is


def test_costs_follow_the_prices():
    assert cost_of(settings(price=PRICE).price, 1_000_000, 100_000) == 2.0 and cost_of(None, 9, 9) == 0
