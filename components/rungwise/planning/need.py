"""How much memory a job needs, by part: the value that `training_memory` and `scoring_memory` return."""

from dataclasses import dataclass

from rungwise.planning.job import Job
from rungwise.planning.shape import Shape

BYTES_PER_WEIGHT = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "4bit": 4.127 / 8}
"""Precision -> bytes of one weight of a matrix. In 4 bit, embeddings, norms and the output layer keep 2 bytes.

NF4 with double quantization takes 4.127 bits a weight: Dettmers et al., 2023, https://arxiv.org/abs/2305.14314.
"""
PARTS = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "framework")
FRAMEWORK_BYTES = {"cuda": 1_343_000_000, "cpu": 0}
"""Device -> bytes that a process takes before its first tensor.

On a GPU by transformers' documentation (https://huggingface.co/docs/transformers/model_memory_anatomy, read
2026-11-25), not measured here. On a CPU the libraries are loaded, and their memory is counted, before the model (see
`benchmarks.planner`).
"""


@dataclass(frozen=True)
class Need:
    """Bytes at the moment of highest memory, by part."""

    weights: int
    """The base."""
    adapter: int
    """Parameters that a method adds to the base."""
    gradients: int
    optimizer: int
    """Two moments of AdamW."""
    activations: int
    """What the backward pass needs, and what a layer computes with; in scoring the cache too."""
    logits: int
    """Scores over the vocabulary for the answer positions, with their fp32 copies."""
    framework: int
    moment: str
    """The moment of highest memory: `loss`, `backward` or `scoring`."""

    @property
    def total(self) -> int:
        """Bytes in all."""
        return sum(getattr(self, part) for part in PARTS)

    @property
    def gigabytes(self) -> float:
        """Bytes in all, in 10**9."""
        return self.total / 1e9


def weight_bytes(shape: Shape, precision: str) -> int:
    """Returns the bytes of the base's weights."""
    if precision != "4bit":
        return round(shape.parameters * BYTES_PER_WEIGHT[precision])
    return round(shape.matrix_parameters * BYTES_PER_WEIGHT["4bit"] + (shape.parameters - shape.matrix_parameters) * 2)


def framework_bytes(job: Job) -> int:
    """Returns the bytes that the process takes before its first tensor."""
    return FRAMEWORK_BYTES[job.device]
