"""How much memory and how many operations a run takes, from a shape alone, by part.

The estimate follows the loop of `training.train` and the scoring of `model.answers` step by step: what autograd keeps
for the backward pass (tests hold it against autograd's own list), what stands beside it at the two moments at which
memory can peak (the loss, the backward pass of a layer; the fused AdamW changes numbers where they stand), and logits
for the answer positions alone. Parts are those of the highest moment.
Shape letters: B rows, S tokens, T answer tokens, V vocabulary.

AdamW holds 16 bytes for each number that is trained, weight, gradient and two moments; with weights and gradients in
16 bit and an fp32 copy it is the same sum: Rajbhandari et al., 2020, https://arxiv.org/abs/1910.02054.
NF4 with double quantization, 4.127 bits a weight: Dettmers et al., 2023, https://arxiv.org/abs/2305.14314.
"""

from dataclasses import dataclass, replace

from rungwise.core.errors import Problem, SettingsError
from rungwise.model import limits
from rungwise.planning.shape import ALL_LINEAR, IN_PLACE, Shape, check_method, frozen_extra, targeted, trained_numbers

BYTES = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "4bit": 4.127 / 8}
"""Bytes of one weight of a matrix; in 4 bit the embeddings, norms and the output layer stay at 2."""
LORA_LIKE = frozenset({"lora", "rslora", "dora", "pissa", "vera"})
"""Methods that put small matrices beside each large one, and keep their inputs for it."""
PARTS = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "framework")
FRAMEWORK_CUDA = 1_343_000_000
"""Bytes that a process takes on a GPU before its first tensor, by transformers' documentation
(https://huggingface.co/docs/transformers/model_memory_anatomy, read 2026-11-25); not measured here."""
SHORT = ("llama", "mistral", "qwen2", "qwen3")
"""Architectures whose last layer is computed, and whose loss is taken, at answer positions alone; as in
`model.last_layer`."""
FRAMEWORK_CPU = 0
"""On a CPU the libraries are loaded before the model and counted before it (see `benchmarks.planner`)."""


@dataclass(frozen=True)
class Job:
    """What is done with a base: the method and all that decides its memory."""

    method: str
    """One of `shape.METHODS`."""
    precision: str = "fp32"
    """Of the base's weights: fp32, bf16, fp16, or 4bit (NF4, computing in 16 bit)."""
    rows: int = 32
    """Rows that pass through the model together (B)."""
    tokens: int = 512
    """Tokens of the longest row, prompt and answer (S)."""
    answer_tokens: int = 32
    """Tokens of the longest answer (T)."""
    rank: int = 16
    targets: tuple[str, ...] = (ALL_LINEAR,)
    dropout: float = 0.0
    virtual_tokens: int = 20
    last_layers: int = 2
    is_checkpointed: bool = False
    """Whether only the layers' inputs are kept and each layer is computed again in the backward pass."""
    is_padded: bool = True
    """Whether rows differ in length, so that attention has a mask."""
    shared_tokens: int = 0
    """First tokens that all rows have in common, read once (F)."""
    labels: int = 8
    """Labels that scoring compares for each row."""
    device: str = "cuda"
    """`cuda` or `cpu`: what the framework itself takes, and how the optimizer steps."""


@dataclass(frozen=True)
class Need:
    """Bytes at the highest moment, by part."""

    weights: int
    """The base."""
    adapter: int
    """Numbers that a method puts beside the base."""
    gradients: int
    optimizer: int
    """Two moments of AdamW."""
    activations: int
    """What the backward pass needs, and what a layer has in hand; in scoring the cache too."""
    logits: int
    """Scores over the vocabulary for the answer positions, with their fp32 copies."""
    framework: int
    moment: str
    """Which moment is the highest: `loss`, `backward`, `step` or `scoring`."""

    @property
    def total(self) -> int:
        """Bytes in all."""
        return sum(getattr(self, part) for part in PARTS)

    @property
    def gigabytes(self) -> float:
        """Bytes in all, in 10**9."""
        return self.total / 1e9


