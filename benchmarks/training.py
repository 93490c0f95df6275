"""LoRA training: time, memory and losses compared with TRL's SFTTrainer; answering compared with `generate`.

`python -m benchmarks.training --source FOLDER [--quick] [--repeats N] [--write]`, after `pip install -e .[bench]`.
FOLDER contains `datasets/dolly_small`. Its texts are cut to prompts of about 95 tokens with short answers (4 tokens),
long answers (up to 90), and short answers behind a shared prefix of 128 tokens. The base is a Llama of 15 million
parameters with random weights and a vocabulary of 32,000, the same for all. Every run is a process of its own on one
core, in fp32. Tokens are counted without padding, and all runs see the same rows the same number of times. TRL runs
plain, and packed into rows at least as long as our longest. Without TRL its figures are left out.

The floor is the least work of a step (forward, and backward through activations only, since frozen weights need no
gradient) divided by the rate at which this machine multiplies matrices of these shapes. A shared prefix is counted
once per step.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks import peer
from benchmarks.report import Figure, at_least, at_most, machine, parser, publish

ROWS, BATCH, PROMPT_TOKENS, VOCABULARY = 96, 32, 95, 32_000
LAYERS, HIDDEN, INNER, HEADS = 6, 288, 768, 6
ANSWERS: Final = {"short": 4, "long": 90, "instructed": 4}
GOALS: Final = {"short": 4.0, "long": 2.5}
SHARED: Final = {"instructed": 128}
"""Kind -> length of the shared prefix in tokens."""
RANK, RATE = 16, 2e-3
RUNS: Final = ("rungwise", "trl plain", "trl packed") if not peer.missing() else ("rungwise",)
HALF: Final = "rungwise bf16"


def make_base(folder: Path, source: Path) -> None:
    """Writes the base: a byte-level BPE trained on the texts, and random weights."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([f"{prompt} {answer}" for prompt, answer in texts(source)], trainer)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|end|>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def texts(source: Path) -> list[tuple[str, str]]:
    """Returns (prompt, answer) of dolly's rows, without the frame that all prompts share."""
    path = source / "datasets" / "dolly_small" / "dolly_hhrlhf_train_small.jsonl"
    pairs = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        instruction = row["prompt"].partition("### Instruction:")[2].partition("### Response:")[0].strip()
        pairs.append((instruction, row["response"].strip()))
    return pairs


def make_rows(folder: Path, source: Path) -> None:
    """Writes ROWS rows of each kind as token ids: prompt, and answer with its end token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    joined = [tokenizer(f"{prompt}\n{answer}").input_ids for prompt, answer in texts(source)]
    for kind, n_answer in ANSWERS.items():
        rows = []
        head = max(joined, key=len)[: SHARED.get(kind, 0)]
        for number, ids in enumerate(ids for ids in joined if len(ids) > PROMPT_TOKENS + n_answer + 20):
            n_prompt = PROMPT_TOKENS - 15 + number % 31  # 80 to 110
            n = n_answer - number % (n_answer // 3 + 1)
            rows.append([[*head, *ids[:n_prompt]], [*ids[n_prompt : n_prompt + n - 1], 0]])
        if len(rows) < ROWS:
            raise SystemExit(f"only {len(rows)} rows are long enough")
        (folder / f"{kind}.json").write_text(json.dumps(rows[:ROWS]), encoding="utf-8")


def read_rows(folder: Path, kind: str, n: int) -> list[list[list[int]]]:
    """Returns the first n rows."""
    rows: list[list[list[int]]] = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
    return rows[:n]


def train_rungwise(folder: Path, rows: list[list[list[int]]], steps: int, precision: str = "fp32") -> dict[str, Any]:
    """Trains with Rungwise; returns the times at which the steps ended, the losses and the counts of tokens."""
    from rungwise.core.records import AnswerForm, AttemptSpec, Base
    from rungwise.model.language_model import load
    from rungwise.training.batches import TokenRow
    from rungwise.training.loop import train

    lm = load(Base(folder.name), folder.parent, precision=precision)
    spec = AttemptSpec(
        precision=precision,
        base=lm.base,
        method="lora",
        prompt="{x}",
        form=AnswerForm("text"),
        rank=RANK,
        steps=steps,
        batch_size=min(BATCH, len(rows)),
        learning_rate=RATE,
        warmup_share=0.0,
        schedule="constant",
        max_tokens_per_microbatch=4_096,
    )
    ends = [time.perf_counter()]
    made = train(
        lm,
        spec,
        [TokenRow(tuple(prompt), tuple(answer)) for prompt, answer in rows],
        progress=lambda *_: ends.append(time.perf_counter()),
    )
    return {"ends": ends, "losses": made.losses, "tokens": made.tokens, "targets": made.answer_tokens}


def train_trl(folder: Path, rows: list[list[list[int]]], steps: int, *, is_packed: bool) -> dict[str, Any]:
    """Trains with TRL from the same fresh adapter; returns the same values as `train_rungwise`."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rungwise.core.records import AnswerForm, AttemptSpec, Base
    from rungwise.model import adapter_files, adapters
    from rungwise.model.language_model import load

    lm = load(Base(folder.name), folder.parent)
    spec = AttemptSpec(lm.base, "lora", "{x}", AnswerForm("text"), rank=RANK)
    with tempfile.TemporaryDirectory() as start:
        adapter_files.save(adapters.attach(lm, spec), spec, Path(start))
        del lm
        base = AutoModelForCausalLM.from_pretrained(folder)
        model = PeftModel.from_pretrained(base, start, is_trainable=True)
    longest = max(len(prompt) + len(answer) for prompt, answer in rows)
    length = 512 if is_packed else longest
    # the same number of tokens per step as ours: as many rows, or as many packed rows as contain them
    mean = sum(len(prompt) + len(answer) for prompt, answer in rows) / len(rows)
    per_step = max(1, round(BATCH * mean / length)) if is_packed else min(BATCH, len(rows))
    return peer.train_trl(
        model,
        AutoTokenizer.from_pretrained(folder),
        rows,
        steps,
        rate=RATE,
        length=length,
        rows_per_step=per_step,
        is_packed=is_packed,
    )


