"""Fine-tuning with LoRA beside TRL's SFTTrainer: time, memory, losses; and reading answers beside `generate`.

`python -m benchmarks.training --source ../shared [--quick] [--write]`, with `pip install -e .[bench]`. `--source` holds
`datasets/dolly_small`, whose texts are cut to prompts of about 95 tokens with short answers (4 tokens), long ones
(up to 90), and short ones behind an instruction of 128 tokens that all rows share. The base is a Llama of 15 million
parameters with random weights and a vocabulary of 32,000, the same for all. Every run is a process of its own on one
core, in fp32. Tokens are counted without padding, and all runs see the same rows the same number of times; TRL runs
plain, and packed into rows no shorter than the longest of ours.

The floor is what a step must do - forward, and backward through activations alone, as frozen weights need no
gradient - over the rate at which this machine multiplies matrices of such shapes; tokens that all rows share once a
step.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path(__file__).parent / "results" / "training.json"
ROWS, BATCH, PROMPT_TOKENS, VOCABULARY = 96, 32, 95, 32_000
LAYERS, HIDDEN, INNER, HEADS = 6, 288, 768, 6
ANSWERS: Final = {"short": 4, "long": 90, "instructed": 4}
GOALS: Final = {"short": 4.0, "long": 2.5}
SHARED: Final = {"instructed": 128}
"""Kind -> first tokens that all its rows share."""
RANK, RATE = 16, 2e-3
RUNS: Final = ("rungwise", "trl plain", "trl packed")
HALF: Final = "rungwise bf16"


def make_base(folder: Path, source: Path) -> None:
    """Writes the base: a byte-level BPE of the texts, and random weights."""
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
    """Returns (prompt, answer) of dolly's rows, without the words that all prompts share."""
    path = source / "datasets" / "dolly_small" / "dolly_hhrlhf_train_small.jsonl"
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        instruction = row["prompt"].partition("### Instruction:")[2].partition("### Response:")[0].strip()
        found.append((instruction, row["response"].strip()))
    return found


def make_rows(folder: Path, source: Path) -> None:
    """Writes ROWS rows as tokens of each kind: prompt and answer with its end."""
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


def ours(folder: Path, rows: list[list[list[int]]], steps: int, precision: str = "fp32") -> dict[str, Any]:
    """Trains with Rungwise; returns the seconds at which each step ended, and its loss."""
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


def theirs(folder: Path, rows: list[list[list[int]]], steps: int, *, is_packed: bool) -> dict[str, Any]:
    """The same with TRL, from the same fresh adapter."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from datasets import Dataset
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

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
    ends: list[float] = []
    losses: list[float] = []
    counts = {"tokens": 0, "targets": 0}

    class Watch(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                losses.append(float(logs["loss"]))

    longest = max(len(prompt) + len(answer) for prompt, answer in rows)
    length = 512 if is_packed else longest
    # as many tokens a step as ours: rows of prompts and answers, or as many packed rows as hold these
    mean = sum(len(prompt) + len(answer) for prompt, answer in rows) / len(rows)
    per_step = max(1, round(BATCH * mean / length)) if is_packed else min(BATCH, len(rows))
    with tempfile.TemporaryDirectory() as out:
        arguments = SFTConfig(
            output_dir=out,
            max_steps=steps,
            per_device_train_batch_size=per_step,
            learning_rate=RATE,
            lr_scheduler_type="constant",
            warmup_steps=0,
            weight_decay=0.0,
            max_grad_norm=1.0,
            max_length=length,
            packing=is_packed,
            completion_only_loss=True,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_num_workers=0,
        )
        data = Dataset.from_dict(
            {
                "input_ids": [[*prompt, *answer] for prompt, answer in rows],
                "completion_mask": [[0] * len(prompt) + [1] * len(answer) for prompt, answer in rows],
            }
        )
        trainer = SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=data,
            processing_class=AutoTokenizer.from_pretrained(folder),
            callbacks=[Watch()],
        )
        inner = trainer.compute_loss

        def counted(model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            labels = inputs["labels"]
            counts["targets"] += int((labels != -100).sum())
            mask = inputs.get("attention_mask")
            counts["tokens"] += int(mask.sum()) if mask is not None else int(inputs["input_ids"].numel())
            return inner(model, inputs, *rest, **more)

        trainer.compute_loss = counted
        trainer.train()
    return {"ends": ends, "losses": losses, **counts}


def once(run: str, folder: Path, kind: str, n_rows: int, steps: int) -> dict[str, Any]:
    """Returns what one process measures."""
    rows = read_rows(folder, kind, n_rows)
    if run.startswith("rungwise"):
        found = ours(folder, rows, steps, "bf16" if run == HALF else "fp32")
    else:
        found = theirs(folder, rows, steps, is_packed="packed" in run)
    ends = found.pop("ends")
    # the first step warms up: allocators, kernels
    found["seconds"] = ends[-1] - ends[1]
    found["tokens_per_second"] = found["tokens"] * (steps - 1) / steps / found["seconds"]
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def in_a_process(*arguments: object) -> dict[str, Any]:
    """Runs `--one ARGUMENTS` on one core; returns what it printed last."""
    command = [sys.executable, "-m", "benchmarks.training", "--one", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def best_of(repeats: int, folder: Path, kind: str, steps: int) -> dict[str, Any]:
    """Returns run -> its fastest of some rounds in turns, so that what else the machine does hits all alike."""
    rounds = [{run: in_a_process(run, folder, kind, ROWS, steps) for run in (*RUNS, HALF)} for _ in range(repeats)]
    found = {}
    for run in (*RUNS, HALF):
        speeds = [one[run]["tokens_per_second"] for one in rounds]
        found[run] = {**rounds[speeds.index(max(speeds))][run], "all_tokens_per_second": speeds}
    return found


def matrix_rate(n: int = 1600) -> float:
    """Returns operations a second of fp32 matrix products of a step's shapes on this process' threads."""
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
    """Returns what training on each of the rows once must do; the first `n_shared` tokens pass once a step.

    Forward and backward through activations take two operations a weight and token each; LoRA's own weights take a
    third time; attention multiplies each token with those before it, twice forward and four times backward; logits
    stand where a target is.
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


