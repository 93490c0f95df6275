"""Writes infra/demo/tickets.csv: 4,000 made-up mails to two made-up outdoor shops. Every run writes the same bytes.

Columns: `body` is the mail (at most 350 characters), `queue` the queue it belongs to, `keywords` its topics, `reply`
the mail that answers it, `facts` what the reply has to contain, `tenant` the shop, `date` the day, and `problem_id` the
particular problem: a split keeps all mails about one problem on one side. The mails are as difficult as real ones: a
problem has several wordings and uses only some of them, so that some wordings occur in test rows only. People write in
different voices. There are typing errors, remarks about other things, greetings, signatures, two problems in one mail,
near duplicates, a few wrong or empty queues, and a few mails that belong to no queue. The texts are in mails.yaml.
"""

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

SEED, ROWS, LONGEST = 41, 4000, 350
PLACES = 12
"""Problems of a kind that is not about a product."""
TENANTS = {"fernweg": ("Fernweg Outdoor", "FW"), "northtrail": ("Northtrail Supplies", "NT")}
NAMES = (
    "Anna Berg|Tom Keller|Priya Nair|Luis Ortega|Mia Sand|Jonas Wolf|Sara Lind|Ken Ito|Olga Petrov|Ben Hart|Lea Moreau|"
    "Adam Novak|Ruth Cole|Ivan Horvat|Nina Falk|Omar Aziz|Clara Voss|Paul Grant|Emma Ricci|Finn Olsen|Hanna Weiss|"
    "Diego Ramos|Yuki Tanaka|Marta Kowalska|Sam Reed|Aisha Khan|Lars Dahl|Chloe Petit|Marko Ilic|Rosa Blum"
).split("|")


@dataclass(frozen=True)
class Issue:
    """One kind of problem: its wordings, the reply, and the facts that the reply must contain."""

    name: str
    keywords: tuple[str, ...]
    wordings: tuple[str, ...]
    reply: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Voice:
    """One way of writing: what may open a mail, what may follow the problem, and the style of the letters."""

    share: int
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    style: str = ""


@dataclass(frozen=True)
class Texts:
    """The texts of mails.yaml."""

    things: Mapping[str, tuple[str, ...]]
    """The shop's name of a product -> what customers call it."""
    voices: tuple[Voice, ...]
    shares: Mapping[str, int]
    """Queue -> approximate share of the mails in percent."""
    issues: Mapping[str, tuple[Issue, ...]]


@cache
def texts() -> Texts:
    """Returns the texts of mails.yaml."""
    values = YAML(typ="safe").load(Path(__file__).with_name("mails.yaml").read_text(encoding="utf-8"))

    def issue(name: str, given: Mapping[str, Any]) -> Issue:
        parts = (tuple(given[key]) for key in ("keywords", "wordings"))
        return Issue(name, *parts, given["reply"], tuple(str(fact) for fact in given.get("facts", ())))

    def voice(given: Mapping[str, Any]) -> Voice:
        parts = (tuple(given.get(key, ())) for key in ("before", "after"))
        return Voice(given["share"], *parts, given.get("style", ""))

    return Texts(
        {name: tuple(names) for name, names in values["things"].items()},
        tuple(voice(given) for given in values["voices"].values()),
        {queue: given["share"] for queue, given in values["queues"].items()},
        {
            queue: tuple(issue(name, one) for name, one in given["issues"].items())
            for queue, given in values["queues"].items()
        },
    )


GREETINGS = (
    "Hi",
    "Hello",
    "Dear team",
    "Good morning",
    "Hello everybody",
    "Hey there",
    "To whom it may concern",
    "Hi all",
)
CHATTER = (
    "I have bought from you for years", "We leave for the mountains soon", "It was a gift for my daughter",
    "The last time everything went well", "A friend told me about your shop", "I love your catalogue",
    "Sorry for writing again", "I tried to call but nobody answered", "It is my first order with you",
    "My last refund came quickly, thanks for that", "The delivery itself was fast", "I had to repair my old one twice",
    "The price was fine", "I could not log in, so I write", "Your store in town is lovely", "Greetings from the coast",
    "The weather is dreadful here", "My wife says I should write to you",
)  # fmt: skip
CLOSINGS = ("Thanks", "Thank you", "Best regards", "Many thanks in advance", "Cheers", "Kind regards", "Please help")
SECOND = ("Also, {}", "And one more thing: {}", "By the way, {}", "Besides, {}")


def with_typing_error(text: str, draw: random.Random) -> str:
    """Returns a text with one typing error: two letters swapped, one dropped, or one doubled."""
    places = [i for i in range(1, len(text) - 2) if text[i].isalpha() and text[i + 1].isalpha()]
    if not places:
        return text
    at = draw.choice(places)
    pair = draw.choice((text[at + 1] + text[at], text[at + 1], text[at] + text[at] + text[at + 1]))
    return text[:at] + pair + text[at + 2 :]


def sentence(text: str) -> str:
    """Returns a text that starts with a capital letter and ends with a full stop or question mark."""
    text = text[:1].upper() + text[1:]
    asks = ("how", "where", "when", "what", "which", "who", "why", "can ", "do ", "does", "did", "is ", "are ", "will",
            "may ", "could", "has ", "would", "any ", "until")  # fmt: skip
    return text + ("?" if text.lower().startswith(asks) else ".")


