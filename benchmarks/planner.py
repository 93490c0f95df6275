"""Memory plan: how close the planner's estimate is to the real peak, compared with a common rule of thumb.

`python -m benchmarks.planner [--quick] [--write]`. Each combination of size, method, length and batch runs in a process
of its own, with a Llama of random weights: two steps of the training loop, or one batch of scoring. On a CPU the peak
is the process's highest resident memory (VmHWM) minus its resident memory before the model is made, with the libraries
loaded and warm, and with glibc set to return freed blocks (MALLOC_MMAP_THRESHOLD_=131072). By default glibc's heap
keeps the holes between blocks, and the process grows well beyond what it uses. No estimate from a config can know how
far, so three combinations are measured with the default heap too (`default_heap`). On a GPU the peak is
`torch.cuda.max_memory_allocated`, compared with the estimate without the framework's share. An error is
(estimate - measured) / measured.

The rule of thumb, "LoRA in 16 bit takes 2 GB for each billion parameters"
(https://modal.com/blog/how-much-vram-need-fine-tuning gives it for the weights), is compared with the same peaks of
method `lora`, in fp32 and bf16 alike.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from benchmarks.report import Figure, at_least, at_most, machine, parser, publish, slug
from rungwise.planning.job import Job
from rungwise.planning.memory import need_of
from rungwise.planning.model_config import shape_of
from rungwise.planning.need import PARTS
from rungwise.planning.shape import Shape

_SMALL = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "num_attention_heads": 4}
_MIDDLE = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 6, "num_attention_heads": 8}
_LARGE = {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 8, "num_attention_heads": 16}
COMBINATIONS: Sequence[tuple[dict[str, Any], dict[str, Any]]] = (
    ({**_SMALL, "vocab_size": 2_000}, {"method": "lora", "rows": 8, "tokens": 128}),
    ({**_SMALL, "vocab_size": 32_000}, {"method": "lora", "rows": 4, "tokens": 256}),
    ({**_MIDDLE, "vocab_size": 8_000}, {"method": "lora", "rows": 4, "tokens": 256}),
    ({**_MIDDLE, "vocab_size": 32_000}, {"method": "lora", "rows": 8, "tokens": 128, "answer_tokens": 64}),
    ({**_LARGE, "vocab_size": 32_000}, {"method": "lora", "rows": 2, "tokens": 128}),
    ({**_MIDDLE, "vocab_size": 8_000}, {"method": "lora", "rows": 4, "tokens": 256, "precision": "bf16"}),
    ({**_MIDDLE, "vocab_size": 8_000}, {"method": "lora", "rows": 4, "tokens": 512, "is_checkpointed": True}),
    ({**_SMALL, "vocab_size": 8_000}, {"method": "full", "rows": 8, "tokens": 256}),
    ({**_MIDDLE, "vocab_size": 32_000}, {"method": "full", "rows": 4, "tokens": 128}),
    ({**_LARGE, "vocab_size": 16_000}, {"method": "full", "rows": 1, "tokens": 128}),
    ({**_MIDDLE, "vocab_size": 8_000, "num_key_value_heads": 2}, {"method": "full", "rows": 2, "tokens": 512}),
    ({**_MIDDLE, "vocab_size": 8_000}, {"method": "full", "rows": 4, "tokens": 256, "is_checkpointed": True}),
    ({**_SMALL, "vocab_size": 2_000}, {"method": "prompt", "rows": 16, "tokens": 256, "labels": 8}),
    ({**_MIDDLE, "vocab_size": 32_000}, {"method": "prompt", "rows": 4, "tokens": 128, "labels": 16}),
    ({**_LARGE, "vocab_size": 32_000}, {"method": "prompt", "rows": 8, "tokens": 64, "labels": 4}),
    ({**_MIDDLE, "vocab_size": 8_000}, {"method": "lora", "rows": 16, "tokens": 512, "shared_tokens": 384}),
    (
        {**_MIDDLE, "vocab_size": 8_000, "num_key_value_heads": 2},
        {"method": "lora", "rows": 8, "tokens": 1024, "shared_tokens": 960},
    ),
    ({**_MIDDLE, "vocab_size": 8_000}, {"method": "prompt", "rows": 16, "tokens": 512, "shared_tokens": 384}),
)
WITH_DEFAULT_HEAP = (0, 7, 12)
"""The combinations that are measured with the default heap too."""
_RETURNS_FREED_BLOCKS = {"MALLOC_MMAP_THRESHOLD_": "131072"}


def combination(number: int, device: str) -> tuple[Shape, Job]:
    """Returns the shape and the job of a combination."""
    sizes, job = COMBINATIONS[number]
    config = {"model_type": "llama", "max_position_embeddings": 1024, **sizes}
    return shape_of(config), Job(**{"answer_tokens": 16, "device": device, **job})


def measured_bytes(number: int) -> int:
    """Returns the peak of a combination in bytes. Runs it in this process, which has to be a fresh one."""
    import torch

    from rungwise.core.records import Base
    from rungwise.model.language_model import LanguageModel, device_name
    from rungwise.planning.measure import run_steps

    device = device_name()
    kind = "cuda" if device.startswith("cuda") else "cpu"
    torch.manual_seed(number)
    warm = _model(combination(0, kind)[0], Job("lora"), device)  # loads what the first use loads
    warm_lm = LanguageModel(Base("x"), "", warm, None, (), (), 0, "plain", 1024, device)
    run_steps(warm_lm, _trainable(warm), _rows(8, 2, 1), steps=1)
    del warm, warm_lm
    gc.collect()
    shape, job = combination(number, kind)
    before = _now(device)
    model = _model(shape, job, device)
    lm = LanguageModel(Base("x"), "", model, None, (), (), 0, "plain", 1024, device)
    if job.method == "prompt":
        _score(lm, shape, job)
    else:
        rows = _rows(job.tokens, job.answer_tokens, job.rows)
        run_steps(lm, _trainable(model), rows, steps=2, n_shared=job.shared_tokens)
    return _highest(device) - before


def _trainable(model: Any) -> list[Any]:
    return [p for p in model.parameters() if p.requires_grad]


def _model(shape: Shape, job: Job, device: str) -> Any:
    """Returns a Llama with random weights, ready for the job."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from rungwise.model.kernels.last_layer import shorten

    config = LlamaConfig(
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        vocab_size=shape.vocabulary,
        max_position_embeddings=shape.context,
    )
    with torch.device("meta"):
        model: Any = LlamaForCausalLM(config)
    dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32
    model = model.to(dtype).to_empty(device=device)  # no second copy of the weights in another type
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.02)
        model.model.rotary_emb = type(model.model.rotary_emb)(config).to(device)
    shorten(model)
    model.requires_grad_(job.method == "full")
    if job.method == "lora":
        lora = LoraConfig(r=job.rank, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model, lora)
    if job.is_checkpointed:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    return model.train() if job.method != "prompt" else model.eval()


