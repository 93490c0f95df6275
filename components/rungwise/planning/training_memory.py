"""How much memory training needs at its highest moment, from a shape alone, by part.

The estimate follows the loop of `training.loop` step by step: what autograd keeps for the backward pass (see
`activations`), and what else is held at the two moments at which memory can peak: the loss, and the backward pass of a
layer. The fused AdamW changes weights in place, so the optimizer's step adds nothing. Logits are computed for answer
positions only. Shape letters: B rows, S tokens, T answer tokens, V vocabulary.

AdamW holds 16 bytes for each trainable parameter: weight, gradient and two moments. With weights and gradients in 16
bit and an fp32 copy the sum is the same: Rajbhandari et al., 2020, https://arxiv.org/abs/1910.02054.
"""

from rungwise.model import limits
from rungwise.planning.activations import final_bytes, is_fused, saved_bytes, short_layer_bytes
from rungwise.planning.job import Job
from rungwise.planning.microbatch import holds_logits, passing_tokens
from rungwise.planning.need import BYTES_PER_WEIGHT, Need, framework_bytes, weight_bytes
from rungwise.planning.shape import Shape
from rungwise.planning.trainable import frozen_adapter_parameters, trainable_parameters


def training_need(shape: Shape, job: Job) -> Need:
    """Returns what training needs at its highest moment, for a job that `obstacles.check_job` accepts."""
    trainable = trainable_parameters(shape, job)
    weights, adapter, gradients, optimizer = _held(shape, job, trainable)
    kept = saved_bytes(shape, job) - short_layer_bytes(shape, job)
    first_gradients = gradients
    if job.properties.base_parameters == "all":
        first_gradients = round(gradients * _last_share(shape))
    final = final_bytes(shape, job)
    if job.properties.trains_base and job.precision != "fp32":  # fp32 weights are read as a copy in 16 bit
        kept += 2 * trainable
    if is_fused(shape, job) and job.precision != "fp32":  # so is the adapter
        kept += 2 * trainable
    moments = {
        # the gradients of the last step are held until the loss is computed
        "loss": (gradients, optimizer, kept + final, _logits_bytes(shape, job)),
        "backward": (first_gradients, optimizer, kept + _layer_backward_bytes(shape, job), 0),
    }
    moment = max(moments, key=lambda name: sum(moments[name]))
    gradients, optimizer, activations, logits = moments[moment]
    return Need(
        weights=weights,
        adapter=adapter,
        gradients=gradients,
        optimizer=optimizer,
        activations=activations,
        logits=logits,
        framework=framework_bytes(job),
        moment=moment,
    )


def _held(shape: Shape, job: Job, trainable: int) -> tuple[int, int, int, int]:
    """Returns the bytes of weights, adapter, gradients and optimizer; trainable parameters are fp32."""
    weights = weight_bytes(shape, job.precision)
    if job.properties.trains_base:
        weights += round(trainable * (4 - BYTES_PER_WEIGHT[job.precision]))
        return weights, 0, 4 * trainable, 8 * trainable
    return weights, 4 * (trainable + frozen_adapter_parameters(shape, job)), 4 * trainable, 8 * trainable


def _last_share(shape: Shape) -> float:
    """Returns the share of all gradients that exist when the backward pass is in the last layer's feed-forward part."""
    down = sum(linear.parameters for linear in shape.linears if linear.role == "down")
    return (shape.vocabulary * shape.width + down) / shape.parameters


def _layer_backward_bytes(shape: Shape, job: Job) -> int:
    """Returns what the backward pass of one layer computes with.

    The gradients of two feed-forward branches and of the layer's input; in 4 bit also the largest matrix, which is
    unpacked to 16 bit while it is used.
    """
    gradients = passing_tokens(shape, job) * (2 * shape.inner + shape.width) * job.element_bytes
    if job.precision != "4bit":
        return gradients
    return gradients + 2 * max(linear.inputs * linear.outputs for linear in shape.linears)


def _logits_bytes(shape: Shape, job: Job) -> int:
    """Returns the bytes of logits that the loss holds.

    With a frozen output layer: the logits of some positions at a time, and the hidden states with their gradients.
    Otherwise: the logits of T positions, an fp32 copy if they are not fp32, a contiguous copy and log-softmax.
    """
    if not holds_logits(shape, job):
        targets = job.rows * job.answer_tokens
        positions = min(targets, max(limits.LOSS_MIN_POSITIONS, limits.LOSS_LOGITS[job.device] // shape.vocabulary))
        copies = 4 if job.precision == "fp32" else 4 + 2 + 2
        return positions * shape.vocabulary * copies + 2 * targets * shape.width * job.element_bytes
    copies = job.answer_tokens * 4 * (2 if job.precision == "fp32" else 3)
    return job.rows * shape.vocabulary * (copies + job.answer_tokens * job.element_bytes)
