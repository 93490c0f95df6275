"""What autograd keeps of the decoder layers for the backward pass, in bytes.

Tests compare the estimate with autograd's own list. Shape letters: B rows, S tokens of a row, T answer tokens.
"""

from collections.abc import Sequence
from typing import Final

from rungwise.model.architectures import Gpt2Keys, architecture
from rungwise.planning.job import Job
from rungwise.planning.microbatch import passing_tokens, shared_in_training
from rungwise.planning.shape import Linear, Shape
from rungwise.planning.trainable import targeted

_FUSED: Final = ("lora", "rslora", "pissa")
"""Methods whose layers are PEFT's plain LoRA layers."""


def saved_bytes(shape: Shape, job: Job) -> int:
    """Returns the bytes that are kept of all decoder layers.

    With checkpointing: the input of every layer, and all of one layer while it is computed again.
    """
    layer, method = layer_bytes(shape, job), job.properties
    tokens = passing_tokens(shape, job)
    rotary = 0 if shape.learned_positions else 2 * tokens * shape.head_width * job.element_bytes
    if job.is_checkpointed:
        return shape.layers * tokens * shape.width * job.element_bytes + layer + rotary
    if method.base_parameters == "last_layers":
        return min(job.last_layers, shape.layers) * layer + rotary
    # if nothing before the first layer's first matrix is trained, that layer's first norm keeps nothing
    trains_before = method.base_parameters in ("all", "norms") or method.virtual_tokens == "input"
    form = architecture(shape.model_type).short_layer
    starts_with_norm = form is None or bool(form.before_attention)
    spared = 0 if trains_before or not starts_with_norm else tokens * _norm_bytes(shape, job, is_trained=False)
    keeps_embedding = shape.residual_dropout > 0 and method.base_parameters == "all"
    embedding = tokens * shape.width * job.element_bytes if keeps_embedding else 0
    return shape.layers * layer - spared + rotary + embedding


def short_layer_bytes(shape: Shape, job: Job) -> int:
    """Returns what the last layer does not keep after its attention, because it sees answer positions only there."""
    form = architecture(shape.model_type).short_layer
    if form is None or job.is_checkpointed:
        return 0
    linears = [linear for linear in shape.linears if linear.role in ("up", "down")]
    norms = form.short_norms * _norm_bytes(shape, job, is_trained=job.properties.trains_base)
    token = norms + _branch_bytes(shape, job) + _input_bytes(shape, job, linears)
    return max(0, passing_tokens(shape, job) - job.rows * job.answer_tokens) * token


def layer_bytes(shape: Shape, job: Job) -> int:
    """Returns the bytes that are kept of one decoder layer.

    For each token: the input of each norm, the inputs of the matrices that are trained or carry an adapter, queries,
    keys, values and output of the attention, and the branches of the feed-forward part. For each row: the mask, and the
    keys and values of the shared tokens.
    """
    width, tokens = job.element_bytes, passing_tokens(shape, job)
    norms = shape.norms * _norm_bytes(shape, job, is_trained=job.properties.trains_base)
    if shape.is_parallel and shape.norms > 1:  # both norms read the same input, which is kept once
        norms -= shape.width * width
    dropped = 2 * shape.width * width if shape.residual_dropout > 0 else 0
    inputs = _input_bytes(shape, job, shape.linears)
    token = norms + _attention_bytes(shape, job) + _branch_bytes(shape, job) + dropped + inputs
    repeated = job.rows * shared_in_training(shape, job) * 2 * shape.query_width * width
    return tokens * token + repeated


def final_bytes(shape: Shape, job: Job) -> int:
    """Returns the bytes that the norm after the last layer keeps."""
    parameters = job.properties.base_parameters
    read = job.answer_tokens * shape.width * job.element_bytes if parameters == "all" else 0
    return passing_tokens(shape, job) * _norm_bytes(shape, job, is_trained=parameters in ("all", "norms")) + (
        job.rows * read
    )