def need_of(shape: Shape, job: Job) -> Need:
    """Returns what training takes at its highest moment; of method `prompt`, what scoring takes.

    Raises:
        SettingsError: an unknown method, target or precision, or more tokens than the model's context.
    """
    _check(shape, job)
    if job.method == "prompt":
        return scoring_need(shape, job)
    trained = _trained(shape, job)
    weights, adapter, gradients, optimizer = _held(shape, job, trained)
    kept = saved_bytes(shape, job) - _spared_bytes(shape, job)
    logits = _logits_bytes(shape, job)
    # a layer's backward pass has the gradients of two feed-forward branches and of its input in hand
    in_hand = _passing(shape, job) * (2 * shape.inner + shape.width) * _width(job)
    if job.precision == "4bit":  # a matrix is unpacked to 16 bit while it is used
        in_hand += 2 * max(linear.inputs * linear.outputs for linear in shape.linears)
    first_gradients = gradients if job.method != "full" else round(gradients * _last_share(shape))
    final = final_bytes(shape, job)
    if job.method in IN_PLACE and job.precision != "fp32":  # what is trained in fp32 is read as a copy in 16 bit
        kept += 2 * trained
    moments = {
        # the last step's gradients are still there until the loss stands
        "loss": (gradients, optimizer, kept + final, logits),
        "backward": (first_gradients, optimizer, kept + in_hand, 0),
    }
    moment = max(moments, key=lambda name: sum(moments[name]))
    of_gradients, of_optimizer, activations, of_logits = moments[moment]
    return Need(
        weights=weights,
        adapter=adapter,
        gradients=of_gradients,
        optimizer=of_optimizer,
        activations=activations,
        logits=of_logits,
        framework=_framework(job),
        moment=moment,
    )


def _check(shape: Shape, job: Job) -> None:
    check_method(job.method)
    if job.precision not in BYTES:
        raise SettingsError(
            Problem("there is no such precision", found=job.precision[:40], wanted="one of " + ", ".join(BYTES))
        )
    if job.precision == "4bit" and job.method in IN_PLACE:
        raise SettingsError(
            Problem(
                "weights in 4 bit can't be trained themselves",
                found=f"method {job.method} with precision 4bit",
                wanted="a method that puts an adapter beside the base, as lora",
            )
        )
    if not 0 < job.answer_tokens <= job.tokens <= shape.context or job.rows < 1:
        raise SettingsError(
            Problem(
                "rows of this size don't exist for this model",
                found=f"{job.rows} rows of {job.tokens} tokens, {job.answer_tokens} of them the answer",
                wanted=f"at least one row, answers within rows, at most {shape.context} tokens",
            )
        )


def impossible(shape: Shape, job: Job) -> tuple[str, ...]:
    """Returns what would have to be otherwise for a job that no memory makes possible; empty where there is nothing."""
    wanted = []
    if job.method in LORA_LIKE - {"vera"} | {"sparse"}:
        narrowest = min(min(linear.inputs, linear.outputs) for linear in targeted(shape, job.targets))
        if job.rank > narrowest:
            wanted.append(f"a rank of at most {narrowest} (it is {job.rank}), or wider targets")
    if job.method in ("last-layers", "llama-adapter") and job.last_layers > shape.layers:
        wanted.append(f"at most {shape.layers} layers (they are {job.last_layers})")
    if job.method in ("prompt-tuning", "prefix-tuning") and job.virtual_tokens + job.tokens > shape.context:
        wanted.append(f"at most {max(0, shape.context - job.tokens)} virtual tokens beside rows of {job.tokens}")
    if job.precision == "4bit" and job.device != "cuda":
        wanted.append("precision bf16 or fp32: 4 bit needs a CUDA device")
    return tuple(wanted)


def weight_bytes(shape: Shape, precision: str) -> int:
    """Returns the bytes of the base's weights."""
    if precision != "4bit":
        return round(shape.numbers * BYTES[precision])
    return round(shape.matrix_numbers * BYTES["4bit"] + (shape.numbers - shape.matrix_numbers) * 2)


def _trained(shape: Shape, job: Job) -> int:
    return trained_numbers(
        shape,
        job.method,
        rank=job.rank,
        targets=job.targets,
        virtual_tokens=job.virtual_tokens,
        last_layers=job.last_layers,
    )


def _held(shape: Shape, job: Job, trained: int) -> tuple[int, int, int, int]:
    """Returns the bytes of weights, adapter, gradients and optimizer that are held; what is trained is fp32."""
    weights = weight_bytes(shape, job.precision)
    if job.method in IN_PLACE:
        weights += round(trained * (4 - BYTES[job.precision]))
        return weights, 0, 4 * trained, 8 * trained
    extra = frozen_extra(shape, job.method, rank=job.rank, targets=job.targets)
    return weights, 4 * (trained + extra), 4 * trained, 8 * trained


def _last_share(shape: Shape) -> float:
    """Returns the share of all gradients that stand once the backward pass is in the last layer's feed-forward part."""
    down = sum(linear.numbers for linear in shape.linears if linear.role == "down")
    return (shape.vocabulary * shape.width + down) / shape.numbers


