"""Writes data/raw/tickets.csv: made-up mails to a made-up outdoor shop, for trying the path out.

Equal on every run (one seed). `problem` names what a mail is about; mails about one problem come in several
wordings, as they do in life. A few rows are awkward on purpose: typing slips, chatter, an empty queue.
"""

import csv
import random
from pathlib import Path

SEED = 20
ROWS_PER_PROBLEM = 24
THINGS = ("tent", "sleeping bag", "rain jacket", "backpack", "stove", "headlamp", "hiking boots", "water filter")
PROBLEMS = {
    "delivery": (
        "My {thing} has not arrived yet|Where is the parcel with my {thing}|Still waiting for the {thing} to come",
        "The tracking page has not moved for days|Tracking shows no news about my parcel|the parcel is stuck",
        "Courier left my {thing} at a wrong address|The driver gave the {thing} to a neighbour I don't know",
        "Can you ship the {thing} to another address|I moved, please send the {thing} to my new address",
        "How long does shipping to Norway take|When would a {thing} reach Norway if you ship it today",
        "I need the {thing} by Friday, is express shipping possible|Can you deliver the {thing} before the weekend",
        "My parcel came in two pieces and one is missing in transit|Only half of the delivery arrived",
        "The courier missed me, how do I arrange a new delivery|Nobody was home, please deliver again",
    ),
    "returns": (
        "I want to send the {thing} back|How do I return the {thing}|Please take my {thing} back",
        "The {thing} does not fit, can I exchange it for a larger size|Need to swap the {thing} for another size",
        "Where is the return label for my {thing}|You forgot the return label",
        "Is it too late to return a {thing} after thirty days|Can I still give the {thing} back after a month",
        "I returned the {thing}, did it reach your warehouse|Have you received the {thing} that I sent back",
        "I ordered two by mistake and will send one {thing} back|One {thing} too many, I would like to return it",
        "May I return a {thing} that was a gift|Got a {thing} as a present and want to exchange it",
        "Do I have to pay postage for a return|Who pays when I send the {thing} back",
    ),
    "billing": (
        "I was charged twice for the {thing}|My card shows two payments for one {thing}",
        "Please send me an invoice for the {thing}|I need an invoice with my company name",
        "My refund has not reached my bank account|Where is the money for the {thing}, no refund so far",
        "The voucher code is not accepted at payment|My discount code was not taken off the bill",
        "Can I pay for the {thing} in instalments|Is it possible to pay later by invoice",
        "The amount on my bill is wrong|You billed a higher price than the {thing} costs on your page",
        "My credit card is declined when I pay|Payment fails every time I try my card",
        "Which taxes are on my invoice|The VAT on the bill looks wrong to me",
    ),
    "product": (
        "Is the {thing} waterproof|Will the {thing} keep dry in heavy rain",
        "How heavy is the {thing}|What does the {thing} weigh",
        "Which size of {thing} should I take|I am tall, which size fits me",
        "Does the {thing} work below zero|Is the {thing} warm enough for winter",
        "What material is the {thing} made of|Is there wool or down in the {thing}",
        "When will the {thing} be in stock again|The {thing} is sold out, do you expect more",
        "How do I wash the {thing}|Can the {thing} go into the washing machine",
        "What is the difference between the two kinds of {thing} you sell|Which {thing} do you recommend for beginners",
    ),
    "repair": (
        "The zip of my {thing} is broken|A zip on the {thing} does not close any more",
        "My {thing} tore on the first trip|There is a hole in the {thing} after one night",
        "The {thing} stopped working|My {thing} is dead, nothing happens when I switch it on",
        "A seam on the {thing} is coming apart|The stitching of my {thing} is loose",
        "Do you sell spare parts for the {thing}|I lost a small part of the {thing}, can I get a spare",
        "Is this covered by the warranty of the {thing}|My {thing} broke, is there a warranty",
        "The {thing} arrived damaged|Out of the box the {thing} was broken",
        "Can you repair my old {thing}|How much is a repair of the {thing}",
    ),
    "account": (
        "I can't log in|Login fails with my password|the site will not let me sign in",
        "I forgot my password|The password reset mail does not come",
        "Please delete my account|I want all my data erased",
        "How do I change my e-mail address|My e-mail address in the profile is old",
        "Stop sending me the newsletter|Please take me off your mailing list",
        "I have two accounts, can you merge them|My orders are spread over two logins",
        "My profile shows somebody else's name|The name in my account is misspelt",
        "The app logs me out all the time|I am signed out after every page of your app",
    ),
}
OPENINGS = ("", "", "Hi, ", "Hello team, ", "Good morning! ", "Dear shop, ", "hey ")
CLOSINGS = ("", "", "", " Thanks!", " Best regards, Kim", " Please help.", " It is for a trip next week.", " Cheers")


def slip(text: str, draw: random.Random) -> str:
    """Returns the text with two letters in the middle of a word swapped."""
    place = draw.randrange(1, len(text) - 2)
    if not (text[place].isalpha() and text[place + 1].isalpha()):
        return text
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def rows() -> list[tuple[str, str, str]]:
    """Returns (body, queue, problem) rows in a fixed mixed order."""
    draw = random.Random(SEED)
    made: dict[str, tuple[str, str, str]] = {}
    for queue, problems in PROBLEMS.items():
        for number, wordings in enumerate(problems):
            for _ in range(ROWS_PER_PROBLEM):
                text = draw.choice(wordings.split("|")).replace("{thing}", draw.choice(THINGS))
                text = draw.choice(OPENINGS) + text + draw.choice((".", "?", "", "!")) + draw.choice(CLOSINGS)
                text = slip(text, draw) if draw.random() < 0.15 else text
                made.setdefault(text, (text, queue, f"{queue}-{number}"))
    table = list(made.values())
    draw.shuffle(table)
    table[17] = (table[17][0], "", table[17][2])  # a mail that nobody sorted
    return table


def main() -> None:
    """Writes the file."""
    path = Path(__file__).parents[2] / "data" / "raw" / "tickets.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("body", "queue", "problem"))
        writer.writerows(rows())


if __name__ == "__main__":
    main()
