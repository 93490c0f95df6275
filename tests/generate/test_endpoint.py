"""The endpoint against a real server process, and against one with every fault."""

import json

import pytest

from rungwise.config import EndpointSettings
from rungwise.core.errors import GenerateError, SettingsError
from rungwise.core.folders import read_lines
from rungwise.generate.endpoint import Endpoint
from rungwise.generate.queries import Query
from tests.chat_server import chat_server, closed_port, transformers_serve
from tests.conftest import examples

QUERY = Query("billing", tuple(examples(3)), 2, 7)
GOOD = json.dumps({"choices": [{"message": {"content": '["one", "two"]'}}], "usage": {"total_tokens": 12}}).encode()


@pytest.fixture
def server():
    """A server that answers with what stands in `script`; see `chat_server`."""
    with chat_server((200, {}, GOOD)) as (url, script, seen):
        yield url, script, seen


def endpoint(tmp_path, url, **settings):
    values = {"url": url, "model": "m", "consent": True, "backoff_seconds": 0.0, "retries": 2, "timeout_seconds": 1.0}
    return Endpoint(EndpointSettings.model_validate({**values, **settings}), "body", tmp_path / "journal.jsonl")


def test_without_consent_no_row_is_sent(tmp_path, server):
    with pytest.raises(SettingsError, match=r"(?s)would be sent to a server.*augment\.endpoint\.consent"):
        endpoint(tmp_path, server[0], consent=False)
    assert not server[2]


def test_an_answer_is_paid_for_once_even_after_a_kill(tmp_path, server, monkeypatch):
    url, _, seen = server
    monkeypatch.setenv("KEY", "secret")
    assert endpoint(tmp_path, url, key_env="KEY")(QUERY).texts == ("one", "two")
    assert seen[0][1]["Authorization"] == "Bearer secret"
    assert "billing" in seen[0][0]["messages"][0]["content"]
    with (tmp_path / "journal.jsonl").open("a") as stream:
        stream.write('{"key": "half')  # killed while it was writing
    again = endpoint(tmp_path, url)
    assert again(QUERY).texts == ("one", "two") and len(seen) == 1
    assert again(Query("billing", QUERY.examples, 2, 8)).texts == ("one", "two") and len(seen) == 2
    assert len(list(read_lines(tmp_path / "journal.jsonl"))) == 2
    assert "secret" not in (tmp_path / "journal.jsonl").read_text()
    monkeypatch.delenv("KEY")
    with pytest.raises(SettingsError, match="no environment variable KEY"):
        endpoint(tmp_path, url, key_env="KEY")


@pytest.mark.parametrize(
    "faults",
    [
        [(429, {"Retry-After": "0"}, b""), (200, {}, GOOD)],
        [(500, {}, b"oops"), (503, {}, b""), (200, {}, GOOD)],
        [("slow", {}, GOOD), (200, {}, GOOD)],
    ],
)
def test_temporary_failures_are_retried(tmp_path, server, faults):
    server[1][:] = faults
    assert endpoint(tmp_path, server[0])(QUERY).texts == ("one", "two")
    assert len(server[2]) == len(faults)


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ((500, {}, b"oops"), "http_500"),
        ((429, {}, b""), "http_429"),
        (("slow", {}, GOOD), "timed_out"),
        (("cut", {}, b""), "cut_off|no_connection|no_completion"),
        ((200, {}, b"<html>welcome</html>"), "no_completion"),
        ((200, {}, b"[" * 100_000), "no_completion"),
        ((200, {}, b'{"choices": []}'), "no_completion"),
        ((200, {}, b'{"choices": [{"message": {"content": null}}]}'), "no_completion"),
        ((200, {}, b'{"choices": [{"message": {"content": "sorry, no"}}]}'), "not_json"),
        ((200, {}, b"x" * 10_000_002), "too_large"),
        ((200, {"Content-Encoding": "gzip"}, GOOD), "cut_off|no_connection|no_completion"),
    ],
)
def test_permanent_failures_are_counted_and_not_written_to_the_journal(tmp_path, server, fault, failure):
    server[1][:] = [fault]
    reply = endpoint(tmp_path, server[0], retries=1)(QUERY)
    assert not reply.texts and reply.failure in failure.split("|")
    assert not (tmp_path / "journal.jsonl").exists()


