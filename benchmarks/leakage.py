"""Leak check: planted near duplicates of test rows that the split removes from training, and its false alarms.

`python -m benchmarks.leakage --source FOLDER [--quick] [--write]`. FOLDER contains `datasets/banking77` and
`datasets/clinc150`. For every test row of banking77 without a natural duplicate in its training rows, one changed
version of each kind is planted in training. A planted row counts as found if the split removes it. The peers are two
rules in common use: equal SHA-256 of the whole row, and equal user message. False alarms are rows of clinc150, a data
set of another origin, that are called duplicates of rows of banking77. Those that no simpler rule calls duplicates
are printed, for a person to read. The last two kinds are harder than what the split promises to find.
"""

import csv
import hashlib
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, machine, parser, publish
from rungwise.config import SplitSettings
from rungwise.core.records import Example
from rungwise.dataset.similar import copies, near_pairs, plain
from rungwise.dataset.split import Split, split

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
    """Swaps two neighbouring words, twice."""
    words = text.split()
    for _ in range(2):
        at = draw.randrange(len(words) - 1)
        words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)


def _paraphrase(text: str, draw: random.Random) -> str:
    """Swaps two neighbouring words and replaces one word by a synonym, if the table has one."""
    words = text.split()
    at = draw.randrange(len(words) - 1)
    words[at], words[at + 1] = words[at + 1], words[at]
    known = [i for i, word in enumerate(words) if word.lower().strip("?.,!") in SYNONYMS]
    if known:
        place = draw.choice(known)
        words[place] = SYNONYMS[words[place].lower().strip("?.,!")]
    return " ".join(words)


def _embedded(text: str, draw: random.Random) -> str:
    """Puts the text into a mail of two to four sentences, as a sentence of its own."""
    body = text if text.rstrip()[-1:] in ".?!" else text + "."
    before, after = draw.sample(BEFORE, draw.randint(1, 2)), draw.sample(AFTER, 1)
    return draw.choice([" ", "\n"]).join([*before, body, *after])


def _within(text: str, draw: random.Random) -> str:
    """Puts the text into the middle of one longer sentence."""
    return (
        f"{draw.choice(['so i wonder', 'a friend asked me'])} {text.strip(' .?!')} {draw.choice(['and so on', 'ok'])}"
    )


def _child(text: str, draw: random.Random) -> str:
    """Imitates a generator: half of the words, shuffled. The row names the test row as its parent."""
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


def banking77(source: Path, side: str) -> list[tuple[str, str]]:
    """Returns (text, label) of banking77's rows of one side, `train` or `test`."""
    with (source / "datasets" / "banking77" / f"{side}.csv").open(encoding="utf-8", newline="") as stream:
        return [(row["text"], row["category"]) for row in csv.DictReader(stream)]


def rows(pairs: Sequence[tuple[str, str]], role: str, prefix: str) -> list[Example]:
    """Returns the pairs as rows with a given side, each in a lineage group of its own."""
    return [
        Example(f"{prefix}{i}", {"text": text}, label, prefix, i, f"{prefix}{i}", role=role)
        for i, (text, label) in enumerate(pairs)
    ]


def row_sha(text: str, label: str) -> str:
    """Returns the SHA-256 of a row written as a JSON line."""
    return hashlib.sha256(json.dumps({"text": text, "label": label}).encode()).hexdigest()


