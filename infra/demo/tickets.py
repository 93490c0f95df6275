"""Writes infra/demo/tickets.csv: 1,500 made-up mails to two made-up outdoor shops. Every run writes the same bytes.

Columns: `body` is the mail (at most 350 characters), `queue` the queue it belongs to, `keywords` its topics, `reply`
the mail that answers it, `facts` what the reply has to contain, `tenant` the shop, `date` the day, and `problem_id` the
particular problem: a split keeps all mails about one problem on one side. The mails are as difficult as real ones: a
problem has several wordings and uses only some of them, so that some wordings occur in test rows only. There are typing
errors, remarks about other things, greetings, signatures, two problems in one mail, near duplicates, a few wrong or
empty queues, and a few mails that belong to no queue.
"""

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

SEED, ROWS, LONGEST = 41, 1500, 350
TENANTS = {"fernweg": ("Fernweg Outdoor", "FW"), "northtrail": ("Northtrail Supplies", "NT")}
NAMES = (
    "Anna Berg|Tom Keller|Priya Nair|Luis Ortega|Mia Sand|Jonas Wolf|Sara Lind|Ken Ito|Olga Petrov|Ben Hart|Lea Moreau|"
    "Adam Novak|Ruth Cole|Ivan Horvat|Nina Falk|Omar Aziz|Clara Voss|Paul Grant|Emma Ricci|Finn Olsen"
).split("|")
THINGS: dict[str, tuple[str, ...]] = {  # the shop's name, and what customers call it
    "tent": ("tent", "two-man tent", "dome tent"),
    "sleeping bag": ("sleeping bag", "down bag", "winter sleeping bag"),
    "rain jacket": ("rain jacket", "waterproof jacket", "shell jacket"),
    "backpack": ("backpack", "rucksack", "trekking pack"),
    "stove": ("stove", "gas stove", "camping cooker"),
    "headlamp": ("headlamp", "head torch", "headlight"),
    "hiking boots": ("hiking boots", "walking boots", "trekking shoes"),
    "water filter": ("water filter", "filter bottle", "purifier"),
    "sleeping mat": ("sleeping mat", "air mattress", "sleeping pad"),
    "trekking poles": ("trekking poles", "walking sticks", "hiking poles"),
    "climbing rope": ("climbing rope", "rope", "60 m rope"),
    "fleece": ("fleece", "fleece sweater", "midlayer"),
    "gloves": ("gloves", "ski gloves", "mittens"),
    "thermos": ("thermos", "steel flask", "insulated bottle"),
}


@dataclass(frozen=True)
class Issue:
    """One kind of problem: its wordings, the reply, and the facts that the reply must contain."""

    name: str
    keywords: tuple[str, ...]
    wordings: tuple[str, ...]
    reply: str
    facts: tuple[str, ...] = ()


def issue(name: str, keywords: str, wordings: str, reply: str, facts: str = "") -> Issue:
    """Returns an issue. `|` separates the parts of `keywords`, `wordings` and `facts`."""
    return Issue(name, *(tuple(p for p in text.split("|") if p) for text in (keywords, wordings)), reply,
                 tuple(p for p in facts.split("|") if p))  # fmt: skip


