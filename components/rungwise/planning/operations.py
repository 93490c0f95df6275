"""How many floating-point operations a job takes, and how long they take."""

from rungwise.planning.job import Job
from rungwise.planning.microbatch import passing_tokens
from rungwise.planning.shape import Shape
from rungwise.planning.trainable import trainable_parameters


def operations(shape: Shape, job: Job) -> float:
    """Returns the floating-point operations of one pass over the job's rows: a training step, or reading them.

    Two for each weight and token in the forward pass. The backward pass takes as many again for the gradients that flow
    back, and as many again for the weights' gradients where the base itself is trained (Kaplan et al., 2020,
    https://arxiv.org/abs/2001.08361).
    """
    tokens, parameters = float(passing_tokens(shape, job)), job.properties.base_parameters
    attention = 4.0 * job.tokens * shape.query_width * shape.layers
    forward = tokens * (2.0 * shape.matrix_parameters + attention)
    if job.encodes:
        return forward
    forward += 2.0 * job.rows * job.answer_tokens * shape.vocabulary * shape.width
    if not job.trains:
        return forward
    adapter = 0 if job.properties.trains_base else 6.0 * tokens * trainable_parameters(shape, job)
    factor = 3.0 if parameters == "all" else 2.0
    if parameters == "last_layers":
        factor = 1.0 + 2.0 * min(job.last_layers, shape.layers) / shape.layers
    return forward * (factor + (1.0 if job.is_checkpointed else 0.0)) + adapter


def seconds_of(shape: Shape, job: Job, steps: int, rate: float, utilization: float) -> float:
    """Returns the seconds of `steps` passes at `utilization` (0 to 1) of a peak `rate` in operations a second."""
    return steps * operations(shape, job) / (rate * utilization)
