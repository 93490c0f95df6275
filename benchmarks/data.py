"""A million short rows from a file to checked sides: time, memory, growth; near duplicates beside datasketch.

`python -m benchmarks.data --source ../shared [--sizes 10000 100000 1000000] [--write]`. `--source` holds
`datasets/banking77`, whose rows with half of their words exchanged for others make the rows; clusters of 2 to 5 are
copies with one or two letters changed. Every size runs in a process of its own, one thread. datasketch (`pip install
datasketch`) does the same search for near duplicates, verified alike, on the size that --peer names.
"""

import argparse
import csv
import json
import math
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.leakage import read

RESULTS = Path(__file__).parent / "results" / "data.json"
THRESHOLD = 0.8


def texts(source: list[tuple[str, str]], n: int, seed: int = 1) -> Iterator[tuple[str, str]]:
    """Yields n rows: a third of the clusters have one row, the others two to five."""
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
    """Returns seconds of processor time and rows of every step, and the process' peak memory in MiB."""
    from rungwise.config import IngestSettings, SplitSettings, TaskSettings, ValidateSettings
    from rungwise.dataset.ingest import ingest
    from rungwise.dataset.similar import near_pairs, plain
    from rungwise.dataset.split import split
    from rungwise.dataset.validate import validate

    task = TaskSettings.model_validate({"prompt": "{text} Label:", "answer": {"column": "label"}, "target": 0.9})
    found: dict[str, Any] = {"rows": n, "seconds": {}, "wall": {}}
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "rows.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "label"])
            writer.writerows(texts(source_rows(source), n))

        def timed(name: str, act: Any) -> Any:
            start, wall = time.process_time(), time.perf_counter()
            result = act()
            found["seconds"][name] = round(time.process_time() - start, 2)
            found["wall"][name] = round(time.perf_counter() - wall, 2)
            return result

        settings = IngestSettings.model_validate(
            {"sources": [{"name": "rows", "path": "rows.csv"}], "duplicates": {"near": "ignore"}}, strict=False
        )
        table = timed("ingest", lambda: ingest(settings, SplitSettings(), task, Path(folder))).examples
        pairs = timed("near duplicates", lambda: near_pairs([plain(t) for t in table.joined()], THRESHOLD))
        found["near_pairs"] = len(pairs)
        del pairs
        table = timed("validate", lambda: validate(ValidateSettings(suspects_up_to=0), task, table)).examples
        result = timed("split and leak check", lambda: split(SplitSettings(max_leaked_share=1.0), table))
        found["leaks"] = len(result.leaks)
    found["seconds"]["all"] = round(sum(found["seconds"].values()), 2)
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return found


def source_rows(source: Path) -> list[tuple[str, str]]:
    """Returns banking77's training rows."""
    return read(source / "datasets" / "banking77" / "train.csv")


def peer(source: Path, n: int) -> dict[str, Any]:
    """Returns seconds and recall of the search for near duplicates here and with datasketch, on the same rows.

    datasketch is measured with our bands and with 20 of 7, and the faster stands beside ours. Recall is the share of
    all pairs that any search found which the one found.
    """
    from rungwise.dataset.similar import near_pairs, plain
    from rungwise.dataset.similar.minhash import BANDS

    rows = sorted({plain(text) for text, _ in texts(source_rows(source), n)})
    near_pairs(rows[:500], THRESHOLD)  # libraries are loaded
    start = time.process_time()
    ours = {(p.left, p.right) for p in near_pairs(rows, THRESHOLD)}
    seconds = time.process_time() - start
    theirs = sorted((datasketch_pairs(rows, bands) for bands in (BANDS, (20, 7))), key=lambda found: found[1])
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
    """Returns the pairs that datasketch's MinHash finds and verification leaves, and seconds of processor time."""
    from datasketch import MinHash, MinHashLSH

    from rungwise.dataset.similar.minhash import SHINGLE

    start = time.process_time()
    padded = [f" {text} ".ljust(SHINGLE) for text in rows]
    grams = [frozenset(t[i : i + SHINGLE] for i in range(len(t) - SHINGLE + 1)) for t in padded]
    n_perm = bands[0] * bands[1]
    index = MinHashLSH(params=bands, num_perm=n_perm)
    found = set()
    for row, hashed in enumerate(MinHash.bulk([[g.encode() for g in one] for one in grams], num_perm=n_perm)):
        for other in index.query(hashed):
            shared = len(grams[row] & grams[other])
            if shared / (len(grams[row]) + len(grams[other]) - shared) >= THRESHOLD:
                found.add((other, row))
        index.insert(row, hashed)
    return found, time.process_time() - start


def exponent(small: dict[str, Any], large: dict[str, Any], step: str) -> float:
    """Returns b of `seconds ~ rows ** b` between two sizes."""
    ratio = max(large["seconds"][step], 0.01) / max(small["seconds"][step], 0.01)
    return round(math.log(ratio) / math.log(large["rows"] / small["rows"]), 2)


def main() -> None:
    """Measures each size in a process of its own, prints a table and, with --write, keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--peer", type=int, default=100_000)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--once", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(once(arguments.source, arguments.once)))
        return
    runs = []
    for n in arguments.sizes:
        command = [sys.executable, "-m", "benchmarks.data", "--source", str(arguments.source), "--once", str(n)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(runs[-1]), flush=True)
    result: dict[str, Any] = {
        "runs": runs,
        "exponents": {step: exponent(runs[-2], runs[-1], step) for step in runs[0]["seconds"]} if len(runs) > 1 else {},
        "peer": peer(arguments.source, arguments.peer) if arguments.peer else {},
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    print(json.dumps({"exponents": result["exponents"], "peer": result["peer"]}, indent=2))
    if arguments.write:
        RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
