import random
from collections import Counter
from dataclasses import replace

import pytest

from rungwise.config import AugmentSettings, GenerateSettings
from rungwise.core.errors import GenerateError
from rungwise.core.table import Table
from rungwise.dataset.redact import redactor
from rungwise.generate.generate import DataRequest, Reply, generate, request_of, texts_of
from tests.conftest import examples

TRAIN = Table.of(examples(200))
HELD_OUT = Table.of(
    [replace(examples(1)[0], id="held", fields={"body": "the refund for my holiday in Norway is missing"})]
)


class Scripted:
    """A generator that writes what a function says."""

    name, concurrency = "scripted", 2

    def __init__(self, write):
        self.write, self.asks = write, []

    def __call__(self, ask):
        self.asks.append(ask)
        return self.write(ask)


def texts(n, seed=0):
    draw = random.Random(seed)
    return tuple("refund " + " ".join("".join(draw.choices("abcdefgh", k=6)) for _ in range(6)) for _ in range(n))


def run(generator, wanted=None, settings=None, train=TRAIN, redact=str):
    request = DataRequest("route", wanted or {"billing": 5}, "test")
    return generate(
        settings or GenerateSettings(),
        request,
        "body",
        train,
        HELD_OUT,
        generator,
        seed=1,
        redact=redact,
        show=lambda *_: None,
    )


def test_new_texts_become_drafts_with_the_rows_that_were_shown_as_parents():
    generator = Scripted(lambda ask: Reply(texts(ask.n, ask.seed)))
    result = run(generator)
    assert [d.label for d in result.drafts] == ["billing"] * 5 and not result.missing and not result.note
    shown = {e.id for ask in generator.asks for e in ask.shown}
    assert all(d.parents and set(d.parents) <= shown for d in result.drafts)
    assert {e.answer for ask in generator.asks for e in ask.shown} == {"billing"}
    assert run(Scripted(generator.write)) == result


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (lambda ask: " ", "empty"),
        (lambda ask: "?!", "empty"),
        (lambda ask: "refund \0", "not_text"),
        (lambda ask: "refund " * 999, "too_long"),
        (lambda ask: ask.shown[0].fields["body"].upper(), "copy_of_prompt"),
        (lambda ask: next(t for t, a in zip(TRAIN.fields["body"], TRAIN.answer, strict=True) if a == "repair"), "copy"),
        (lambda ask: "please, the refund for my holiday in Norway is missing", "leak_near|leak_contained"),
        (lambda ask: "the refund for my holiday in Norway is missing!", "leak_exact"),
        (lambda ask: "login login login account login", "checker"),
    ],
)
def test_texts_that_are_not_worth_having_are_counted(text, reason):
    result = run(Scripted(lambda ask: Reply((text(ask),))))
    assert not result.drafts and result.missing == {"billing": 5}
    assert set(result.rejected) <= {*reason.split("|"), "copy"} and set(result.rejected) & set(reason.split("|"))


def test_near_copies_of_real_and_of_generated_texts_go():
    first = texts(1)[0]
    slip = first[:-2] + first[-1] + first[-2] if first[-1] != first[-2] else first[:-1] + "z"
    result = run(Scripted(lambda ask: Reply((first, slip))))
    assert len(result.drafts) == 1 and set(result.rejected) & {"near_generated", "near_training"}


def test_the_share_is_capped_and_what_is_missing_is_said():
    settings = GenerateSettings(max_share=0.1)
    result = run(Scripted(lambda ask: Reply(texts(ask.n, ask.seed))), {"billing": 60, "repair": 5}, settings)
    assert len(result.drafts) == 22 and result.missing == {"billing": 38, "repair": 5}
    assert "at most 22 rows are made, 10% of the training rows" in result.limit
    assert not run(Scripted(lambda ask: Reply(texts(ask.n, ask.seed)))).limit


def test_a_generator_that_fails_and_fails_is_given_up_and_one_that_ends_keeps_what_it_wrote():
    result = run(Scripted(lambda ask: Reply((), "http_500")), {"billing": 30})
    assert "failed 5 times in a row, last with http_500" in result.note and result.rejected == {"http_500": 5}
    assert result.failures == {"http_500": 5}

    def ends(ask):
        if len(generator.asks) > 3:
            raise GenerateError("the budget is spent")
        return Reply(texts(1, ask.seed))

    generator = Scripted(ends)
    generator.concurrency = 1
    result = run(generator, {"billing": 30, "repair": 4})
    assert result.note == "the budget is spent" and len(result.drafts) == 3
    assert result.missing == {"billing": 27, "repair": 4}


def test_only_collected_rows_are_shown_and_redacted():
    rows = [replace(e, fields={"body": f"refund to ada{i}@example.org"}) for i, e in enumerate(TRAIN)]
    rows = [replace(e, parents=("x",)) if i % 2 else e for i, e in enumerate(rows)]
    generator = Scripted(lambda ask: Reply(texts(ask.n, ask.seed)))
    run(generator, train=Table.of(rows), redact=redactor(("email",), None))
    shown = [e for ask in generator.asks for e in ask.shown]
    assert shown and all("[EMAIL]" in e.fields["body"] and "@" not in e.fields["body"] for e in shown)
    assert all(int(e.id.removeprefix("row-")) % 2 == 0 for e in shown)


def test_a_request_fills_up_rare_labels():
    counts = Counter(TRAIN.answer)
    settings = AugmentSettings(per_label=min(counts.values()) + 1, targets={"billing": counts["billing"] + 7})
    request = request_of(settings, "route", TRAIN)
    assert request.wanted["billing"] == 7 and sum(request.wanted.values()) - 7 <= 2


def test_a_request_fills_up_slices_with_the_labels_that_stand_there():
    rows = [
        replace(e, fields={**e.fields, "language": "de" if i % 4 == 0 else "en"})
        for i, e in enumerate(TRAIN[: len(TRAIN)])
    ]
    train = Table.of(rows)
    n = sum(e.fields["language"] == "de" for e in rows)
    request = request_of(AugmentSettings(slice="language", per_label=n + 6), "route", train)
    assert dict(request.wanted) == {"de": 6} and "values of language" in request.why
    generator = Scripted(lambda ask: Reply(texts(1, ask.seed)))
    settings = GenerateSettings(texts_per_request=1, checker=False)
    held_out = Table.of([replace(e, fields={**e.fields, "language": "en"}) for e in HELD_OUT])
    result = generate(settings, request, "body", train, held_out, generator, seed=1, redact=str, show=lambda *_: None)
    assert len(result.drafts) == 6 and not result.missing
    shown = [e for ask in generator.asks for e in ask.shown]
    assert {e.fields["language"] for e in shown} == {"de"}
    assert all({e.answer for e in ask.shown} == {ask.label} for ask in generator.asks)
    assert len({ask.label for ask in generator.asks}) > 1


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('["a", "b"]', ("a", "b")),
        ('Here you are:\n```json\n["a"]\n```', ("a",)),
        ("[1]", None),
        ('{"a": "b"}', None),
        ("[" * 100_000, None),
        ("] [", None),
        ("", None),
    ],
)
def test_the_array_in_an_answer_is_found(content, found):
    assert texts_of(content) == found
