"""The largest that fits: rows at once of one model, and the largest model of a machine.

Every answer is found by trying `memory.need_of`.
"""

import math
from dataclasses import dataclass, replace

from rungwise.planning.job import Job
from rungwise.planning.machines import Machine
from rungwise.planning.memory import need_of
from rungwise.planning.model_config import shape_of
from rungwise.planning.shape import Shape

MOST_ROWS = 4096
"""Upper bound of the search for rows at once."""


@dataclass(frozen=True)
class LargestModels:
    """Parameters of the largest models that fit a machine, by what is done with them; None: not even a small one."""

    machine: str
    inference: int | None
    full: int | None
    lora: int | None
    qlora: int | None
    notes: tuple[str, ...]
    """What to know about the machine."""


def largest_batch(shape: Shape, job: Job, limit: int, most: int = MOST_ROWS) -> int:
    """Returns the most rows, up to `most`, that fit into `limit` bytes together; 0 if not even one row fits."""
    if need_of(shape, replace(job, rows=1)).total > limit:
        return 0
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if need_of(shape, replace(job, rows=middle)).total <= limit else (low, middle - 1)
    return low


def family_member(layers: int, width: int, vocabulary: int = 32_000) -> Shape:
    """Returns a model with Llama's proportions (Touvron et al., 2023, https://arxiv.org/abs/2302.13971).

    A feed-forward part of 8/3 of the width in steps of 256, as many key heads as query heads, an output layer of its
    own.
    """
    return shape_of(
        {
            "model_type": "llama",
            "hidden_size": width,
            "intermediate_size": 256 * math.ceil(8 * width / 3 / 256),
            "num_hidden_layers": layers,
            "num_attention_heads": max(1, width // 64),
            "vocab_size": vocabulary,
            "max_position_embeddings": 4096,
        }
    )


def largest_model(job: Job, limit: int) -> Shape | None:
    """Returns the largest model of Llama's proportions with which `job` fits into `limit` bytes; None if there is none.

    A job that does not train answers one row: weights, cache and a layer. Widths are multiples of 64, with one layer
    for every 96 to 192 elements of width; of all that fit, the model with the most parameters.
    """
    job = replace(job, labels=1)
    best: Shape | None = None
    for width in range(128, 20_000, 64):
        low, high = width // 192 or 1, width // 96
        if need_of(family_member(low, width), job).total > limit:
            break
        while low < high:
            middle = (low + high + 1) // 2
            fits = need_of(family_member(middle, width), job).total <= limit
            low, high = (middle, high) if fits else (low, middle - 1)
        model = family_member(low, width)
        best = model if best is None or model.parameters > best.parameters else best
    return best


def largest_models(machine: Machine) -> LargestModels:
    """Returns the largest models that fit a machine, with one row of 512 tokens; training is checkpointed."""
    one = Job("prompt", precision="bf16", rows=1, tokens=512, answer_tokens=32, device=machine.device)
    jobs = {
        "inference": one,
        "full": replace(one, method="full", is_checkpointed=True),
        "lora": replace(one, method="lora", is_checkpointed=True),
        "qlora": replace(one, method="lora", precision="4bit", is_checkpointed=True),
    }
    limit = machine.memory_bytes or 0
    sizes = {
        name: shape.parameters if (shape := largest_model(job, limit)) else None
        for name, job in jobs.items()
        if name != "qlora" or machine.device == "cuda"  # 4-bit weights require a GPU
    }
    return LargestModels(
        machine.name, sizes["inference"], sizes["full"], sizes["lora"], sizes.get("qlora"), machine.notes
    )
