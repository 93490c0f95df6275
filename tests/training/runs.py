"""Training runs of the tests: one prompt, one spec, rows as tokens."""

from rungwise.core.records import AnswerForm, AttemptSpec
from rungwise.training.batches import encode
from rungwise.training.batches import token_rows as fitting

PROMPT = "{body}\nQueue:"
FORM = AnswerForm("label", ("a",))


def spec_for(lm, **more):
    defaults = {"rank": 4, "steps": 8, "batch_size": 8, "learning_rate": 1e-2, "seed": 5}
    return AttemptSpec(lm.base, "lora", PROMPT, FORM, **{**defaults, **more})


def quiet(done, total, what):
    pass


def token_rows(lm, template, rows):
    return fitting(lm, encode(lm, template, rows))