SHARES = {
    "delivery": 25,
    "returns": 18,
    "billing": 15,
    "product": 15,
    "repair": 11,
    "account": 8,
    "store": 5,
    "other": 3,
}
"""Queue -> approximate share of the mails in percent; `other` are mails that belong to no queue."""
ISSUES: dict[str, tuple[Issue, ...]] = {
    "delivery": (
        issue("late", "late parcel",
              "my {thing} has not arrived yet|where is the parcel with my {thing}|I have been waiting for the {thing} for two weeks|still nothing in the mail, I ordered a {thing}|the {thing} should have been here on Monday|any idea when the {thing} will turn up",
              "we are sorry that your {thing} is late. The carrier promises it within 3 working days.", "3 working days"),
        issue("stuck", "tracking",
              "the tracking page has not moved for days|tracking for the {thing} shows no news since Tuesday|the tracking number you sent does not work|your link says in transit and nothing else, for a week now|tracking is frozen at the depot",
              "the tracking of your {thing} has stopped, so we asked the carrier. You hear from us within 2 days.", "2 days"),
        issue("wrong-address", "address",
              "can you send the {thing} to another address|I moved last week, please change where the {thing} goes|I typed the wrong house number for the {thing}|please deliver the {thing} to my office instead",
              "we have noted it. Please send us the new address for the {thing} before 4 pm today.", "4 pm"),
        issue("lost", "lost parcel",
              "the courier says he delivered the {thing} but nobody got it|it says handed over, but there is no {thing} here|the driver left my {thing} somewhere and I can't find it|a neighbour I don't know is said to have my {thing}",
              "we are sorry. We opened a search for your {thing}; if it is not found in 5 days we send a new one.", "5 days"),
        issue("abroad", "shipping abroad",
              "do you ship a {thing} to Norway|how long does it take to send the {thing} to Switzerland|can I get the {thing} delivered outside the country|is there shipping to islands for a {thing}",
              "yes, we ship abroad. A {thing} takes 7 to 10 days and shipping costs 15 euros.", "7 to 10 days|15 euros"),
        issue("express", "express",
              "I need the {thing} by Friday|can you get the {thing} here before the weekend|is there a faster way to have the {thing} sent|we leave on Saturday, will the {thing} make it",
              "with express delivery your {thing} arrives on the next working day for 9 euros more.", "next working day|9 euros"),
        issue("missed", "missed delivery",
              "nobody was home when the courier came with the {thing}|I missed the driver, how do I get the {thing} now|there was a card in my letterbox about the {thing}|please bring the {thing} again, I was at work",
              "no problem. The carrier tries again tomorrow, or you collect the {thing} within 7 days.", "7 days"),
        issue("incomplete", "missing item",
              "only half of my order came, the {thing} is missing|the box was there but no {thing} in it|one parcel of two arrived, without the {thing}|you forgot to put in the {thing}",
              "we are sorry that the {thing} was missing. It goes out today at no cost.", "no cost"),
    ),
    "returns": (
        issue("send-back", "return",
              "I want to send the {thing} back|how do I return the {thing}|the {thing} is not what I hoped for, please take it back|I changed my mind about the {thing}|what do I do to give back a {thing}",
              "you can return the {thing} within 30 days. The label is in your account under Orders.", "30 days"),
        issue("exchange", "exchange|size",
              "the {thing} does not fit, can I have another size|I need to swap my {thing} for a larger one|wrong size, please exchange the {thing}|my {thing} is too small|could I trade the {thing} for a medium",
              "we gladly exchange your {thing}. Send it back and tell us the size; the swap is free.", "free"),
        issue("label", "return label",
              "where do I find the return label for the {thing}|there was no label in the box of the {thing}|I lost the sticker for sending back the {thing}|the return form for my {thing} is missing",
              "we have mailed you a new return label for the {thing}. It is valid for 14 days.", "14 days"),
        issue("too-late", "return|deadline",
              "is it too late to return a {thing} after six weeks|I was ill, can I still give the {thing} back|the thirty days for my {thing} are over since yesterday|can you make an exception, the {thing} is unused",
              "after 30 days we can't refund the {thing}, but we offer a voucher over its price.", "voucher"),
        issue("arrived", "return|status",
              "has the {thing} that I sent back reached you|did you get my {thing} that I posted last week|I returned the {thing}, please confirm|no news about the {thing} I gave to the post",
              "your {thing} reached our warehouse. We check it within 3 days and write to you.", "3 days"),
        issue("wrong-item", "wrong item",
              "I ordered a {thing} and got something else|you sent the wrong colour of the {thing}|this is not the {thing} I ordered|the {thing} in the box is a different model",
              "we are sorry about the mix-up. Keep the box; we collect it and send the right {thing} today.", "collect"),
        issue("postage", "postage",
              "who pays for sending the {thing} back|do I have to pay postage to return a {thing}|is a return of the {thing} free of charge|how much do you take off for sending back the {thing}",
              "returns of a {thing} are free with our label. Without it you pay 6 euros.", "6 euros"),
    ),
    "billing": (
        issue("twice", "double charge",
              "I was charged twice for the {thing}|my card shows two payments for one {thing}|you took the money for the {thing} two times|double booking on my statement for a {thing}",
              "we are sorry. The second payment for the {thing} goes back to you within 5 working days.", "5 working days"),
        issue("invoice", "invoice",
              "please send me an invoice for the {thing}|I need a bill for the {thing} with my company name|there was no invoice in the parcel with the {thing}|my accountant wants a receipt for the {thing}",
              "the invoice for your {thing} is attached. You also find it in your account under Orders.", "attached"),
        issue("refund", "refund",
              "my refund for the {thing} has not come|where is the money for the {thing} I gave back|you promised a refund for the {thing} ten days ago|still no money back for my {thing}",
              "the refund for your {thing} was sent. Banks take up to 7 days to show it.", "7 days"),
        issue("voucher", "voucher",
              "the voucher code is not accepted|my discount for the {thing} was not taken off|the code from your newsletter does not work on a {thing}|I forgot to type in my gift card",
              "please send us the code. We take it off the price of the {thing} within 1 day.", "1 day"),
        issue("price", "wrong price",
              "you billed more for the {thing} than your page says|the amount for the {thing} is wrong|the {thing} was in the sale but I paid the full price|why is the {thing} more expensive on the invoice",
              "thank you for the hint. We refund the difference for the {thing} within 5 working days.", "5 working days"),
        issue("declined", "payment",
              "my card is declined when I try to pay for the {thing}|payment fails every time|checkout says error when I pay for the {thing}|your page does not take my credit card",
              "please try PayPal or a bank transfer for the {thing}. We hold it for 48 hours.", "48 hours"),
        issue("later", "payment terms",
              "can I pay for the {thing} in three parts|is it possible to pay for the {thing} later|do you take bank transfer for a {thing}|may I buy the {thing} on account",
              "yes. You can pay for the {thing} in 3 monthly parts or within 30 days on account.", "3 monthly parts|30 days"),
    ),
    "product": (
        issue("waterproof", "waterproof",
              "is the {thing} waterproof|will the {thing} keep dry in heavy rain|how does the {thing} do in wet snow|does water get into the {thing}",
              "the {thing} is made for rain and was tested for 24 hours.", "24 hours"),
        issue("weight", "weight",
              "how heavy is the {thing}|what does the {thing} weigh|is the {thing} light enough for a long tour|I count grams, how many are in the {thing}",
              "you find the weight of the {thing} on its page under Details. Ours differ by at most 5 percent.", "Details"),
        issue("size", "size|advice",
              "which size of {thing} should I take|I am 1.90 m, what {thing} fits me|between two sizes of {thing}, which one is better|does the {thing} come in wide",
              "take the larger {thing} if you are between two sizes. Our size guide is on its page.", "size guide"),
        issue("cold", "temperature",
              "does the {thing} work below zero|is the {thing} fit for winter|how cold can it get with the {thing}|can I use the {thing} at minus ten",
              "the {thing} is made for down to minus 5 degrees. Below that, ask us for the winter model.", "minus 5 degrees"),
        issue("material", "material",
              "what is the {thing} made of|is there wool or down in the {thing}|are there any chemicals in the {thing}|I am allergic to latex, is some in the {thing}",
              "the {thing} is made of recycled polyester and holds no latex and no PFAS.", "recycled polyester"),
        issue("stock", "stock",
              "when is the {thing} back in stock|the {thing} is sold out, do you expect more|can I reserve a {thing} from the next batch|your page says no {thing} left",
              "new stock of the {thing} comes in 2 weeks. We can mail you when it is here.", "2 weeks"),
        issue("care", "care",
              "how do I wash the {thing}|can the {thing} go into the machine|how should I store the {thing} over the summer|what removes stains from the {thing}",
              "clean the {thing} with lukewarm water and mild soap, and let it dry in the shade.", "mild soap"),
    ),
    "repair": (
        issue("zip", "zip",
              "the zip of my {thing} is broken|a zipper on the {thing} does not close any more|the slider came off my {thing}|the zip of the {thing} is stuck",
              "we mend zips. Send the {thing} to our workshop; it takes 10 days and costs 12 euros.", "10 days|12 euros"),
        issue("torn", "tear",
              "my {thing} tore on the first trip|there is a hole in the {thing}|the fabric of the {thing} ripped at the corner|sparks burned my {thing}",
              "we can patch the {thing}. Please send a photo; a patch costs 15 euros.", "photo|15 euros"),
        issue("dead", "defect|warranty",
              "the {thing} stopped working|my {thing} is dead after a month|the {thing} broke when I used it as told|nothing happens any more with the {thing}",
              "that is a case for the warranty of 2 years. Send us the {thing}, we replace it.", "2 years"),
        issue("seam", "seam",
              "a seam on the {thing} is coming apart|the stitching of my {thing} is loose|threads hang out of the {thing}|the {thing} is falling apart at the side",
              "loose seams are under warranty. Our workshop mends the {thing} for free in 10 days.", "for free|10 days"),
        issue("part", "spare part",
              "do you sell spare parts for the {thing}|I lost a small piece of the {thing}|where can I get a new buckle for the {thing}|a clip of the {thing} snapped off",
              "we have spare parts for the {thing}. Tell us which; most cost less than 8 euros.", "8 euros"),
        issue("leak", "leak",
              "the {thing} leaks|water comes through my {thing} since last week|my {thing} loses air over night|it drips from the bottom of the {thing}",
              "please send us the {thing} clean and dry. We seal it within 10 days.", "10 days"),
    ),
    "account": (
        issue("password", "password",
              "I can't log in any more|the link to reset my password never comes|my password is not accepted|I am locked out after three tries",
              "we have unlocked your account. The new link is valid for 24 hours.", "24 hours"),
        issue("email", "e-mail address",
              "I have a new mail address, please change it|how do I change the e-mail of my account|my old mailbox is closed, where do I enter the new one",
              "you can change it under Settings. We confirm by mail to both addresses.", "Settings"),
        issue("delete", "data deletion",
              "please delete my account|I want all data you have on me removed|how do I close my profile|take me out of your system",
              "we delete your account and your data within 30 days and confirm it.", "30 days"),
        issue("newsletter", "newsletter",
              "stop sending me your newsletter|I get three mails a day from you, please stop|how do I unsubscribe|no more advertising please",
              "you are off our list. Mails that are on their way stop within 2 days.", "2 days"),
        issue("points", "bonus points",
              "my points are gone|the bonus points of my last order are not there|how many points do I have|can I give my points to my wife",
              "points appear 14 days after an order. You see them under Bonus in your account.", "14 days"),
        issue("merge", "two accounts",
              "I have two accounts by mistake|can you put my two profiles together|my orders are spread over two logins",
              "we can join them. Please write to us from both addresses; it takes 1 day.", "1 day"),
    ),
    "store": (
        issue("hours", "opening hours",
              "until when are you open on Saturday|are you open on the holiday|what are your hours|can I come by after six",
              "our store is open Monday to Saturday from 10 am to 7 pm.", "10 am to 7 pm"),
        issue("pickup", "pick-up",
              "can I pick up the {thing} in your store|is the {thing} there to try on|do you have the {thing} in the shop|may I collect my {thing} myself",
              "yes. We hold the {thing} for you in the store for 3 days.", "3 days"),
        issue("course", "course",
              "do you give courses for beginners|when is the next map reading evening|is there still a place in the avalanche course|can my kids join the climbing day",
              "our courses are listed under Events. Places are free until 2 days before.", "Events"),
        issue("rent", "rental",
              "can I rent a {thing} for a week|do you lend a {thing}|what does it cost to hire a {thing} for the weekend",
              "you can rent a {thing} for 9 euros a day with a deposit of 50 euros.", "9 euros|50 euros"),
    ),
    "other": (
        issue("job", "job",
              "I would like to work for you|do you have a job for a student|who reads applications at your place",
              "please send your application to our office. We answer within 2 weeks.", "2 weeks"),
        issue("offer", "advertising",
              "we bring your shop to the first page of every search|grow your sales with our agency, call now|our factory in the east offers best price for fabrics",
              "thank you, we have no need for this and do not reply to further offers."),
        issue("sponsor", "sponsoring",
              "our school looks for prizes for a raffle|would you sponsor our trail run|we climb for charity and need a partner",
              "we choose our partners once a year in January. Please write to us then.", "January"),
        issue("stray", "stray mail",
              "this is for my brother, sorry|when is the dentist free on Monday|please book a table for four at eight|did you feed the cat",
              "this mail seems to be meant for somebody else, so we close it here."),
    ),
}  # fmt: skip
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
    before, after = [], []
    if draw.random() < 0.6:
        before.append(draw.choice(GREETINGS) + ",")
    if draw.random() < 0.35:
        (before if draw.random() < 0.5 else after).append(draw.choice(CHATTER) + ".")
    if order:
        after.append(
            draw.choice((f"Order {order}.", f"My order number is {order}.", f"({order})", f"It is about {order}."))
        )
    if draw.random() < 0.5:
        after.append(f"{draw.choice(CLOSINGS)}, {name if draw.random() < 0.6 else name.split(maxsplit=1)[0]}")
    while len(text := " ".join([*before, *parts, *after])) > LONGEST:
        (after if after else before).pop()
    style = draw.random()
    if style < 0.12:
        text = text.lower()
    elif style < 0.16:
        text = text.replace(". ", "!! ")
    for _ in range(draw.choice((0, 0, 0, 0, 0, 1, 1, 2))):
        text = with_typing_error(text, draw)
    return text[:LONGEST]