def _length(job: Job) -> int:
    """Returns the tokens of a row, with those that a method puts in front."""
    return job.tokens + (job.virtual_tokens if job.method == "prompt-tuning" else 0)


def _passing(shape: Shape, job: Job) -> int:
    """Returns the tokens that pass through a training's layers: shared ones once, the others of every row."""
    if not (shared := _shared(shape, job)):
        return job.rows * _length(job)
    front = _length(job) - job.tokens  # virtual tokens stand before the shared ones
    return job.rows * (job.tokens - shared) + shared + front


def rows_at_once(shape: Shape, job: Job, max_tokens_per_microbatch: int) -> int:
    """Returns how many of the job's rows a training lets through together, within so many tokens and its logits.

    By the rule of `training.batches.part_tokens`; a test holds them equal.
    """
    shared = _shared(shape, job)
    rows = min(job.rows, (max_tokens_per_microbatch - shared) // _each(job, shared))
    if holds_logits(shape, job.method):
        rows = min(rows, limits.TRAINING_LOGITS[job.device] // shape.vocabulary // job.answer_tokens)
    return max(1, rows)


def _each(job: Job, shared: int) -> int:
    """Returns what one row takes of the tokens at once, beside those that all share."""
    return limits.tokens_per_row(job.tokens, shared)


def checkpointed(shape: Shape, job: Job) -> Job:
    """Returns the job with activation checkpointing, and as many rows as then go through within the same tokens."""
    shared = _shared(shape, job)
    tokens = job.rows * _each(job, shared) + shared
    again = replace(job, is_checkpointed=True)
    return replace(again, rows=rows_at_once(shape, again, tokens))


def _shared(shape: Shape, job: Job) -> int:
    """Returns the first tokens that a training reads once, by the rule of `training.train`."""
    is_dropped = job.dropout > 0 or shape.attention_dropout > 0 or shape.residual_dropout > 0
    is_alone = job.rows == 1 or job.is_checkpointed
    return 0 if is_dropped or is_alone or shape.is_windowed else job.shared_tokens


def _width(job: Job) -> int:
    """Returns the bytes of one number of an activation."""
    return 4 if job.precision == "fp32" else 2


def _framework(job: Job) -> int:
    return FRAMEWORK_CUDA if job.device == "cuda" else FRAMEWORK_CPU


def _logits_bytes(shape: Shape, job: Job) -> int:
    """Returns the logits that the loss has in hand.

    Of a frozen output layer some positions' at a time, and the hidden states with their gradients; otherwise those of
    T positions, an fp32 copy if they are not fp32, a contiguous copy and log-softmax.
    """
    if not holds_logits(shape, job.method):
        targets = job.rows * job.answer_tokens
        at_once = min(targets, max(limits.LOSS_MIN_POSITIONS, limits.LOSS_LOGITS[job.device] // shape.vocabulary))
        copies = 4 if job.precision == "fp32" else 4 + 2 + 2
        return at_once * shape.vocabulary * copies + 2 * targets * shape.width * _width(job)
    copies = job.answer_tokens * 4 * (2 if job.precision == "fp32" else 3)
    # in 16 bit a CPU multiplies with the output layer row by row, and repeats its matrix for every row
    repeated = shape.width * 2 if job.device == "cpu" and job.precision != "fp32" else 0
    return job.rows * shape.vocabulary * (max(copies, repeated) + job.answer_tokens * _width(job))


def saved_bytes(shape: Shape, job: Job) -> int:
    """Returns what autograd keeps of the decoder layers for the backward pass.

    With checkpointing: every layer's input, and all of one layer while it is computed again.
    """
    layer = layer_bytes(shape, job)
    tokens = _passing(shape, job)
    rotary = 0 if shape.learned_positions else 2 * tokens * shape.head_width * _width(job)
    if job.is_checkpointed:
        return shape.layers * tokens * shape.width * _width(job) + layer + rotary
    if job.method == "last-layers":
        return min(job.last_layers, shape.layers) * layer + rotary
    # nothing is learned before the first layer's first matrix, so its norm keeps nothing
    spared = 0 if job.method in ("full", "layer-norm", "prompt-tuning") else tokens * _norm_bytes(shape, job, False)
    embedding = tokens * shape.width * _width(job) if shape.residual_dropout > 0 and job.method == "full" else 0
    return shape.layers * layer - spared + rotary + embedding


def holds_logits(shape: Shape, method: str) -> bool:
    """Whether a training holds all logits of what goes through at once; their number is then bounded."""
    return method == "full" or not _is_short(shape)


def _is_short(shape: Shape) -> bool:
    """Whether the last layer is computed, and the loss taken, at answer positions alone."""
    return shape.model_type in SHORT


def _spared_bytes(shape: Shape, job: Job) -> int:
    """Returns what the last layer's feed-forward part does not keep, as it sees the answer's positions alone."""
    if not _is_short(shape) or job.is_checkpointed:
        return 0
    trains_base = job.method in ("full", "last-layers")
    part = replace(shape, linears=tuple(linear for linear in shape.linears if linear.role in ("gate", "up", "down")))
    norm = _norm_bytes(shape, job, trains_base or job.method == "layer-norm")
    token = norm + _branch_bytes(shape, _width(job)) + _input_bytes(part, job, trains_base)
    return max(0, _passing(shape, job) - job.rows * job.answer_tokens) * token


def layer_bytes(shape: Shape, job: Job) -> int:
    """Returns what autograd keeps of one decoder layer.

    Per token: each norm's input, what the matrices that are trained (or carry LoRA) read, queries, keys, values and
    output of the attention, and the branches of the feed-forward part; per row the mask, and the keys and values of
    the tokens that all rows share.
    """
    wide, tokens = _width(job), _passing(shape, job)
    trains_base = job.method in ("full", "last-layers")
    norms = 2 * _norm_bytes(shape, job, trains_base or job.method == "layer-norm")
    if shape.is_parallel:
        norms -= shape.width * wide
    dropped = 2 * shape.width * wide if shape.residual_dropout > 0 else 0
    branches = _branch_bytes(shape, wide)
    token = (
        norms + _attention_bytes(shape, job, trains_base) + branches + dropped + _input_bytes(shape, job, trains_base)
    )
    repeated = job.rows * _shared(shape, job) * 2 * shape.query_width * wide
    return tokens * token + repeated


def _attention_bytes(shape: Shape, job: Job, trains_base: bool) -> int:
    """Returns what the attention of one layer keeps of one token.

    As torch does it on a CPU: without dropout in one pass, keeping queries, keys, values, output and a mask in the
    activations' type; with dropout in elementary steps in fp32, keeping the whole matrix of every head three times
    (likelihoods, what is dropped, what is left). A GPU's kernels keep less with dropout.
    """
    wide, query, has_one = _width(job), shape.query_width, any(linear.role == "fused" for linear in shape.linears)
    if shape.attention_dropout > 0:
        return 3 * query * 4 + query * wide + 3 * shape.heads * job.tokens * 4
    total = 4 * query * wide + 4 * shape.heads + (job.tokens * wide if job.is_padded else 0)
    if has_one and not shape.learned_positions:  # values are a part of one matrix, kept whole; the output stands twice
        total += 3 * query * wide
    if shape.has_head_norm:  # queries and keys before their norm
        total += (query + shape.key_width) * (4 + (wide if trains_base else 0))
    return total


def _norm_bytes(shape: Shape, job: Job, is_trained: bool) -> int:
    """Returns what one norm keeps of one token."""
    if not shape.has_rms_norm:
        return shape.width * _width(job) + 8
    # in half precision an RMS norm works on an fp32 copy of its input; a trained weight keeps the normed token
    return shape.width * 4 + 4 + (shape.width * _width(job) if is_trained else 0)


def _branch_bytes(shape: Shape, wide: int) -> int:
    """Returns what the feed-forward part keeps of one token, without what its last matrix reads."""
    if shape.is_gated:
        return 3 * shape.inner * wide  # gate, its activation, the other branch
    # gelu_new is written out in elementary operations, the others are one
    return shape.inner * wide * (4 if shape.activation == "gelu_new" else 1)


def _input_bytes(shape: Shape, job: Job, trains_base: bool) -> int:
    """Returns what the matrices of one layer keep of one token to learn from: their inputs."""
    wide = _width(job)
    readers: dict[str, int] = {}
    for linear in shape.linears:
        name = {"query": "attention", "key": "attention", "value": "attention", "fused": "attention"}.get(
            linear.role, linear.role
        )
        readers.setdefault(name, linear.inputs)
    # what the attention's output matrix reads is the attention's own output, which is kept anyway
    once = sum(numbers for name, numbers in readers.items() if name != "out")
    if trains_base:
        return once * wide
    if job.method not in LORA_LIKE:
        return shape.inner * wide if job.method == "ia3" else 0
    carrying = targeted(shape, job.targets)
    ranks = 4 * job.rank * len(carrying) * (1 if job.method != "vera" else 2)
    each = sum(linear.inputs for linear in carrying)
    if job.dropout > 0:  # every matrix has its own dropped copy and its noise
        return each * 8 + ranks
    if job.precision != "fp32":  # every small matrix reads an fp32 copy of its own
        return each * 4 + ranks
    roles = {name for linear in carrying for name in [_reads(linear.role)]}
    return sum(numbers for name, numbers in readers.items() if name in roles and name != "out") * wide + ranks


def _reads(role: str) -> str:
    return "attention" if role in ("query", "key", "value", "fused") else role


def final_bytes(shape: Shape, job: Job) -> int:
    """Returns what the norm behind the last layer keeps."""
    is_trained = job.method in ("full", "layer-norm")
    read = job.answer_tokens * shape.width * _width(job) if job.method == "full" else 0
    return _passing(shape, job) * _norm_bytes(shape, job, is_trained) + job.rows * read


def scoring_need(shape: Shape, job: Job) -> Need:
    """Returns what `score_labels` takes at its highest moment, with the adapter on the base.

    As many rows go through at once as it takes them itself; of a model that is sure of nothing every label is read to
    its end, each pair of a row and a label with a copy of the row's cache.
    """
    wide = _width(job)
    prompt = job.tokens - job.answer_tokens
    shared = 0 if shape.is_windowed else min(job.shared_tokens, max(0, prompt - 1))
    rows = max(1, min(limits.SCORING_ROWS, job.rows, limits.SCORING_TOKENS // 4 // job.tokens))
    by_logits = limits.SCORING_LOGITS // (shape.vocabulary * job.answer_tokens)
    most = min(by_logits, limits.SCORING_TOKENS * 3 // 4 // job.tokens)
    pairs = max(1, min(rows * job.labels, most))
    token = 2 * shape.key_width * shape.layers * wide
    cache = (pairs * job.tokens + rows * prompt) * token
    read = rows * (prompt - shared)
    read_hand = read * wide * (2 * shape.width + (3 if shape.is_gated else 2) * shape.inner)
    first_pass = (rows * prompt + shared) * token + read_hand + read * prompt
    logits = pairs * (job.answer_tokens - 1) * shape.vocabulary * (4 + 4 if wide == 4 else 2 + 4 + 4)
    repeated = 2 * shape.query_width * pairs * job.tokens * wide if shape.key_heads < shape.heads else 0
    second_pass = cache + repeated
    is_first = first_pass >= second_pass + logits
    trained = _trained(shape, job)
    return Need(
        weights=weight_bytes(shape, job.precision),
        adapter=0 if job.method in IN_PLACE else 4 * trained,
        gradients=0,
        optimizer=0,
        activations=first_pass if is_first else second_pass,
        logits=0 if is_first else logits,
        framework=_framework(job),
        moment="scoring",
    )


def whole_need(shape: Shape, job: Job, limit: int | None = None) -> Need:
    """Returns the higher of what training takes and what scoring its answers takes.

    On a GPU of `limit` bytes scoring takes fewer rows at once until they fit, as `model.answers` does where the memory
    runs out; a CPU's system does not say in time that it has no more.
    """
    scored = replace(job, rows=limits.SCORING_ROWS)
    while limit and job.device == "cuda" and scored.rows > 1 and scoring_need(shape, scored).total > limit:
        scored = replace(scored, rows=scored.rows // 2)
    score = scoring_need(shape, scored)
    return score if job.method == "prompt" else max(need_of(shape, job), score, key=lambda need: need.total)


def operations(shape: Shape, job: Job) -> float:
    """Returns the floating-point operations of one pass over the job's rows: training, or reading (method `prompt`).

    Two for each weight that a token meets; the backward pass takes as many again for what flows back, and as many for
    what is learned where the base itself is trained (Kaplan et al., 2020, https://arxiv.org/abs/2001.08361).
    """
    tokens = float(_passing(shape, job))
    attention = 4.0 * job.tokens * shape.query_width * shape.layers
    forward = tokens * (2.0 * shape.matrix_numbers + attention)
    forward += 2.0 * job.rows * job.answer_tokens * shape.vocabulary * shape.width
    if job.method == "prompt":
        return forward
    adapter = 0 if job.method in IN_PLACE else 6.0 * tokens * _trained(shape, job)
    factor = 3.0 if job.method == "full" else 2.0
    if job.method == "last-layers":
        factor = 1.0 + 2.0 * min(job.last_layers, shape.layers) / shape.layers
    return forward * (factor + (1.0 if job.is_checkpointed else 0.0)) + adapter


def seconds_of(shape: Shape, job: Job, steps: int, rate: float, utilization: float) -> float:
    """Returns the seconds of `steps` passes at `utilization` (0 to 1) of a peak `rate` in operations a second."""
    return steps * operations(shape, job) / (rate * utilization)
