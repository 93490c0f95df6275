"""How many floating-point operations a job takes, how many kernels a GPU runs for them, and how long both take."""

from rungwise.planning.job import Job
from rungwise.planning.microbatch import passing_tokens
from rungwise.planning.shape import Shape
from rungwise.planning.trainable import targeted, trainable_parameters

LAUNCH_SECONDS = 1.8e-5
"""Seconds in which one process starts a kernel on a GPU, with torch's dispatch, autograd and Python.

From one NVIDIA H200 (`benchmarks/results/gpu-nvidia-h200.json`): steps of 8,192 and 16,384 tokens of the 0.5B shape
take 0.133 and 0.185 s, so that about 0.081 s do not depend on the tokens, for about 4,600 kernels."""
_ATTENTION_KERNELS, _NORM_KERNELS, _ADAPTED_KERNELS, _OTHER_KERNELS = 14, {True: 11, False: 1}, 4, 60
"""Kernels of a forward pass, counted as operations of torch without views: of a layer's rotary positions, attention,
activation and sums; of a norm, by whether it is an RMS norm, which transformers writes out in elementary operations; in
addition for a matrix with an adapter; and outside the layers. A test counts them again."""
_BACKWARD = 5 / 3
"""Kernels of a backward pass for each kernel of its forward pass."""


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


def kernels(shape: Shape, job: Job) -> float:
    """Returns about how many kernels one pass over the job's rows runs, however many rows there are."""
    norms = shape.norms + (2 if shape.has_head_norm else 0)
    layer = _ATTENTION_KERNELS + len(shape.linears) + norms * _NORM_KERNELS[shape.has_rms_norm]
    if job.properties.is_low_rank:
        layer += _ADAPTED_KERNELS * len(targeted(shape, job.targets))
    passes = 1.0 + _BACKWARD + (1.0 if job.is_checkpointed else 0.0) if job.trains else 1.0
    return shape.layers * layer * passes + _OTHER_KERNELS


def least_seconds(shape: Shape, job: Job, passes: int) -> float:
    """Returns the seconds that `passes` passes take at least, because a GPU waits for kernels to be started.

    On a CPU, 0: an operation starts at once.
    """
    return passes * kernels(shape, job) * LAUNCH_SECONDS if job.device == "cuda" else 0.0
