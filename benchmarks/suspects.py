"""How many labels that were flipped at random stand among the most suspicious rows.

`python -m benchmarks.suspects --source ../shared [--write]`. `--source` holds `datasets/banking77`; 5 % of its training
rows get another label, drawn at random, with three seeds.
"""

import argparse
import json
import platform
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.leakage import read
from rungwise.dataset.suspects import SUSPICIOUS, suspicions

RESULTS = Path(__file__).parent / "results" / "suspects.json"


def measure(rows: Sequence[tuple[str, str]], seed: int, share: float = 0.05) -> dict[str, Any]:
    """Returns what suspicion finds of `share` of the labels flipped at random."""
    draw = random.Random(seed)
    names = sorted({label for _, label in rows})
    flipped = set(draw.sample(range(len(rows)), round(share * len(rows))))
    labels = [
        draw.choice([n for n in names if n != label]) if i in flipped else label for i, (_, label) in enumerate(rows)
    ]
    start = time.process_time()
    suspicion_N, suggested, other_N = suspicions([text for text, _ in rows], labels)
    seconds = time.process_time() - start
    order = sorted(range(len(rows)), key=lambda i: (-suspicion_N[i], i))
    tenth, as_many = order[: len(rows) // 10], order[: len(flipped)]
    listed = [i for i in order if suspicion_N[i] >= SUSPICIOUS and other_N[i] > 0.5]
    found = [i for i in listed if i in flipped]
    return {
        "rows": len(rows),
        "flipped": len(flipped),
        "recall_in_top_tenth": sum(i in flipped for i in tenth) / len(flipped),
        "precision_in_top_tenth": sum(i in flipped for i in tenth) / len(tenth),
        "precision_in_as_many_as_were_flipped": sum(i in flipped for i in as_many) / len(flipped),
        "listed": len(listed),
        "listed_precision": len(found) / max(1, len(listed)),
        "listed_recall": len(found) / len(flipped),
        "listed_with_the_right_label_suggested": sum(suggested[i] == rows[i][1] for i in found) / max(1, len(found)),
        "processor_seconds": round(seconds, 1),
    }


def main() -> None:
    """Measures with three seeds and prints the figures; --write keeps them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rows = read(arguments.source / "datasets" / "banking77" / "train.csv")
    result = {
        "seeds": {seed: measure(rows, seed) for seed in (1, 2, 3)},
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    text = json.dumps(result, indent=2)
    if arguments.write:
        RESULTS.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
