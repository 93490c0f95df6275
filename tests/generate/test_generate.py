from dataclasses import replace

from rungwise.config import AugmentSettings, GenerateSettings
from rungwise.core.errors import GenerateError
from rungwise.core.table import Table
from rungwise.dataset.redact import redactor
from rungwise.generate.generate import generate
from rungwise.generate.queries import Reply, request_of
from tests.generate.conftest import HELD_OUT, TRAIN, Scripted, run, texts


def test_new_texts_become_drafts_with_the_rows_that_were_shown_as_parents():
    generator = Scripted(lambda query: Reply(texts(query.n_texts, query.seed)))
    result = run(generator)
    assert [d.label for d in result.drafts] == ["billing"] * 5 and not result.missing and not result.note
    shown = {e.id for query in generator.queries for e in query.examples}
    assert all(d.parents and set(d.parents) <= shown for d in result.drafts)
    assert {e.answer for query in generator.queries for e in query.examples} == {"billing"}
    assert run(Scripted(generator.write)) == result


def test_the_share_is_limited_and_missing_rows_are_reported():
    settings = GenerateSettings(max_share=0.1)
    result = run(
        Scripted(lambda query: Reply(texts(query.n_texts, query.seed))), {"billing": 60, "repair": 5}, settings
    )
    assert len(result.drafts) == 22 and result.missing == {"billing": 38, "repair": 5}
    assert "at most 22 rows are generated, 10% of the training rows" in result.limit
    assert not run(Scripted(lambda query: Reply(texts(query.n_texts, query.seed)))).limit


def test_repeated_failures_stop_the_generator_and_earlier_texts_are_kept():
    result = run(Scripted(lambda query: Reply((), "http_500")), {"billing": 30})
    assert "failed 5 times in a row, last with http_500" in result.note and result.rejected == {"http_500": 5}
    assert result.failures == {"http_500": 5}

    def ends(query):
        if len(generator.queries) > 3:
            raise GenerateError("the budget is spent")
        return Reply(texts(1, query.seed))

    generator = Scripted(ends)
    generator.concurrency = 1
    result = run(generator, {"billing": 30, "repair": 4})
    assert result.note == "the budget is spent" and len(result.drafts) == 3
    assert result.missing == {"billing": 27, "repair": 4}


def test_only_collected_rows_are_shown_and_redacted():
    rows = [replace(e, fields={"body": f"refund to ada{i}@example.org"}) for i, e in enumerate(TRAIN)]
    rows = [replace(e, parents=("x",)) if i % 2 else e for i, e in enumerate(rows)]
    generator = Scripted(lambda query: Reply(texts(query.n_texts, query.seed)))
    run(generator, train=Table.of(rows), redact=redactor(("email",), None))
    shown = [e for query in generator.queries for e in query.examples]
    assert shown and all("[EMAIL]" in e.fields["body"] and "@" not in e.fields["body"] for e in shown)
    assert all(int(e.id.removeprefix("row-")) % 2 == 0 for e in shown)


def test_a_request_fills_up_slices_with_their_labels():
    rows = [
        replace(e, fields={**e.fields, "language": "de" if i % 4 == 0 else "en"})
        for i, e in enumerate(TRAIN[: len(TRAIN)])
    ]
    train = Table.of(rows)
    n = sum(e.fields["language"] == "de" for e in rows)
    request = request_of(AugmentSettings(slice="language", per_label=n + 6), "route", train)
    assert dict(request.wanted) == {"de": 6} and "values of language" in request.why
    generator = Scripted(lambda query: Reply(texts(1, query.seed)))
    settings = GenerateSettings(texts_per_request=1, checker=False)
    held_out = Table.of([replace(e, fields={**e.fields, "language": "en"}) for e in HELD_OUT])
    result = generate(settings, request, "body", train, held_out, generator, seed=1, redact=str, show=lambda *_: None)
    assert len(result.drafts) == 6 and not result.missing
    shown = [e for query in generator.queries for e in query.examples]
    assert {e.fields["language"] for e in shown} == {"de"}
    assert all({e.answer for e in query.examples} == {query.label} for query in generator.queries)
    assert len({query.label for query in generator.queries}) > 1
