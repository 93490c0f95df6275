"""How many planted copies of test rows the split finds in training, and how often it cries wolf.

`python -m benchmarks.leakage --source ../shared [--write]`. `--source` holds `datasets/banking77` and
`datasets/clinc150`. For every test row of banking77 that has no natural twin in its training rows one copy of each
kind is planted there; found is what the split takes out of training. Beside it stand two rules in use: equality of
the SHA-256 of the whole row, and equality of the user's message. False alarms are clinc150's rows, which come from
elsewhere, held against banking77's rows; each that no plainer rule calls a copy too is printed, to be looked at.
The last two kinds are harder than what the split promises to find.
"""

import argparse
import csv
import hashlib
import json
import platform
import random
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rungwise.config import SplitSettings
from rungwise.core.records import Example
from rungwise.dataset.similar import copies, near_pairs, plain
from rungwise.dataset.split import Split, split

RESULTS = Path(__file__).parent / "results" / "leakage.json"
SETTINGS = SplitSettings(max_leaked_share=1.0)
N_DEV = 300
SYNONYMS = {
    "account": "profile", "add": "put", "allowed": "permitted", "arrive": "come", "arrived": "come", "bank": "lender",
    "believe": "think", "block": "freeze", "bought": "purchased", "broken": "damaged", "buy": "purchase",
    "can": "could", "card": "plastic", "cards": "plastics", "cash": "money", "change": "alter", "charge": "fee",
    "charged": "billed", "check": "verify", "cost": "price", "countries": "nations", "declined": "refused",
    "delivered": "shipped", "different": "other", "exchange": "swap", "extra": "additional", "fee": "charge",
    "find": "locate", "fix": "repair", "get": "obtain", "got": "received", "happened": "occurred", "help": "assist",
    "identity": "identification", "incorrect": "wrong", "know": "understand", "like": "wish",
    "long": "lengthy", "lost": "mislaid", "made": "did", "make": "do", "money": "funds", "need": "require",
    "new": "fresh", "order": "request", "pay": "settle", "payment": "transaction", "pending": "outstanding",
    "phone": "mobile", "please": "kindly", "possible": "feasible", "purchase": "buy", "rate": "price",
    "receive": "get", "received": "got", "refund": "reimbursement", "rejected": "refused", "see": "view",
    "send": "post", "sent": "posted", "show": "display", "showing": "appearing", "stolen": "taken", "stop": "halt",
    "take": "require", "tell": "inform", "top": "load", "transaction": "payment", "transfer": "transmit",
    "transferred": "transmitted", "use": "employ", "verify": "confirm", "want": "wish",
    "withdraw": "take", "withdrawal": "payout", "working": "functioning", "wrong": "incorrect",
}  # fmt: skip
BEFORE = ("Good morning,", "Hello there.", "Hi team!", "I have been with you for three years.", "Sorry to bother you.",
          "My name is Ada Example.", "I looked on your page first, but found nothing.")  # fmt: skip
AFTER = ("Thanks a lot.", "Best regards, Ada", "I would be glad to hear from you today.", "Have a nice day!",
         "You can reach me in the evening.", "Sent from my phone")  # fmt: skip


def _same(text: str, _: random.Random) -> str:
    return text


def _case_and_spacing(text: str, draw: random.Random) -> str:
    cased = draw.choice([str.upper, str.lower, str.title, str.swapcase])(text)
    return draw.choice(["  ", " \t", "\n"]).join(cased.split()) + draw.choice(["", " ", "\n"])


def _punctuation(text: str, draw: random.Random) -> str:
    words = re.sub(r"[^\w\s']", "", text).split()
    for _ in range(draw.randint(1, 3)):
        words[draw.randrange(len(words))] += draw.choice([",", ".", "!", "...", "?", " -"])
    return " ".join(words)


def _typo(text: str, draw: random.Random) -> str:
    places = [i for i in range(len(text) - 1) if text[i : i + 2].isalpha() and text[i] != text[i + 1]]
    at = draw.choice(places)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _word_swaps(text: str, draw: random.Random) -> str:
    """Two times two neighbouring words exchanged."""
    words = text.split()
    for _ in range(2):
        at = draw.randrange(len(words) - 1)
        words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)


def _paraphrase(text: str, draw: random.Random) -> str:
    """Two neighbouring words exchanged, and a word of the table replaced where there is one."""
    words = text.split()
    at = draw.randrange(len(words) - 1)
    words[at], words[at + 1] = words[at + 1], words[at]
    known = [i for i, word in enumerate(words) if word.lower().strip("?.,!") in SYNONYMS]
    if known:
        place = draw.choice(known)
        words[place] = SYNONYMS[words[place].lower().strip("?.,!")]
    return " ".join(words)


def _embedded(text: str, draw: random.Random) -> str:
    """In a mail of two to four sentences, as a sentence of its own."""
    body = text if text.rstrip()[-1:] in ".?!" else text + "."
    before, after = draw.sample(BEFORE, draw.randint(1, 2)), draw.sample(AFTER, 1)
    return draw.choice([" ", "\n"]).join([*before, body, *after])


def _within(text: str, draw: random.Random) -> str:
    """In the middle of one longer sentence."""
    return (
        f"{draw.choice(['so i wonder', 'a friend asked me'])} {text.strip(' .?!')} {draw.choice(['and so on', 'ok'])}"
    )


