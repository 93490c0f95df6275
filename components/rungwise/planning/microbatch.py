"""How many rows and tokens of a job pass through the model together in training, as `training.loop` decides it."""

from dataclasses import replace

from rungwise.model import limits
from rungwise.model.architectures import architecture
from rungwise.planning.job import Job
from rungwise.planning.shape import Shape


def shared_in_training(shape: Shape, job: Job) -> int:
    """Returns how many tokens of the shared prefix training reads once, by the rule of `training.loop`."""
    has_dropout = job.dropout > 0 or shape.attention_dropout > 0 or shape.residual_dropout > 0
    is_alone = job.rows == 1 or job.is_checkpointed
    return 0 if has_dropout or is_alone or not can_share_prefix(shape) else job.shared_tokens


def can_share_prefix(shape: Shape) -> bool:
    """Whether the base can read the shared prefix once, by the rule of `model.shared_prefix`."""
    is_supported = architecture(shape.model_type).can_share_prefix
    return is_supported and shape.has_fixed_rotary and not shape.is_windowed


def input_virtual_tokens(job: Job) -> int:
    """Returns the virtual tokens that pass through the layers before a row's own tokens."""
    return job.virtual_tokens if job.properties.virtual_tokens == "input" else 0


def passing_tokens(shape: Shape, job: Job) -> int:
    """Returns the tokens that pass through the layers in training: shared ones once, the others for each row."""
    shared, virtual = shared_in_training(shape, job), input_virtual_tokens(job)
    if not shared:
        return job.rows * (job.tokens + virtual)
    return job.rows * (job.tokens - shared) + shared + virtual  # virtual tokens stand before the shared ones


def holds_logits(shape: Shape, job: Job) -> bool:
    """Whether training holds all logits of a microbatch at once; their number is then bounded."""
    return job.properties.base_parameters == "all" or not architecture(shape.model_type).has_short_last_layer


def rows_per_microbatch(shape: Shape, job: Job, max_tokens_per_microbatch: int) -> int:
    """Returns how many of the job's rows pass through together in training.

    Bounded by the tokens, by the rule of `training.batches.part_tokens`, and by the logits of one forward pass.
    """
    shared = shared_in_training(shape, job)
    rows = min(job.rows, (max_tokens_per_microbatch - shared) // limits.tokens_per_row(job.tokens, shared))
    if holds_logits(shape, job):
        rows = min(rows, limits.TRAINING_LOGITS[job.device] // shape.vocabulary // job.answer_tokens)
    return max(1, rows)


def checkpointed(shape: Shape, job: Job) -> Job:
    """Returns the job with activation checkpointing, and as many rows as then pass within the same tokens."""
    shared = shared_in_training(shape, job)
    tokens = job.rows * limits.tokens_per_row(job.tokens, shared) + shared
    again = replace(job, is_checkpointed=True)
    return replace(again, rows=rows_per_microbatch(shape, again, tokens))