def once(run: str, folder: Path, kind: str, n_rows: int, steps: int) -> dict[str, Any]:
    """Returns the measurements of one training run, made in this process."""
    rows = read_rows(folder, kind, n_rows)
    if run.startswith("rungwise"):
        measured = train_rungwise(folder, rows, steps, "bf16" if run == HALF else "fp32")
    else:
        measured = train_trl(folder, rows, steps, is_packed="packed" in run)
    ends = measured.pop("ends")
    # the first step is not timed: it warms up allocators and kernels
    measured["seconds"] = ends[-1] - ends[1]
    measured["tokens_per_second"] = measured["tokens"] * (steps - 1) / steps / measured["seconds"]
    measured["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return measured


def in_a_process(*arguments: object) -> dict[str, Any]:
    """Runs `--one ARGUMENTS` in a process on one core; returns the JSON of its last line."""
    command = [sys.executable, "-m", "benchmarks.training", "--source", ".", "--one", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))} failed:\n{done.stderr[-3000:]}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def best_of(repeats: int, folder: Path, kind: str, n_rows: int, steps: int) -> dict[str, Any]:
    """Returns run -> its fastest round. The runs take turns, so that other load on the machine affects all alike."""
    rounds = [{run: in_a_process(run, folder, kind, n_rows, steps) for run in (*RUNS, HALF)} for _ in range(repeats)]
    best = {}
    for run in (*RUNS, HALF):
        speeds = [one[run]["tokens_per_second"] for one in rounds]
        best[run] = {**rounds[speeds.index(max(speeds))][run], "all_tokens_per_second": speeds}
    return best


def matrix_rate(n: int = 1600) -> float:
    """Returns operations per second of fp32 matrix products of a step's shapes, on this process's threads."""
    import torch

    pairs = [(HIDDEN, HIDDEN), (HIDDEN, INNER), (INNER, HIDDEN)]
    inputs = {i: torch.randn(n, i) for i, _ in pairs}
    weights = [torch.randn(o, i) for i, o in pairs]
    best = 0.0
    for _ in range(8):
        start = time.perf_counter()
        for weight in weights:
            for _ in range(4):
                inputs[weight.shape[1]] @ weight.t()
        operations = sum(2 * n * i * o * 4 for i, o in pairs)
        best = max(best, operations / (time.perf_counter() - start))
    return best


def floor_operations(rows: list[list[list[int]]], n_shared: int = 0) -> float:
    """Returns the least number of operations to train on each row once, with `n_shared` prefix tokens once per step.

    Forward and backward through activations take two operations each per weight and token. LoRA's own weights take
    two more for their gradient. Attention multiplies each token with the tokens before it, twice forward and four
    times backward. Logits are computed at target positions only.
    """
    linear = LAYERS * (4 * HIDDEN * HIDDEN + 3 * HIDDEN * INNER)
    lora = LAYERS * RANK * (4 * 2 * HIDDEN + 3 * (HIDDEN + INNER))
    attention = LAYERS * HIDDEN / 2 * 12
    once = n_shared * (4 * linear + 6 * lora) + attention * n_shared * n_shared
    total = once * len(rows) / BATCH
    for prompt, answer in rows:
        n = len(prompt) + len(answer) - 1
        total += (n - n_shared) * (4 * linear + 6 * lora) + attention * (n * n - n_shared * n_shared)
        total += len(answer) * 4 * HIDDEN * VOCABULARY
    return total


