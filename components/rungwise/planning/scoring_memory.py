"""How much memory scoring of labels needs at its highest moment, from a shape alone, by part.

The estimate follows `model.answers.score_labels`.
"""

from rungwise.model import limits
from rungwise.planning.job import Job
from rungwise.planning.microbatch import can_share_prefix
from rungwise.planning.need import Need, framework_bytes, weight_bytes
from rungwise.planning.shape import Shape
from rungwise.planning.trainable import trainable_parameters


def scoring_need(shape: Shape, job: Job) -> Need:
    """Returns what `score_labels` needs at its highest moment, with the adapter on the base.

    As many rows pass together as `score_labels` takes. The estimate is for a model that is sure of nothing: it reads
    every label to its end, and each pair of a row and a label has a copy of the row's cache.
    """
    width = job.element_bytes
    prompt = job.tokens - job.answer_tokens
    shared = min(job.shared_tokens, max(0, prompt - 1)) if can_share_prefix(shape) else 0
    kept_once = shared if job.device == "cpu" else 0  # see `model.kernels.prefix_attention`
    held = job.tokens - kept_once
    rows = max(1, min(limits.SCORING_ROWS, job.rows, limits.SCORING_TOKENS // 4 // held))
    by_logits = limits.SCORING_LOGITS // (shape.vocabulary * job.answer_tokens)
    pairs = max(1, min(rows * job.labels, by_logits, limits.SCORING_TOKENS * 3 // 4 // held))
    token = 2 * shape.key_width * shape.layers * width
    cache = (pairs * held + rows * (prompt - kept_once) + kept_once) * token
    read = rows * (prompt - shared)
    layer = read * width * (2 * shape.width + (3 if shape.is_gated else 2) * shape.inner)
    first_pass = (rows * (prompt - kept_once) + shared) * token + layer + read * prompt
    logits = pairs * (job.answer_tokens - 1) * shape.vocabulary * (4 + 4 if width == 4 else 2 + 4 + 4)
    repeated = 2 * shape.query_width * pairs * held * width if shape.key_heads < shape.heads else 0
    second_pass = cache + repeated
    is_first = first_pass >= second_pass + logits
    return Need(
        weights=weight_bytes(shape, job.precision),
        adapter=0 if job.properties.trains_base else 4 * trainable_parameters(shape, job),
        gradients=0,
        optimizer=0,
        activations=first_pass if is_first else second_pass,
        logits=0 if is_first else logits,
        framework=framework_bytes(job),
        moment="scoring",
    )


def encoding_need(shape: Shape, job: Job) -> Need:
    """Returns what a frozen encoder needs for its largest batch: weights, and what one layer computes with."""
    rows = max(1, min(job.rows, limits.ENCODING_TOKENS // job.tokens))
    return Need(
        weights=weight_bytes(shape, job.precision),
        adapter=0,
        gradients=0,
        optimizer=0,
        activations=rows * job.tokens * job.element_bytes * (4 * shape.width + 2 * shape.inner),
        logits=0,
        framework=framework_bytes(job),
        moment="scoring",
    )