def measure(train: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Returns the recall of each kind of planted row, by rule."""
    natural = copies([t for t, _ in test], [t for t, _ in train])
    twins = {pair.left for pair in natural}
    clean = [i for i, (text, _) in enumerate(test) if i not in twins and len(text.split()) > 1]
    test_rows, train_rows = rows(test, "test", "test-"), rows(train, "train", "train-")
    dev_rows = [Example(**{**e.__dict__, "role": "dev"}) for e in train_rows[:N_DEV]]
    hashes, messages = {row_sha(*pair) for pair in test}, {text for text, _ in test}
    kinds = {}
    for kind, change in KINDS.items():
        draw = random.Random(f"leakage/{kind}")
        pairs = [(change(test[i][0], draw), test[i][1]) for i in clean]
        planted = [
            Example(**{**e.__dict__, "parents": (f"test-{i}",) if kind == "synthetic child" else ()})
            for e, i in zip(rows(pairs, "train", "planted-"), clean, strict=True)
        ]
        sides: Split = split(SETTINGS, [*test_rows, *dev_rows, *train_rows[N_DEV:], *planted])
        removed = {r.id for r in sides.rejections}
        kinds[kind] = {
            "planted": len(planted),
            "found": sum(e.id in removed for e in planted) / len(planted),
            "sha256_of_row": sum(row_sha(*p) in hashes for p in pairs) / len(pairs),
            "equal_message": sum(text in messages for text, _ in pairs) / len(pairs),
        }
    by_kind = {kind: sum(p.kind == kind for p in natural) for kind in ("exact", "near", "contained")}
    return {"natural_twins": {"test_rows": len(test), "with_a_twin": len(twins), **by_kind}, "kinds": kinds}


def false_alarms(strangers: Sequence[str], test: Sequence[str]) -> dict[str, Any]:
    """Returns how many unrelated texts are called duplicates, and how many of them a simpler rule calls so too."""
    pairs = copies(strangers, test)
    to_read = []
    counts = {"exact": 0, "jaccard_0.8": 0, "same_words": 0, "whole_text_inside": 0, "other": 0}
    for pair in pairs:
        a, b = plain(strangers[pair.left]), plain(test[pair.right])
        if a == b:
            counts["exact"] += 1
        elif near_pairs([a, b], 0.8):
            counts["jaccard_0.8"] += 1
        elif sorted(a.split()) == sorted(b.split()):
            counts["same_words"] += 1
        else:
            is_inside = f" {a} " in f" {b} " or f" {b} " in f" {a} "
            counts["whole_text_inside" if is_inside else "other"] += 1
            to_read.append([pair.kind, strangers[pair.left], test[pair.right]])
    n = len(strangers)
    doubtful = counts["whole_text_inside"] + counts["other"]
    return {
        "rows": n,
        "called_copies": len(pairs),
        **counts,
        "per_10000_whole_text_inside_or_other": round(10_000 * doubtful / n, 2),
        "per_10000_other": round(10_000 * counts["other"] / n, 2),
        "to_look_at": to_read,
    }


def official_split(clinc: dict[str, Any]) -> dict[str, Any]:
    """Returns the duplicates between training and test in clinc150's official split."""
    pairs = copies([t for t, _ in clinc["test"]], [t for t, _ in clinc["train"]])
    verbatim = {t for t, _ in clinc["test"]} & {t for t, _ in clinc["train"]}
    named = {clinc["test"][p.left][0] for p in pairs}
    return {
        "test_rows_with_a_copy_in_training": len(pairs),
        **{kind: sum(p.kind == kind for p in pairs) for kind in ("exact", "near", "contained")},
        "verbatim": sorted(verbatim),
        "verbatim_found": len(verbatim & named),
    }


def figures(detail: dict[str, Any]) -> dict[str, Figure]:
    """Returns the recall of each kind, compared with equal SHA-256, and the false alarms."""
    recall = {
        f"{kind}: found": Figure(one["found"], unit="share", peer=one["sha256_of_row"])
        for kind, one in detail["kinds"].items()
    }
    against_test = detail["false_alarms"]["against_test"]
    return {
        **recall,
        "false alarms that no simpler rule explains": Figure(
            against_test["per_10000_other"], unit="per 10,000 rows of clinc150"
        ),
    }


def main() -> None:
    """Runs the benchmark."""
    data = "datasets/banking77 and datasets/clinc150"
    options = parser(__doc__, quick="every 20th row", needs_source=data).parse_args()
    stride = 20 if options.quick else 1
    train, test = (banking77(options.source, side)[::stride] for side in ("train", "test"))
    path = options.source / "datasets" / "clinc150" / "data_full.json"
    clinc = {side: part[::stride] for side, part in json.loads(path.read_text(encoding="utf-8")).items()}
    start = time.process_time()
    detail = measure(train, test)
    strangers = [text for part in clinc.values() for text, _ in part]
    detail["false_alarms"] = {
        "against_test": false_alarms(strangers, [t for t, _ in test]),
        "against_train": false_alarms(strangers, [t for t, _ in train]),
    }
    detail["clinc150_official_split"] = official_split(clinc)
    detail["processor_seconds"] = round(time.process_time() - start, 1)
    print(f"{'kind':<20}{'planted':>8}{'found':>8}{'sha256 of row':>15}{'equal message':>15}")
    for kind, one in detail["kinds"].items():
        shares = f"{one['found']:>8.1%}{one['sha256_of_row']:>15.1%}{one['equal_message']:>15.1%}"
        print(f"{kind:<20}{one['planted']:>8}{shares}")
    for key in ("natural_twins", "false_alarms", "clinc150_official_split"):
        print(f"{key}: {json.dumps(detail[key], indent=2)}")
    publish("leakage", figures(detail), detail, options, machine=machine())


if __name__ == "__main__":
    main()