def figures(detail: dict[str, Any]) -> dict[str, Figure]:
    """Returns the figures of a measurement; those that need TRL only where it was measured."""
    made: dict[str, Figure] = {}
    for kind, by_run in detail["kinds"].items():
        own = by_run["rungwise"]
        peers = [by_run[run] for run in ("trl plain", "trl packed") if run in by_run]
        if peers:
            speed = own["tokens_per_second"] / max(one["tokens_per_second"] for one in peers)
            made[f"{kind}: times as fast"] = at_least(
                _rounded(speed), GOALS.get(kind), "ratio", "TRL, the better of plain and packed"
            )
            memory = own["peak_mib"] / by_run["trl plain"]["peak_mib"]
            made[f"{kind}: share of memory"] = at_most(_rounded(memory), 0.25, "ratio", "TRL plain")
            gap = by_run["loss_difference"]
            made[f"{kind}: largest difference of losses"] = at_most(_rounded(gap), 1e-3, "nats", "TRL plain")
        made[f"{kind}: share of the floor"] = Figure(
            _rounded(own["share_of_floor"]), unit="share", peer="this machine's matrix rate"
        )
        half = by_run[HALF]["tokens_per_second"] / own["tokens_per_second"]
        made[f"{kind}: bf16 times as fast as fp32"] = Figure(_rounded(half), unit="ratio", peer="fp32")
    for name, value in detail["reading"].items():
        goal = None if "before" in name else 5.0 if "times" in name else 1.0
        peer = "transformers' generate, row by row"
        made[name.replace("_", " ")] = at_least(_rounded(value), goal, "ratio", peer)
    return made


def _rounded(value: float) -> float:
    return round(value, 4)


def one(run: str, folder: str, kind: str, n_rows: str, steps: str) -> dict[str, Any]:
    """Returns the measurements of the process that `--one` starts."""
    from benchmarks import reading

    if run == "reading":
        return reading.of_texts(Path(folder), kind, int(n_rows), int(steps))
    if run == "pocket":
        return reading.of_mails(kind, int(steps))
    if run == "rate":
        return {"rate": matrix_rate()}
    return once(run, Path(folder), kind, int(n_rows), int(steps))


def measure_kind(folder: Path, kind: str, repeats: int, n_rows: int, steps: int) -> dict[str, Any]:
    """Returns run -> measurements of one kind of rows, prints them, and compares the losses with TRL's.

    Raises:
        SystemExit: the two trainers counted different numbers of targets, so that losses are not comparable.
    """
    rate = in_a_process("rate", folder, kind, n_rows, 0)["rate"]
    by_run = best_of(repeats, folder, kind, n_rows, steps)
    own = by_run["rungwise"]
    rows = read_rows(folder, kind, n_rows)
    floor = floor_operations(rows, SHARED.get(kind, 0)) / sum(len(p) + len(a) for p, a in rows) / rate
    own["share_of_floor"] = floor * own["tokens_per_second"]
    own["matrix_gflops"] = rate / 1e9
    if "trl plain" in by_run:
        # every step sees the same rows, so that their order does not matter
        pair = [in_a_process(run, folder, kind, min(BATCH, n_rows), 4) for run in ("rungwise", "trl plain")]
        by_run["loss_difference"] = max(abs(a - b) for a, b in zip(*(one["losses"] for one in pair), strict=True))
        if pair[0]["targets"] != pair[1]["targets"]:
            raise SystemExit(f"the trainers counted different targets: {pair}")
    for run in (*RUNS, HALF):
        measured = by_run[run]
        print(
            f"{kind:<11}{run:<14}{measured['tokens_per_second']:>10,.0f} tokens/s{measured['peak_mib']:>8,.0f} MiB"
            f"   loss {measured['losses'][0]:.3f} to {measured['losses'][-1]:.3f}",
            flush=True,
        )
    return by_run


def measure_reading(folder: Path, n_rows: int) -> dict[str, float]:
    """Returns the ratios of `benchmarks.reading` for texts and mails, with and without a shared prefix."""
    ratios: dict[str, float] = {}
    for kind in ("short", *SHARED):
        for run, steps in (("reading", 60), ("pocket", 300)):
            name = "_".join((*([kind] if kind in SHARED else []), *([run] if run == "pocket" else []), ""))
            ratios |= {name + key: value for key, value in in_a_process(run, folder, kind, n_rows, steps).items()}
    return ratios


def main() -> None:
    """Runs the benchmark."""
    arguments = parser(__doc__, quick="16 rows, 2 steps, without answering", needs_source="datasets/dolly_small")
    arguments.add_argument("--repeats", type=int, default=1, metavar="N", help="rounds; each run's fastest counts")
    arguments.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one:
        print(json.dumps(one(*options.one)))
        return
    kinds, n_rows, steps = (("short",), 16, 2) if options.quick else (tuple(ANSWERS), ROWS, ROWS // BATCH + 1)
    detail: dict[str, Any] = {"kinds": {}, "reading": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "base"
        folder.mkdir()
        make_base(folder, options.source)
        make_rows(folder, options.source)
        for kind in kinds:
            detail["kinds"][kind] = measure_kind(folder, kind, options.repeats, n_rows, steps)
        if not options.quick:
            detail["reading"] = measure_reading(folder, ROWS)
    made = figures(detail)
    for name, figure in made.items():
        goal = "" if figure.goal is None else f"  goal {figure.goal:g}: {'met' if figure.met else 'not met'}"
        print(f"{name:<42}{figure.value:>9.3f}  compared with {figure.peer}{goal}")
    publish("training", made, detail, options, machine=machine("one core"))


if __name__ == "__main__":
    main()
