"""A scripted generator and the rows that it writes for."""

import random
from dataclasses import replace

from rungwise.config import GenerateSettings
from rungwise.core.table import Table
from rungwise.generate.generate import generate
from rungwise.generate.queries import DataRequest
from tests.conftest import examples

TRAIN = Table.of(examples(200))
HELD_OUT = Table.of(
    [replace(examples(1)[0], id="held", fields={"body": "the refund for my holiday in Norway is missing"})]
)


class Scripted:
    """A generator that writes what a function says."""

    name, concurrency = "scripted", 2

    def __init__(self, write):
        self.write, self.queries = write, []

    def __call__(self, query):
        self.queries.append(query)
        return self.write(query)


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
