"""Token audit: which faults planted in the tokens of real training rows it detects.

`python -m benchmarks.audit --source FOLDER [--quick] [--write]`. FOLDER contains `datasets/banking77` and
`models/stories260k`. A fault of rows is planted in 5 % of the rows, a fault of the base in the base. A fault counts as
detected if the audit reports it with exactly the planted share. Trainers in common use check none of these.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.leakage import banking77
from benchmarks.report import Figure, at_least, at_most, machine, parser, publish
from rungwise.core.records import Base, Example
from rungwise.model.language_model import LanguageModel, load
from rungwise.training.audit import Encoded, audit
from rungwise.training.batches import encode

EVERY = 20
"""A fault is planted in every 20th row."""
PROMPT = "Message:\n{text}\nTopic:"
ROW_FAULTS = (
    "cut_answer", "empty_answer", "no_target", "over_context", "unknown_tokens", "lost_newlines", "no_end",
)  # fmt: skip
BASE_FAULTS = ("untrained_end", "pad_in_text", "no_assistant_part")
FAULTS = (*ROW_FAULTS, *BASE_FAULTS)


def planted(lm: LanguageModel, row: Encoded, fault: str) -> Encoded:
    """Returns the row with one fault."""
    ids, unknown = list(row.prompt), int(lm.tokenizer.unk_token_id or 0)
    changed = {
        "cut_answer": lambda: replace(row, targets=[*row.targets[: max(1, len(row.targets) // 2)], lm.end]),
        "empty_answer": lambda: replace(row, targets=[lm.end]),
        "no_target": lambda: replace(row, targets=[]),
        "over_context": lambda: _long(lm, row),
        "unknown_tokens": lambda: replace(row, prompt=[*ids[:-1], unknown, ids[-1]]),
        "lost_newlines": lambda: _without_newlines(lm, row),
        "no_end": lambda: replace(row, targets=row.targets[:-1]),
    }
    return changed[fault]()


def _long(lm: LanguageModel, row: Encoded) -> Encoded:
    text = row.prompt_text + " and so on" * lm.context_tokens
    ids = lm.tokenizer(text, add_special_tokens=False).input_ids[: lm.context_tokens - 2]
    whole = [*lm.prefix, *ids][: lm.context_tokens - 1]
    return replace(row, prompt=whole, prompt_text=lm.tokenizer.decode(whole[len(lm.prefix) :]))


def _without_newlines(lm: LanguageModel, row: Encoded) -> Encoded:
    ids = lm.tokenizer(row.prompt_text.replace("\n", " "), add_special_tokens=False).input_ids
    return replace(row, prompt=[*lm.prefix, *ids])


def with_faulty_base(lm: LanguageModel, fault: str, rows: tuple[Encoded, ...]) -> LanguageModel:
    """Returns the model with one fault of BASE_FAULTS. Changes the given model's weights or tokenizer."""
    import torch

    if fault == "untrained_end":
        with torch.no_grad():
            lm.model.get_output_embeddings().weight[lm.end] *= 1e-3
        return lm
    if fault == "pad_in_text":
        lm.tokenizer.pad_token = lm.tokenizer.convert_ids_to_tokens(int(rows[0].prompt[-1]))
        return lm
    lm.tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{% endfor %}"
    return replace(lm, template="chat")


def measure(source: Path, stride: int = 1) -> dict[str, Any]:
    """Returns the audit's faults on clean rows, its speed, and for each fault the planted and the detected share.

    `stride`: use every so many rows.
    """
    pairs = banking77(source, "train")[::stride]
    examples = [Example(str(i), {"text": text}, label, "s", i, str(i)) for i, (text, label) in enumerate(pairs)]
    base = Base(str((source / "models" / "stories260k").resolve()))

    def fresh() -> tuple[LanguageModel, tuple[Encoded, ...]]:
        lm = load(base, Path("/"))
        return lm, encode(lm, PROMPT, examples)

    lm, rows = fresh()
    start = time.process_time()
    clean = audit(lm, rows)
    seconds = time.process_time() - start
    print(f"clean: {clean.rows:,} rows, {clean.tokens:,} tokens, faults {dict(clean.faults)}, {seconds:.1f} s")
    faults: dict[str, Any] = {}
    for fault in FAULTS:
        lm, rows = fresh()
        share = 1.0
        if fault in BASE_FAULTS:
            lm = with_faulty_base(lm, fault, rows)
        else:
            rows = tuple(planted(lm, row, fault) if i % EVERY == 0 else row for i, row in enumerate(rows))
            share = sum(i % EVERY == 0 for i in range(len(rows))) / len(rows)
        reported = audit(lm, rows).faults
        others = {name: value for name, value in reported.items() if name != fault and name not in clean.faults}
        is_detected = fault in reported and (fault == "pad_in_text" or abs(reported[fault] - share) < 1e-9)
        detected = reported.get(fault, 0.0)
        faults[fault] = {"planted": share, "found": detected, "others": others, "ok": is_detected}
        print(f"{fault:<20}{share:>8.2%} planted{detected:>9.2%} detected   others {others or 'none'}", flush=True)
    return {"clean": dict(clean.faults), "seconds_per_million_tokens": seconds / clean.tokens * 1e6, "faults": faults}


def figures(detail: dict[str, Any]) -> dict[str, Figure]:
    """Returns the figures of a measurement."""
    n_detected = sum(one["ok"] for one in detail["faults"].values())
    peer = "trainers in use: none"
    return {
        "planted faults found": at_least(n_detected, len(FAULTS), f"of {len(FAULTS)}", peer),
        "faults on clean rows": at_most(len(detail["clean"]), 0, "kinds"),
        "seconds a million tokens": Figure(round(detail["seconds_per_million_tokens"], 2), unit="s of processor time"),
    }


def main() -> None:
    """Runs the benchmark."""
    options = parser(
        __doc__, quick="every 50th row", needs_source="datasets/banking77 and models/stories260k"
    ).parse_args()
    detail = measure(options.source, 50 if options.quick else 1)
    publish("audit", figures(detail), detail, options, machine=machine())


if __name__ == "__main__":
    main()