def figures(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the claims: figure -> value, unit, goal, peer, whether it is met."""
    made: dict[str, dict[str, Any]] = {}

    def claim(name: str, value: float, unit: str, goal: float | None, peer: str, *, less: bool = False) -> None:
        met = None if goal is None else (value <= goal if less else value >= goal)
        made[name] = {"value": round(value, 4), "unit": unit, "goal": goal, "peer": peer, "met": met}

    for kind, by_run in result["kinds"].items():
        own = by_run["rungwise"]
        better = max((by_run[run] for run in RUNS[1:]), key=lambda found: found["tokens_per_second"])
        ratio = own["tokens_per_second"] / better["tokens_per_second"]
        claim(f"{kind}: times as fast", ratio, "ratio", GOALS.get(kind), "TRL, the better of plain and packed")
        memory = own["peak_mib"] / by_run["trl plain"]["peak_mib"]
        claim(f"{kind}: share of memory", memory, "ratio", 0.25, "TRL plain", less=True)
        claim(f"{kind}: share of the floor", own["share_of_floor"], "share", None, "this machine's matrix rate")
        half = by_run[HALF]["tokens_per_second"] / own["tokens_per_second"]
        claim(f"{kind}: bf16 times as fast as fp32", half, "ratio", None, "fp32")
        claim(f"{kind}: largest difference of losses", by_run["loss_difference"], "nats", 1e-3, "TRL plain", less=True)
    for name, value in result["reading"].items():
        goal = None if "before" in name else 5.0 if "times" in name else 1.0
        claim(name.replace("_", " "), value, "ratio", goal, "transformers' generate, row by row")
    return made


def one(run: str, folder: str, kind: str, n_rows: str, steps: str) -> dict[str, Any]:
    """Returns what the process of `--one` measures."""
    from benchmarks import reading

    if run == "reading":
        return reading.of_texts(Path(folder), kind, int(n_rows), int(steps))
    if run == "pocket":
        return reading.of_mails(kind, int(steps))
    if run == "rate":
        return {"rate": matrix_rate()}
    return once(run, Path(folder), kind, int(n_rows), int(steps))


def main() -> None:
    """Measures, prints a table and one line of JSON and, with --write, keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--quick", action="store_true", help="one step in place of three")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--repeats", type=int, default=1, help="rounds in turns, of which each run's fastest counts")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(*arguments.one)))
        return
    steps = 2 if arguments.quick else ROWS // BATCH + 1
    result: dict[str, Any] = {"kinds": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "base"
        folder.mkdir()
        make_base(folder, arguments.source)
        make_rows(folder, arguments.source)
        for kind in ANSWERS:
            rate = in_a_process("rate", folder, kind, ROWS, 0)["rate"]
            by_run = best_of(arguments.repeats, folder, kind, steps)
            own = by_run["rungwise"]
            rows = read_rows(folder, kind, ROWS)
            floor = floor_operations(rows, SHARED.get(kind, 0)) / sum(len(p) + len(a) for p, a in rows) / rate
            own["share_of_floor"] = floor * own["tokens_per_second"]
            own["matrix_gflops"] = rate / 1e9
            # every step sees the same rows, so that the order within it does not matter
            equal = {run: in_a_process(run, folder, kind, BATCH, 4) for run in RUNS[:2]}
            pairs = zip(equal[RUNS[0]]["losses"], equal[RUNS[1]]["losses"], strict=True)
            by_run["loss_difference"] = max(abs(a - b) for a, b in pairs)
            if equal[RUNS[0]]["targets"] != equal[RUNS[1]]["targets"]:
                raise SystemExit(f"other targets: {equal}")
            result["kinds"][kind] = by_run
            for run in (*RUNS, HALF):
                found = by_run[run]
                print(
                    f"{kind:<11}{run:<14}{found['tokens_per_second']:>10,.0f} tokens/s{found['peak_mib']:>8,.0f} MiB"
                    f"   loss {found['losses'][0]:.3f} to {found['losses'][-1]:.3f}",
                    flush=True,
                )
        n_read = 32 if arguments.quick else ROWS
        result["reading"] = {}
        for kind in ("short", *SHARED):
            steps_of = {"reading": 10 if arguments.quick else 60, "pocket": 30 if arguments.quick else 300}
            for run, steps in steps_of.items():
                found = in_a_process(run, folder, kind, n_read, steps)
                name = "_".join((*([kind] if kind in SHARED else []), *([run] if run == "pocket" else []), ""))
                result["reading"] |= {name + key: value for key, value in found.items()}
    summary = {
        "benchmark": "training",
        "machine": f"{platform.machine()}, one core, Python {platform.python_version()}",
        "figures": figures(result),
    }
    for name, found in summary["figures"].items():
        goal = "" if found["goal"] is None else f"  goal {found['goal']:g}: {'met' if found['met'] else 'not met'}"
        print(f"{name:<42}{found['value']:>9.3f}  beside {found['peer']}{goal}")
    print(json.dumps(summary))
    if arguments.write:
        kept = {run: {k: v for k, v in found.items()} for run, found in result["kinds"].items()}
        RESULTS.write_text(json.dumps({**summary, "kinds": kept}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