def _rows(tokens: int, answer_tokens: int, n_rows: int) -> list[Any]:
    """Returns rows of equal length, except that the last one is shorter, so that there is padding."""
    from rungwise.training.batches import TokenRow

    rows = [TokenRow((5,) * (tokens - answer_tokens), (6,) * answer_tokens) for _ in range(n_rows)]
    return [*rows[:-1], TokenRow(rows[-1].prompt[1:], rows[-1].answer)] if n_rows > 1 else rows


def _score(lm: Any, shape: Shape, job: Job) -> None:
    from rungwise.model.answers import score_labels

    prompt = job.tokens - job.answer_tokens
    # an untrained model has no clear favourite, so labels that differ from their first token are all read to the end
    labels = [(7 + i, *[7] * (job.answer_tokens - 1)) for i in range(job.labels)]
    shared = (5,) * job.shared_tokens
    prompts = [(*shared, 100 + i, *[5] * (prompt - len(shared) - 1 - i % 2)) for i in range(job.rows)]
    score_labels(lm, prompts, labels)


def _now(device: str) -> int:
    import torch

    from rungwise.planning.measure import status_bytes

    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    return status_bytes("VmRSS") or 0


def _highest(device: str) -> int:
    import torch

    from rungwise.planning.measure import status_bytes

    return int(torch.cuda.max_memory_allocated()) if device.startswith("cuda") else status_bytes("VmHWM") or 0


