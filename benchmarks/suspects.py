"""Label suspicion: how many labels flipped at random are among the most suspicious rows.

`python -m benchmarks.suspects --source FOLDER [--quick] [--write]`. FOLDER contains `datasets/banking77`. 5 % of its
training rows get another label, drawn at random, with three seeds.
"""

import random
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.leakage import banking77
from benchmarks.report import Figure, machine, parser, publish
from rungwise.dataset.suspects import SUSPICIOUS, suspicions

SEEDS = (1, 2, 3)


def measure(rows: Sequence[tuple[str, str]], seed: int, share: float = 0.05) -> dict[str, Any]:
    """Returns recall and precision of the suspicion score after `share` of the labels were flipped."""
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
    hits = [i for i in listed if i in flipped]
    return {
        "rows": len(rows),
        "flipped": len(flipped),
        "recall_in_top_tenth": sum(i in flipped for i in tenth) / len(flipped),
        "precision_in_top_tenth": sum(i in flipped for i in tenth) / len(tenth),
        "precision_in_as_many_as_were_flipped": sum(i in flipped for i in as_many) / len(flipped),
        "listed": len(listed),
        "listed_precision": len(hits) / max(1, len(listed)),
        "listed_recall": len(hits) / len(flipped),
        "listed_with_the_right_label_suggested": sum(suggested[i] == rows[i][1] for i in hits) / max(1, len(hits)),
        "processor_seconds": round(seconds, 1),
    }


def figures(detail: dict[str, Any]) -> dict[str, Figure]:
    """Returns the worst of the seeds for each figure."""
    seeds = detail["seeds"].values()

    def worst(key: str) -> Figure:
        return Figure(min(one[key] for one in seeds), unit="share, the worst of the seeds")

    return {
        "flipped labels in the most suspicious tenth": worst("recall_in_top_tenth"),
        "flipped among as many rows as were flipped": worst("precision_in_as_many_as_were_flipped"),
        "listed rows that were flipped": worst("listed_precision"),
        "flipped rows that are listed": worst("listed_recall"),
    }


def main() -> None:
    """Runs the benchmark."""
    options = parser(__doc__, quick="a third of the labels, one seed", needs_source="datasets/banking77").parse_args()
    rows = banking77(options.source, "train")
    if options.quick:
        rows = [row for row in rows if row[1] < "card_l"]
    detail: dict[str, Any] = {"seeds": {}}
    for seed in SEEDS[:1] if options.quick else SEEDS:
        detail["seeds"][str(seed)] = measure(rows, seed)
        print(f"seed {seed}: {detail['seeds'][str(seed)]}", flush=True)
    publish("suspects", figures(detail), detail, options, machine=machine())


if __name__ == "__main__":
    main()