def tickets() -> list[dict[str, str]]:
    """Returns the rows."""
    draw = random.Random(SEED)
    rows: list[dict[str, str]] = []
    problems: list[tuple[str, Issue, str, tuple[str, ...]]] = []
    for queue, issues in ISSUES.items():
        for one in issues:
            things = list(THINGS) if any("{thing}" in w for w in one.wordings) else ["order"] * 5
            for thing in things:
                known = tuple(draw.sample(one.wordings, min(len(one.wordings), draw.choice((1, 2, 2, 3)))))
                problems.append((queue, one, thing, known))
    of_queue = {queue: [p for p in problems if p[0] == queue] for queue in ISSUES}
    for pool in of_queue.values():
        draw.shuffle(pool)
    day = date(2026, 1, 5)
    taken = dict.fromkeys(ISSUES, 0)
    while len(rows) < ROWS:
        queue = draw.choices(list(SHARES), weights=list(SHARES.values()))[0]
        pool = of_queue[queue]
        number = taken[queue] % len(pool)
        _, one, thing, known = pool[number]
        taken[queue] += 1
        for _ in range(draw.choice((1, 2, 3, 4, 5))):
            row = mail(draw, queue, one, thing, known)
            row["problem_id"] = f"{queue}-{one.name}-{thing.replace(' ', '-')}" + (
                f"-{number}" if thing == "order" else ""
            )
            day += timedelta(days=draw.random() < 0.2)
            row["date"] = day.isoformat()
            rows.append(row)
            if draw.random() < 0.03:  # sent again with one more word: a near duplicate
                rows.append({**row, "body": (row["body"] + " " + draw.choice(CLOSINGS) + "!")[:LONGEST]})
    for row in rows:
        fate = draw.random()
        if fate < 0.015:
            row["queue"] = draw.choice([q for q in ISSUES if q != row["queue"]])
        elif fate < 0.022:
            row["queue"] = ""
    return rows[:ROWS]


def mail(draw: random.Random, queue: str, one: Issue, thing: str, known: Sequence[str]) -> dict[str, str]:
    """Returns one row: a mail about a problem, with its keywords, reply and facts."""
    tenant = "fernweg" if draw.random() < 0.6 else "northtrail"
    shop, prefix = TENANTS[tenant]
    name, order = draw.choice(NAMES), ""
    if queue in ("delivery", "returns", "billing", "repair") and draw.random() < 0.6:
        order = f"{prefix}-{draw.randint(10000, 99999)}"
    called = draw.choice(THINGS[thing]) if thing in THINGS else ""
    parts = [sentence(draw.choice(known).format(thing=called))]
    keywords = [*([thing] if thing in THINGS else []), *one.keywords]
    if queue != "other" and draw.random() < 0.05:
        other = draw.choice([i for q, issues in ISSUES.items() if q not in (queue, "other") for i in issues])
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