def _in_new_process(number: int, environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.planner", "--one", str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def compare(numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Returns, for each combination, the estimate by part, the measured peak, and the errors of estimate and rule."""
    rows = []
    for number in numbers:
        answer = _in_new_process(number, _RETURNS_FREED_BLOCKS)
        shape, job = combination(number, answer["device"])
        need = need_of(shape, job)
        estimate = need.total - need.framework
        row: dict[str, Any] = {
            "job": asdict(job),
            "parameters": shape.parameters,
            "vocabulary": shape.vocabulary,
            "parts": {part: getattr(need, part) for part in PARTS},
            "moment": need.moment,
            "estimated": estimate,
            "measured": answer["bytes"],
            "error": estimate / answer["bytes"] - 1,
        }
        if number in WITH_DEFAULT_HEAP and answer["device"] == "cpu":
            row["default_heap"] = _in_new_process(number, {})["bytes"] / answer["bytes"]
        if job.method == "lora":
            row["rule_error"] = 2 * shape.parameters / answer["bytes"] - 1
        rows.append(row)
        print(
            f"{number:2}  {job.method:7}{job.precision:5} {shape.parameters / 1e6:6.1f} M  "
            f"{job.rows:3} x {job.tokens:<5}{f'{job.shared_tokens} shared' if job.shared_tokens else '':<11}"
            f"{'checkpointed  ' if job.is_checkpointed else '              '}"
            f"measured {answer['bytes'] / 1e6:8.1f} MB  estimated {estimate / 1e6:8.1f} MB ({row['error']:+.1%})"
            + (f"  the rule {row['rule_error']:+.1%}" if "rule_error" in row else "")
            + (f"  default heap {row['default_heap']:.2f} times" if "default_heap" in row else ""),
            flush=True,
        )
    return rows


def figures(rows: Sequence[dict[str, Any]], device: str) -> dict[str, Figure]:
    """Returns the mean and the worst error, and the rule of thumb's error where it applies."""
    errors = [abs(row["error"]) for row in rows]
    lora = [row for row in rows if "rule_error" in row]
    heaps = [row["default_heap"] for row in rows if "default_heap" in row]
    goal = 10.0 if device == "cuda" else 15.0
    mean, worst = 100 * sum(errors) / len(errors), 100 * min(row["error"] for row in rows)
    made = {
        "mean_absolute_error": replace(at_most(mean, goal, "%"), value=round(mean, 1)),
        "most_underestimated": replace(at_least(worst, -10.0, "%"), value=round(worst, 1)),
        "combinations": at_least(len(rows), 12),
    }
    if lora:
        own, rule = (round(100 * sum(abs(row[key]) for row in lora) / len(lora), 1) for key in ("error", "rule_error"))
        made["mean_absolute_error_lora"] = at_most(own, goal, "%", peer=rule)
    if heaps:
        made["default_heap"] = Figure(round(max(heaps), 1), unit="x")
    return made


def main() -> None:
    """Runs the benchmark."""
    arguments = parser(__doc__, quick="the smallest combination")
    arguments.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one is not None:
        import torch

        peak = measured_bytes(options.one)
        print(json.dumps({"bytes": peak, "device": "cuda" if torch.cuda.is_available() else "cpu"}))
        return
    rows = compare([0] if options.quick else range(len(COMBINATIONS)))
    device = rows[0]["job"]["device"]
    card = slug(_card()) if device == "cuda" else ""
    publish(
        "planner", figures(rows, device), {"combinations": rows}, options, machine=machine(card or device), suffix=card
    )


def _card() -> str:
    import torch

    return str(torch.cuda.get_device_name())


if __name__ == "__main__":
    main()
