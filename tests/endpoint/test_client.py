"""The client against a server in this process, with every fault, and what never shows up in an error."""

import json
import time

import pytest

from rungwise.config import ServerSettings
from rungwise.core.errors import SettingsError
from rungwise.endpoint import client as module
from rungwise.endpoint.client import Client, Completion, Failure
from tests.chat_server import Reply, chat_server, closed_port, completion

GOOD: Reply = (200, {}, completion("billing"))
BODY = {"model": "m", "messages": [{"role": "user", "content": "my refund"}]}


@pytest.fixture
def server():
    with chat_server(GOOD) as running:
        yield running


def client(url, **settings):
    values = {"url": url, "model": "m", "consent": True, "backoff_seconds": 0.0, "retries": 1, "timeout_seconds": 1.0}
    return Client(ServerSettings.model_validate({**values, **settings}), "incumbent", "validation rows")


def test_an_answer_has_its_text_tokens_and_time(server):
    url, _, seen = server
    answer = client(url)(BODY)
    assert isinstance(answer, Completion) and 0 < answer.seconds < 5
    assert (answer.content, answer.finish, answer.model) == ("billing", "stop", "m")
    assert (answer.input_tokens, answer.output_tokens, answer.is_counted) == (40, 2, True)
    assert seen[0][0] == BODY and "Authorization" not in seen[0][1]


def test_tokens_are_estimated_where_the_server_does_not_count_them(server):
    server[1][:] = [(200, {}, completion("a refund", usage=None))]
    answer = client(server[0])(BODY)
    assert answer.output_tokens == 2 and answer.input_tokens == len(json.dumps(BODY)) // 4 and not answer.is_counted


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ((500, {}, b"oops"), "http_500"),
        ((429, {}, b""), "http_429"),
        (("slow", {}, GOOD[2]), "timed_out"),
        (("drip", {}, GOOD[2]), "timed_out"),
        (("drip-headers", {}, b""), "timed_out"),
        (("drip-chunks", {}, b""), "timed_out"),
        (("cut", {}, b""), "cut_off"),
        ((200, {}, b"<html>welcome</html>"), "no_completion"),
        ((200, {}, b"[" * 100_000), "no_completion"),
        ((200, {}, b'{"choices": []}'), "no_completion"),
        ((200, {}, b'{"choices": [{"message": {"content": 7}}]}'), "no_completion"),
        ((200, {}, b"x" * 50_000_000), "too_large"),
        ((200, {"Content-Encoding": "gzip"}, GOOD[2]), "cut_off"),
        ((307, {"Location": "http://127.0.0.1:1/"}, b""), "http_307"),
    ],
)
def test_every_fault_is_a_value(server, fault, failure):
    server[1][:] = [fault]
    started = time.monotonic()
    assert client(server[0])(BODY) == Failure(failure)
    assert time.monotonic() - started < 15  # a server that drips does not hold the run
    is_repeated = failure in ("http_500", "http_429") or fault[0] in ("slow", "drip-headers")
    assert len(server[2]) == (2 if is_repeated else 1)


@pytest.mark.parametrize("count", ["1e400", "-5", "NaN", '"many"', "true", "1e300", "9" * 400, "null", "[]"])
def test_a_number_of_tokens_that_can_not_be_one_is_estimated(server, count):
    usage = f'{{"prompt_tokens": {count}, "completion_tokens": {count}, "total_tokens": {count}}}'
    for text in (usage, count):
        server[1][:] = [(200, {}, completion("a refund", usage="?").replace(b'"?"', text.encode()))]
        answer = client(server[0])(BODY)
        assert (answer.input_tokens, answer.output_tokens) == (len(json.dumps(BODY)) // 4, 2)
        assert answer.total_tokens == answer.input_tokens + 2 and not answer.is_counted


def test_a_total_is_not_below_its_parts_and_a_missing_part_is_estimated(server):
    server[1][:] = [
        (200, {}, completion("a refund", usage={"prompt_tokens": 40, "completion_tokens": 9, "total_tokens": 1}))
    ]
    assert client(server[0])(BODY).total_tokens == 49
    server[1][:] = [(200, {}, completion("a refund", usage={"prompt_tokens": 40}))]
    answer = client(server[0])(BODY)
    assert (answer.total_tokens, answer.is_counted) == (42, False)


def test_names_from_the_server_have_a_limit(server):
    server[1][:] = [(200, {}, completion("billing", model="m" * 5000))]
    assert client(server[0])(BODY).model == "m" * 100


def test_a_server_that_is_not_there_is_a_failure():
    assert client(f"http://127.0.0.1:{closed_port()}/v1")(BODY) == Failure("no_connection")


def test_an_answer_without_text_is_an_answer(server):
    server[1][:] = [(200, {}, completion(None))]
    assert client(server[0])(BODY).content is None


def test_retry_after_is_followed_up_to_a_limit(server, monkeypatch):
    server[1][:] = [(429, {"Retry-After": "1"}, b""), GOOD]
    started = time.monotonic()
    assert client(server[0])(BODY).content == "billing"
    assert 1 <= time.monotonic() - started < 60
    monkeypatch.setattr(module, "MAX_RETRY_AFTER_SECONDS", 1)
    for after in ("86400", "9" * 5000, "Fri, 31 Dec 2999 23:59:59 GMT", "soon", "-1"):
        server[1][:] = [(429, {"Retry-After": after}, b""), (429, {"Retry-After": after}, b""), GOOD]
        started = time.monotonic()
        assert client(server[0], retries=2)(BODY).content == "billing"  # not tomorrow
        assert time.monotonic() - started < 30


def test_only_the_code_of_an_error_is_shown(server):
    error = {"message": "my refund: no such model for key sk-123", "code": "model_not_found", "type": "my refund"}
    server[1][:] = [(404, {}, json.dumps({"error": error}).encode())]
    assert client(server[0])(BODY) == Failure("http_404", "model_not_found")
    server[1][:] = [(404, {}, json.dumps({"error": "my refund"}).encode())]
    assert client(server[0])(BODY) == Failure("http_404")


def test_nothing_is_sent_without_consent_or_key(server, monkeypatch):
    with pytest.raises(SettingsError, match=r"(?s)validation rows would be sent.*incumbent\.consent"):
        client(server[0], consent=False)
    with pytest.raises(SettingsError, match=r"(?s)key is missing.*incumbent\.key_env"):
        client(server[0], key_env="RUNGWISE_TEST_KEY")
    monkeypatch.setenv("RUNGWISE_TEST_KEY", "sk-secret\nmore")
    with pytest.raises(SettingsError) as caught:
        client(server[0], key_env="RUNGWISE_TEST_KEY")
    assert "can't be sent" in str(caught.value) and "secret" not in str(caught.value)
    assert not server[2]
    monkeypatch.setenv("RUNGWISE_TEST_KEY", "sk-secret\n")  # as `export KEY="$(cat file)"` with a line too many
    assert client(server[0], key_env="RUNGWISE_TEST_KEY")(BODY).content == "billing"
    assert server[2][0][1]["Authorization"] == "Bearer sk-secret"