def _attention_bytes(shape: Shape, job: Job) -> int:
    """Returns the bytes that the attention of one layer keeps of one token.

    As torch computes it on a CPU. Without dropout: one operation, which keeps queries, keys, values, output and a mask
    in the activations' type. With dropout: elementary steps in fp32, which keep the whole matrix of every head three
    times (probabilities, what is dropped, what is left). A GPU's kernels keep less with dropout.
    """
    width, query = job.element_bytes, shape.query_width
    if shape.attention_dropout > 0:
        return 3 * query * 4 + query * width + 3 * shape.heads * job.tokens * 4
    total = 4 * query * width + 4 * shape.heads + (job.tokens * width if job.is_padded else 0)
    if any(linear.role == "fused" for linear in shape.linears) and not shape.learned_positions:
        if shape.key_heads == shape.heads:  # values are part of one matrix that is kept whole
            total += 2 * query * width
        if (
            is_fused(shape, job) or not job.properties.is_low_rank or job.precision == "fp32"
        ):  # else it reads an fp32 copy
            total += query * width  # the output once more, in the order that its matrix reads
    if shape.has_head_norm:  # queries and keys before their norm
        total += _rms_norm_bytes(shape, job, query + shape.key_width, is_trained=job.properties.trains_matrices)
    return total


def is_fused(shape: Shape, job: Job) -> bool:
    """Whether a target and its low-rank update are one operation (see `model.kernels.low_rank`).

    GPT-2's matrices are layers of another type, which are left as they are.
    """
    has_linears = not isinstance(architecture(shape.model_type).config_keys, Gpt2Keys)
    return job.method in _FUSED and has_linears and not job.dropout and job.precision != "4bit"


def _norm_bytes(shape: Shape, job: Job, *, is_trained: bool) -> int:
    """Returns the bytes that one norm keeps of one token."""
    if not shape.has_rms_norm:
        return shape.width * job.element_bytes + 8
    return _rms_norm_bytes(shape, job, shape.width, is_trained=is_trained) + 4


def _rms_norm_bytes(shape: Shape, job: Job, elements: int, *, is_trained: bool) -> int:
    """Returns the bytes that an RMS norm keeps of an input with `elements` values.

    On a CPU a frozen one keeps its input (see `model.kernels.rms_norm`). Others work on an fp32 copy of it in half
    precision, and a trained weight keeps the normalised token too.
    """
    if is_trained:
        return elements * (4 + (4 if shape.is_norm_fp32 else job.element_bytes))
    return elements * (job.element_bytes if job.device == "cpu" else 4)


def _branch_bytes(shape: Shape, job: Job) -> int:
    """Returns the bytes that the feed-forward part keeps of one token, without the input of its last matrix."""
    inner = shape.inner * job.element_bytes
    if shape.is_gated:
        return 3 * inner  # gate, its activation, the other branch
    # transformers writes gelu_new out in elementary operations; the other activations are one operation
    return inner * (4 if shape.activation == "gelu_new" else 1)


def _input_bytes(shape: Shape, job: Job, linears: Sequence[Linear]) -> int:
    """Returns the bytes of one token that `linears`, matrices of one layer, keep of their inputs to train on."""
    width, method = job.element_bytes, job.properties
    inputs = {_reads(linear): linear.inputs for linear in linears}
    inputs.pop("out", None)  # the attention's output matrix reads the attention's own output, which is kept anyway
    if method.trains_matrices:
        return sum(inputs.values()) * width
    if not method.is_low_rank:
        return shape.inner * width if job.method == "ia3" else 0
    carrying = [linear for linear in targeted(shape, job.targets) if linear in linears]
    ranks = (width if is_fused(shape, job) else 4) * job.rank * len(carrying) * (2 if method.shares_matrices else 1)
    each = sum(linear.inputs for linear in carrying)
    if job.dropout > 0:  # every matrix has its own dropped copy and its noise
        return each * 8 + ranks
    if job.precision != "fp32" and not is_fused(shape, job):  # every adapter matrix reads an fp32 copy of its own
        return each * 4 + ranks
    read = {_reads(linear) for linear in carrying}
    return sum(elements for name, elements in inputs.items() if name in read) * width + ranks


def _reads(linear: Linear) -> str:
    """Returns a name of the input that a matrix reads: matrices with the same name read the same input."""
    return "attention" if linear.role in ("query", "key", "value", "fused") else linear.role