def body_of(parts: Sequence[str], draw: random.Random, order: str, name: str) -> str:
    """Returns a mail that contains the problem's sentences, at most LONGEST characters long."""
    known = texts().voices
    voice = draw.choices(known, weights=[one.share for one in known])[0]
    before, after = [], []
    if draw.random() < 0.6:
        before.append(draw.choice(GREETINGS) + ",")
    if voice.before and draw.random() < 0.7:
        before.append(draw.choice(voice.before))
    if draw.random() < 0.35:
        (before if draw.random() < 0.5 else after).append(draw.choice(CHATTER) + ".")
    if order:
        after.append(
            draw.choice((f"Order {order}.", f"My order number is {order}.", f"({order})", f"It is about {order}."))
        )
    if voice.after and draw.random() < 0.5:
        after.append(draw.choice(voice.after))
    if draw.random() < 0.5:
        after.append(f"{draw.choice(CLOSINGS)}, {name if draw.random() < 0.6 else name.split(maxsplit=1)[0]}")
    while len(text := " ".join([*before, *parts, *after])) > LONGEST:
        (after if after else before).pop()
    if voice.style == "lower":
        text = text.lower()
    elif draw.random() < 0.04:
        text = text.replace(". ", "!! ")
    for _ in range(draw.choice((0, 0, 0, 0, 0, 1, 1, 2))):
        text = with_typing_error(text, draw)
    return text[:LONGEST]


def problems(draw: random.Random) -> dict[str, list[tuple[Issue, str, tuple[str, ...]]]]:
    """Returns queue -> its problems in a random order: the issue, the product or a number, and the known wordings."""
    pools: dict[str, list[tuple[Issue, str, tuple[str, ...]]]] = {}
    for queue, issues in texts().issues.items():
        pool = pools.setdefault(queue, [])
        for one in issues:
            is_about_thing = any("{thing}" in wording for wording in one.wordings)
            for thing in texts().things if is_about_thing else map(str, range(PLACES)):
                known = tuple(draw.sample(one.wordings, min(len(one.wordings), draw.choice((1, 2, 2, 3)))))
                pool.append((one, thing, known))
        draw.shuffle(pool)
    return pools


def tickets() -> list[dict[str, str]]:
    """Returns the rows."""
    draw = random.Random(SEED)
    rows: list[dict[str, str]] = []
    of_queue, shares = problems(draw), texts().shares
    day = date(2026, 1, 5)
    taken = dict.fromkeys(shares, 0)
    while len(rows) < ROWS:
        queue = draw.choices(list(shares), weights=list(shares.values()))[0]
        pool = of_queue[queue]
        one, thing, known = pool[taken[queue] % len(pool)]
        taken[queue] += 1
        for _ in range(draw.choice((1, 2, 3, 4, 5))):
            row = mail(draw, queue, one, thing, known)
            row["problem_id"] = f"{queue}-{one.name}-{thing.replace(' ', '-')}"
            day += timedelta(days=draw.random() < 0.07)
            row["date"] = day.isoformat()
            rows.append(row)
            if draw.random() < 0.03:  # sent again with one more word: a near duplicate
                rows.append({**row, "body": (row["body"] + " " + draw.choice(CLOSINGS) + "!")[:LONGEST]})
    for row in rows:
        fate = draw.random()
        if fate < 0.015:
            row["queue"] = draw.choice([q for q in shares if q != row["queue"]])
        elif fate < 0.022:
            row["queue"] = ""
    return rows[:ROWS]


def mail(draw: random.Random, queue: str, one: Issue, thing: str, known: Sequence[str]) -> dict[str, str]:
    """Returns one row: a mail about a problem, with its keywords, reply and facts."""
    things, issues = texts().things, texts().issues
    tenant = "fernweg" if draw.random() < 0.6 else "northtrail"
    shop, prefix = TENANTS[tenant]
    name, order = draw.choice(NAMES), ""
    if queue in ("delivery", "returns", "billing", "repair") and draw.random() < 0.6:
        order = f"{prefix}-{draw.randint(10000, 99999)}"
    called = draw.choice(things[thing]) if thing in things else ""
    parts = [sentence(draw.choice(known).format(thing=called))]
    keywords = [*([thing] if thing in things else []), *one.keywords]
    if queue != "other" and draw.random() < 0.05:
        other = draw.choice([i for q, known in issues.items() if q not in (queue, "other") for i in known])
        parts.append(draw.choice(SECOND).format(sentence(draw.choice(other.wordings).format(thing=called or "tent"))))
        keywords += other.keywords
    looked_up = f"about order {order}: " if order else ""
    reply = f"Hello, {looked_up}{one.reply.format(thing=thing)} Kind regards, {shop}"
    return {
        "body": body_of(parts, draw, order, name),
        "queue": queue,
        "keywords": "; ".join(dict.fromkeys(keywords)),
        "reply": reply,
        "facts": "; ".join([*([order] if order else []), *one.facts]),
        "tenant": tenant,
    }


def write(path: Path) -> None:
    """Writes the rows as CSV."""
    rows = tickets()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    write(Path(__file__).with_name("tickets.csv"))