def _child(text: str, draw: random.Random) -> str:
    """What a generator made of a test row: half of its words, shuffled; the row names its parent."""
    words = text.split()
    return " ".join(draw.sample(words, max(1, len(words) // 2))) + f" {draw.randrange(10**6)}"


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "copy": _same,
    "case and spacing": _case_and_spacing,
    "punctuation": _punctuation,
    "typo": _typo,
    "word swaps": _word_swaps,
    "embedded": _embedded,
    "synthetic child": _child,
    "swap and a synonym": _paraphrase,
    "within a sentence": _within,
}


def read(path: Path) -> list[tuple[str, str]]:
    """Returns (text, label) of banking77's rows."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [(row["text"], row["category"]) for row in csv.DictReader(stream)]


def rows(pairs: Sequence[tuple[str, str]], role: str, prefix: str) -> list[Example]:
    """Returns the pairs as given rows of one side; a row's group is its own."""
    return [
        Example(f"{prefix}{i}", {"text": text}, label, prefix, i, f"{prefix}{i}", role=role)
        for i, (text, label) in enumerate(pairs)
    ]


def row_sha(text: str, label: str) -> str:
    """Returns the SHA-256 of a row as it would stand in a JSON lines file."""
    return hashlib.sha256(json.dumps({"text": text, "label": label}).encode()).hexdigest()


def measure(train: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Returns recall of each kind of copy, by rule."""
    natural = copies([t for t, _ in test], [t for t, _ in train])
    twins = {pair.left for pair in natural}
    clean = [i for i, (text, _) in enumerate(test) if i not in twins and len(text.split()) > 1]
    judged, taught = rows(test, "test", "test-"), rows(train, "train", "train-")
    steering = [Example(**{**e.__dict__, "role": "dev"}) for e in taught[:N_DEV]]
    hashes, messages = {row_sha(*pair) for pair in test}, {text for text, _ in test}
    kinds = {}
    for kind, change in KINDS.items():
        draw = random.Random(f"leakage/{kind}")
        pairs = [(change(test[i][0], draw), test[i][1]) for i in clean]
        planted = [
            Example(**{**e.__dict__, "parents": (f"test-{i}",) if kind == "synthetic child" else ()})
            for e, i in zip(rows(pairs, "train", "planted-"), clean, strict=True)
        ]
        result: Split = split(SETTINGS, [*judged, *steering, *taught[N_DEV:], *planted])
        lost = {r.id for r in result.rejections}
        kinds[kind] = {
            "planted": len(planted),
            "found": sum(e.id in lost for e in planted) / len(planted),
            "sha256_of_row": sum(row_sha(*p) in hashes for p in pairs) / len(pairs),
            "equal_message": sum(text in messages for text, _ in pairs) / len(pairs),
        }
    by_kind = {kind: sum(p.kind == kind for p in natural) for kind in ("exact", "near", "contained")}
    return {"natural_twins": {"test_rows": len(test), "with_a_twin": len(twins), **by_kind}, "kinds": kinds}


def false_alarms(strangers: Sequence[str], test: Sequence[str]) -> dict[str, Any]:
    """Returns how many of the strangers are called copies, and how many of these some plainer rule calls so too."""
    found = copies(strangers, test)
    other = []
    counts = {"exact": 0, "jaccard_0.8": 0, "same_words": 0, "whole_text_inside": 0, "other": 0}
    for pair in found:
        a, b = plain(strangers[pair.left]), plain(test[pair.right])
        if a == b:
            counts["exact"] += 1
        elif near_pairs([a, b], 0.8):
            counts["jaccard_0.8"] += 1
        elif sorted(a.split()) == sorted(b.split()):
            counts["same_words"] += 1
        elif f" {a} " in f" {b} " or f" {b} " in f" {a} ":
            counts["whole_text_inside"] += 1
            other.append([pair.kind, strangers[pair.left], test[pair.right]])
        else:
            counts["other"] += 1
            other.append([pair.kind, strangers[pair.left], test[pair.right]])
    n = len(strangers)
    doubtful = counts["whole_text_inside"] + counts["other"]
    return {
        "rows": n,
        "called_copies": len(found),
        **counts,
        "per_10000_whole_text_inside_or_other": round(10_000 * doubtful / n, 2),
        "per_10000_other": round(10_000 * counts["other"] / n, 2),
        "to_look_at": other,
    }


def main() -> None:
    """Measures, prints a table and, with --write, keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    data = arguments.source / "datasets"
    train, test = read(data / "banking77" / "train.csv"), read(data / "banking77" / "test.csv")
    clinc = json.loads((data / "clinc150" / "data_full.json").read_text(encoding="utf-8"))
    start = time.process_time()
    result = measure(train, test)
    strangers = [text for side in clinc.values() for text, _ in side]
    result["false_alarms"] = {
        "against_test": false_alarms(strangers, [t for t, _ in test]),
        "against_train": false_alarms(strangers, [t for t, _ in train]),
    }
    official = copies([t for t, _ in clinc["test"]], [t for t, _ in clinc["train"]])
    verbatim = {t for t, _ in clinc["test"]} & {t for t, _ in clinc["train"]}
    named = {clinc["test"][p.left][0] for p in official}
    result["clinc150_official_split"] = {
        "test_rows_with_a_copy_in_training": len(official),
        **{kind: sum(p.kind == kind for p in official) for kind in ("exact", "near", "contained")},
        "verbatim": sorted(verbatim),
        "verbatim_found": len(verbatim & named),
    }
    result["machine"] = f"{platform.machine()}, Python {platform.python_version()}"
    result["processor_seconds"] = round(time.process_time() - start, 1)
    print(f"{'kind of copy':<20}{'planted':>8}{'found':>8}{'sha256 of row':>15}{'equal message':>15}")
    for kind, row in result["kinds"].items():
        print(
            f"{kind:<20}{row['planted']:>8}{row['found']:>8.1%}{row['sha256_of_row']:>15.1%}{row['equal_message']:>15.1%}"
        )
    for key in ("natural_twins", "false_alarms", "clinc150_official_split"):
        print(f"{key}: {json.dumps(result[key], indent=2)}")
    if arguments.write:
        RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
