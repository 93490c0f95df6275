"""Row preparation: time and memory for a million short rows; the near-duplicate search compared with datasketch.

`python -m benchmarks.data --source FOLDER [--quick] [--sizes N N ...] [--peer N] [--write]`. FOLDER contains
`datasets/banking77`. The rows are its rows with half of their words replaced. A cluster of 2 to 5 rows is one text with
one or two letters changed. Every size runs in a process of its own, on one thread. datasketch does the same search
for near duplicates, with the same verification, on the number of rows that `--peer` gives.
"""

import argparse
import csv
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.leakage import banking77
from benchmarks.report import Figure, machine, parser, publish

THRESHOLD = 0.8


def texts(source: list[tuple[str, str]], n: int, seed: int = 1) -> Iterator[tuple[str, str]]:
    """Yields n (text, label) rows in clusters of 1 row (40 % of the clusters), 2, 3 or 5 rows."""
    draw = random.Random(seed)
    words = sorted({word for text, _ in source for word in text.split()})
    made = 0
    while made < n:
        text, label = draw.choice(source)
        own = text.split()[:20]
        for place in draw.sample(range(len(own)), (len(own) + 1) // 2):
            own[place] = draw.choice(words)
        base = " ".join([*own, draw.choice(words), draw.choice(words)])
        for copy in range(min(n - made, draw.choice((1, 1, 2, 3, 5)))):
            letters = list(base)
            for _ in range(draw.randint(1, 2) if copy else 0):
                letters[draw.randrange(len(letters))] = draw.choice("abcdefghij")
            yield "".join(letters), label
            made += 1


def once(source: Path, n: int) -> dict[str, Any]:
    """Returns each step's seconds (processor and wall time), the counts, and the process's peak memory in MiB."""
    from rungwise.config import IngestSettings, SplitSettings, TaskSettings, ValidateSettings
    from rungwise.dataset.ingest import ingest
    from rungwise.dataset.similar import near_pairs, plain
    from rungwise.dataset.split import split
    from rungwise.dataset.validate import validate

    task = TaskSettings.model_validate({"prompt": "{text} Label:", "answer": {"column": "label"}})
    measured: dict[str, Any] = {"rows": n, "seconds": {}, "wall": {}}
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "rows.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "label"])
            writer.writerows(texts(banking77(source, "train"), n))

        def timed(name: str, act: Any) -> Any:
            start, wall = time.process_time(), time.perf_counter()
            result = act()
            measured["seconds"][name] = round(time.process_time() - start, 2)
            measured["wall"][name] = round(time.perf_counter() - wall, 2)
            return result

        settings = IngestSettings.model_validate(
            {"sources": [{"name": "rows", "path": "rows.csv"}], "duplicates": {"near": "ignore"}}, strict=False
        )
        table = timed("ingest", lambda: ingest(settings, SplitSettings(), task, Path(folder))).examples
        pairs = timed("near duplicates", lambda: near_pairs([plain(t) for t in table.joined()], THRESHOLD))
        measured["near_pairs"] = len(pairs)
        del pairs
        table = timed("validate", lambda: validate(ValidateSettings(suspects_up_to=0), task, table)).examples
        result = timed("split and leak check", lambda: split(SplitSettings(max_leaked_share=1.0), table))
        measured["leaks"] = len(result.leaks)
    measured["seconds"]["all"] = round(sum(measured["seconds"].values()), 2)
    measured["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return measured


def peer(source: Path, n: int) -> dict[str, Any]:
    """Returns seconds and recall of the search for near duplicates, ours and datasketch's, on the same rows.

    datasketch runs with our bands and with 20 bands of 7 rows; the faster of the two is compared with ours. Recall
    is relative to the union of the pairs that any of the searches found.
    """
    from rungwise.dataset.similar import near_pairs, plain
    from rungwise.dataset.similar.minhash import BANDS

    rows = sorted({plain(text) for text, _ in texts(banking77(source, "train"), n)})
    near_pairs(rows[:500], THRESHOLD)  # so that loading the libraries is not timed
    start = time.process_time()
    ours = {(p.left, p.right) for p in near_pairs(rows, THRESHOLD)}
    seconds = time.process_time() - start
    theirs = sorted((datasketch_pairs(rows, bands) for bands in (BANDS, (20, 7))), key=lambda one: one[1])
    both = ours.union(*(pairs for pairs, _ in theirs))
    return {
        "rows": len(rows),
        "pairs": len(both),
        "recall": len(ours) / len(both),
        "seconds": round(seconds, 2),
        "datasketch_recall": len(theirs[0][0]) / len(both),
        "datasketch_seconds": [round(seconds, 2) for _, seconds in theirs],
        "times_as_fast": round(theirs[0][1] / seconds, 1),
    }


def datasketch_pairs(rows: list[str], bands: tuple[int, int]) -> tuple[set[tuple[int, int]], float]:
    """Returns the verified pairs that datasketch's MinHash finds, and seconds of processor time."""
    from datasketch import MinHash, MinHashLSH

    from rungwise.dataset.similar.minhash import SHINGLE

    start = time.process_time()
    padded = [f" {text} ".ljust(SHINGLE) for text in rows]
    grams = [frozenset(t[i : i + SHINGLE] for i in range(len(t) - SHINGLE + 1)) for t in padded]
    n_perm = bands[0] * bands[1]
    index = MinHashLSH(params=bands, num_perm=n_perm)
    pairs = set()
    for row, hashed in enumerate(MinHash.bulk([[g.encode() for g in one] for one in grams], num_perm=n_perm)):
        for other in index.query(hashed):
            shared = len(grams[row] & grams[other])
            if shared / (len(grams[row]) + len(grams[other]) - shared) >= THRESHOLD:
                pairs.add((other, row))
        index.insert(row, hashed)
    return pairs, time.process_time() - start


def exponent(small: dict[str, Any], large: dict[str, Any], step: str) -> float:
    """Returns b of `seconds ~ rows ** b` between two sizes."""
    ratio = max(large["seconds"][step], 0.01) / max(small["seconds"][step], 0.01)
    return round(math.log(ratio) / math.log(large["rows"] / small["rows"]), 2)


def figures(detail: dict[str, Any]) -> dict[str, Figure]:
    """Returns time and memory of the largest size, the growth with size, and the comparison with datasketch."""
    largest, beyond = detail["runs"][-1], {}
    if detail["exponents"]:
        beyond["growth of time with rows"] = Figure(detail["exponents"]["all"], unit="exponent")
    if detail["peer"]:
        peer = detail["peer"]
        beyond["near duplicates: times as fast"] = Figure(peer["times_as_fast"], unit="ratio", peer="datasketch")
        beyond["near duplicates: recall"] = Figure(peer["recall"], unit="share", peer=peer["datasketch_recall"])
    return {
        f"{largest['rows']:,} rows: processor time": Figure(largest["seconds"]["all"], unit="s"),
        f"{largest['rows']:,} rows: peak memory": Figure(largest["peak_mib"], unit="MiB"),
        **beyond,
    }


def main() -> None:
    """Runs the benchmark."""
    arguments = parser(__doc__, quick="500 and 1,000 rows", needs_source="datasets/banking77")
    arguments.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], metavar="N")
    arguments.add_argument(
        "--peer", type=int, default=100_000, metavar="N", help="rows for datasketch; 0 leaves it out"
    )
    arguments.add_argument("--once", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.once:
        print(json.dumps(once(options.source, options.once)))
        return
    sizes, n_peer = ([500, 1_000], 1_000) if options.quick else (options.sizes, options.peer)
    runs = []
    for n in sizes:
        command = [sys.executable, "-m", "benchmarks.data", "--source", str(options.source), "--once", str(n)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(runs[-1]), flush=True)
    detail: dict[str, Any] = {
        "runs": runs,
        "exponents": {step: exponent(runs[-2], runs[-1], step) for step in runs[0]["seconds"]} if len(runs) > 1 else {},
        "peer": peer(options.source, n_peer) if n_peer else {},
    }
    print(json.dumps({"exponents": detail["exponents"], "peer": detail["peer"]}, indent=2))
    publish("data", figures(detail), detail, options, machine=machine())


if __name__ == "__main__":
    main()
