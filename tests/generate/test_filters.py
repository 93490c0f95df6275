import pytest

from rungwise.generate.queries import Reply
from tests.generate.conftest import TRAIN, Scripted, run, texts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (lambda query: " ", "empty"),
        (lambda query: "?!", "empty"),
        (lambda query: "refund \0", "not_text"),
        (lambda query: "refund " * 999, "too_long"),
        (lambda query: query.examples[0].fields["body"].upper(), "copy_of_prompt"),
        (
            lambda query: next(t for t, a in zip(TRAIN.fields["body"], TRAIN.answer, strict=True) if a == "repair"),
            "copy",
        ),
        (lambda query: "please, the refund for my holiday in Norway is missing", "leak_near|leak_contained"),
        (lambda query: "the refund for my holiday in Norway is missing!", "leak_exact"),
        (lambda query: "login login login account login", "checker"),
    ],
)
def test_rejected_texts_are_counted_by_reason(text, reason):
    result = run(Scripted(lambda query: Reply((text(query),))))
    assert not result.drafts and result.missing == {"billing": 5}
    assert set(result.rejected) <= {*reason.split("|"), "copy"} and set(result.rejected) & set(reason.split("|"))


def test_near_duplicates_of_real_and_generated_texts_are_rejected():
    first = texts(1)[0]
    slip = first[:-2] + first[-1] + first[-2] if first[-1] != first[-2] else first[:-1] + "z"
    result = run(Scripted(lambda query: Reply((first, slip))))
    assert len(result.drafts) == 1 and set(result.rejected) & {"near_generated", "near_training"}