def test_an_unusable_answer_is_requested_again(tmp_path, server):
    server[1][:] = [(200, {}, b'{"choices": [{"message": {"content": "sorry"}}]}'), (200, {}, GOOD)]
    assert endpoint(tmp_path, server[0])(QUERY).failure == "not_json"
    assert endpoint(tmp_path, server[0])(QUERY).texts == ("one", "two") and len(server[2]) == 2
    # one that an earlier version wrote down is not believed either
    (entry,) = read_lines(tmp_path / "journal.jsonl")
    (tmp_path / "journal.jsonl").write_text(json.dumps({**entry, "content": "sorry"}) + "\n")
    assert endpoint(tmp_path, server[0])(QUERY).texts == ("one", "two") and len(server[2]) == 3


def test_a_refusal_or_a_spent_budget_stops_the_generator(tmp_path, server):
    server[1][:] = [(401, {}, b"who are you")]
    with pytest.raises(GenerateError, match=r"refuses with HTTP 401\n.*key_env"):
        endpoint(tmp_path, server[0])(QUERY)
    server[1][:] = [(200, {}, GOOD)]
    few = endpoint(tmp_path, server[0], max_tokens=12)
    few(QUERY)
    with pytest.raises(GenerateError, match=r"1 of 1000 requests, 12 of 12 tokens"):
        few(Query("billing", QUERY.examples, 2, 9))
    assert few(QUERY).texts == ("one", "two")  # what was paid for is still there


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(tmp_path, server, status):
    with chat_server((200, {}, GOOD)) as (other, _, seen):
        server[1][:] = [(status, {"Location": other + "/chat/completions"}, b"")]
        with pytest.raises(GenerateError, match=rf"refuses with HTTP {status}\n.*a redirect is not followed"):
            endpoint(tmp_path, server[0])(QUERY)
    assert len(server[2]) == 1 and not seen  # the rows go nowhere else


def test_more_texts_than_were_requested_are_not_read(tmp_path, server):
    server[1][:] = [(200, {}, json.dumps({"choices": [{"message": {"content": json.dumps(["x"] * 1000)}}]}).encode())]
    assert endpoint(tmp_path, server[0])(QUERY).texts == ("x", "x")


@pytest.mark.parametrize(
    "body", [b'{"choices": [{"message": {"content": null}}], "usage": {"total_tokens": -9}}', b"?"]
)
def test_an_answer_without_texts_counts_in_the_budget(tmp_path, server, body):
    server[1][:] = [(200, {}, body)]
    few = endpoint(tmp_path, server[0], max_tokens=10)
    assert few(QUERY).failure == "no_completion"
    with pytest.raises(GenerateError, match="budget is spent"):
        few(QUERY)


def test_an_unreachable_server_is_a_counted_failure(tmp_path):
    assert endpoint(tmp_path, f"http://127.0.0.1:{closed_port()}/v1", retries=0)(QUERY).failure == "no_connection"


def test_a_real_server_is_understood(tmp_path, base_folder):
    """`transformers serve` with a model of random weights: its answers are no JSON."""
    with transformers_serve(base_folder, tmp_path) as (url, model, log):
        chat = endpoint(tmp_path, url, model=model, timeout_seconds=60.0, max_tokens_per_request=20)
        reply = chat(QUERY)
        assert reply.failure == "not_json", (reply, log.read_text()[-3000:])
    assert chat._tokens > 0 and not (tmp_path / "journal.jsonl").exists()
