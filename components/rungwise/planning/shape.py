"""A model's shape, read from its config.json alone, and how many numbers each method trains on it.

Counts are exact: tests hold them against transformers' own models on the meta device and against PEFT's adapters.
Formats: https://huggingface.co/docs/transformers/main_classes/configuration.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rungwise.core.errors import ModelError, Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.core.methods import ADAPTING

METHODS = ("prompt", *ADAPTING)
"""What can be asked about; `prompt` trains nothing."""
IN_PLACE = frozenset({"full", "layer-norm", "last-layers"})
"""Methods that train numbers of the base itself; the others put an adapter of their own beside it."""
ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class Linear:
    """One matrix of a decoder layer."""

    name: str
    """The module's own name, as `q_proj`."""
    inputs: int
    outputs: int
    has_bias: bool
    role: str
    """`query`, `key`, `value`, `fused` (all three in one), `out`, `up` or `down`."""

    @property
    def numbers(self) -> int:
        """Weights and biases."""
        return self.inputs * self.outputs + (self.outputs if self.has_bias else 0)


@dataclass(frozen=True)
class Shape:
    """What decides a causal language model's size and activations."""

    model_type: str
    vocabulary: int
    width: int
    """Numbers a token has between layers."""
    layers: int
    heads: int
    key_heads: int
    """Heads of keys and values; fewer than `heads` with grouped queries."""
    head_width: int
    inner: int
    """Width inside the feed-forward part."""
    context: int
    """Most tokens of a sequence."""
    is_tied: bool
    """Whether the output layer is the embedding again."""
    is_gated: bool
    """Whether the feed-forward part multiplies two branches (SwiGLU)."""
    has_rms_norm: bool
    """RMS norm with a weight; otherwise layer norm with weight and bias."""
    has_head_norm: bool
    """Whether queries and keys are normed head by head (Qwen3)."""
    is_parallel: bool
    """Whether attention and feed-forward part read the same token (GPT-NeoX)."""
    learned_positions: int
    """Rows of a learned position embedding; 0 with rotary positions."""
    attention_dropout: float
    """Above 0 the attention's whole matrix is kept in training."""
    residual_dropout: float
    activation: str
    linears: tuple[Linear, ...]
    """The matrices of one layer."""
    is_windowed: bool = False
    """Whether a layer sees a window of earlier tokens instead of all."""

    @property
    def query_width(self) -> int:
        """Numbers of all heads' queries of one token."""
        return self.heads * self.head_width

    @property
    def key_width(self) -> int:
        """Numbers of one token's keys (and of its values)."""
        return self.key_heads * self.head_width

    @property
    def norm_numbers(self) -> int:
        """Numbers of one norm over the width."""
        return self.width if self.has_rms_norm else 2 * self.width

    @property
    def layer_numbers(self) -> int:
        """Numbers of one decoder layer."""
        head_norms = 2 * self.head_width if self.has_head_norm else 0
        return sum(linear.numbers for linear in self.linears) + 2 * self.norm_numbers + head_norms

    @property
    def embedding_numbers(self) -> int:
        """Numbers of the embeddings and of an output layer of its own."""
        return (self.vocabulary * (1 if self.is_tied else 2) + self.learned_positions) * self.width

    @property
    def numbers(self) -> int:
        """All numbers of the model, as transformers counts parameters."""
        return self.layers * self.layer_numbers + self.embedding_numbers + self.norm_numbers

    @property
    def matrix_numbers(self) -> int:
        """Weights that every token is multiplied with: the layers' matrices, without embeddings and output layer."""
        return self.layers * sum(linear.inputs * linear.outputs for linear in self.linears)

    @property
    def largest_tensor(self) -> int:
        """Numbers of the largest single tensor."""
        return max(self.vocabulary * self.width, *(linear.inputs * linear.outputs for linear in self.linears))


def shape_of(config: Mapping[str, Any], where: str = "config.json") -> Shape:
    """Returns the shape that a config.json describes; only the config is needed, no weights.

    Raises:
        ModelError: an architecture that is not known here, or a key that is missing or no number.
    """
    model_type = str(config.get("model_type", "nothing"))
    if model_type not in _FAMILIES:
        raise ModelError(
            Problem(
                "the planner does not know this architecture",
                where=f"{where}: model_type",
                found=model_type,
                wanted="one of " + ", ".join(sorted(_FAMILIES)),
                do="plan with a base of a known architecture, or measure: a few steps of a run show time and memory",
            )
        )
    return _FAMILIES[model_type](_Reader(config, where, model_type))


@dataclass(frozen=True)
class _Reader:
    """A config whose missing keys are errors that name themselves."""

    config: Mapping[str, Any]
    where: str
    model_type: str

    def number(self, *keys: str, default: int | None = None) -> int:
        value = next((self.config[key] for key in keys if self.config.get(key) is not None), default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ModelError(
                Problem(
                    "a model's config lacks a number",
                    where=f"{self.where}: {keys[0]}",
                    found="nothing" if value is None else repr(value)[:40],
                    wanted="a whole number above 0",
                    do="use the config.json that was saved with the model",
                )
            )
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.config.get(key)
        return default if value is None else bool(value)

    def share(self, key: str, default: float) -> float:
        value = self.config.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise ModelError(
                Problem(
                    "a model's config has no share where one is wanted",
                    where=f"{self.where}: {key}",
                    found=repr(value)[:40],
                    wanted="a number from 0 to below 1",
                    do="use the config.json that was saved with the model",
                )
            )
        return float(value)


def _llama(read: _Reader) -> Shape:
    width, heads = read.number("hidden_size"), read.number("num_attention_heads")
    key_heads = read.number("num_key_value_heads", default=32 if read.model_type == "qwen2" else heads)
    head_width = read.number("head_dim", default=128 if read.model_type == "qwen3" else width // max(1, heads))
    inner = read.number("intermediate_size")
    is_qwen2 = read.model_type == "qwen2"
    bias = is_qwen2 or (read.model_type != "mistral" and read.flag("attention_bias", False))
    inner_bias = read.model_type == "llama" and read.flag("mlp_bias", False)
    query, key = heads * head_width, key_heads * head_width
    return Shape(
        model_type=read.model_type,
        vocabulary=read.number("vocab_size"),
        width=width,
        layers=read.number("num_hidden_layers"),
        heads=heads,
        key_heads=key_heads,
        head_width=head_width,
        inner=inner,
        context=read.number("max_position_embeddings", default=2048),
        is_tied=read.flag("tie_word_embeddings", False),
        is_gated=True,
        has_rms_norm=True,
        has_head_norm=read.model_type == "qwen3",
        is_parallel=False,
        learned_positions=0,
        attention_dropout=read.share("attention_dropout", 0.0),
        residual_dropout=0.0,
        activation=str(read.config.get("hidden_act") or "silu"),
        linears=(
            Linear("q_proj", width, query, bias, "query"),
            Linear("k_proj", width, key, bias, "key"),
            Linear("v_proj", width, key, bias, "value"),
            Linear("o_proj", query, width, bias and not is_qwen2, "out"),
            Linear("gate_proj", width, inner, inner_bias, "up"),
            Linear("up_proj", width, inner, inner_bias, "up"),
            Linear("down_proj", inner, width, inner_bias, "down"),
        ),
        is_windowed=_is_windowed(read),
    )


def _is_windowed(read: _Reader) -> bool:
    kinds = read.config.get("layer_types")
    if isinstance(kinds, list):
        return any(kind != "full_attention" for kind in kinds)
    if read.model_type in ("qwen2", "qwen3"):  # name a window that they use only if they say so
        return read.flag("use_sliding_window", False)
    return read.config.get("sliding_window", 4096 if read.model_type == "mistral" else None) is not None


def _gpt2(read: _Reader) -> Shape:
    width, heads = read.number("n_embd", "hidden_size"), read.number("n_head", "num_attention_heads")
    inner = read.number("n_inner", default=4 * width)
    positions = read.number("n_positions", "max_position_embeddings")
    return Shape(
        model_type="gpt2",
        vocabulary=read.number("vocab_size"),
        width=width,
        layers=read.number("n_layer", "num_hidden_layers"),
        heads=heads,
        key_heads=heads,
        head_width=width // max(1, heads),
        inner=inner,
        context=positions,
        is_tied=read.flag("tie_word_embeddings", True),
        is_gated=False,
        has_rms_norm=False,
        has_head_norm=False,
        is_parallel=False,
        learned_positions=positions,
        attention_dropout=read.share("attn_pdrop", 0.1),
        residual_dropout=read.share("resid_pdrop", 0.1),
        activation=str(read.config.get("activation_function") or "gelu_new"),
        linears=(
            Linear("c_attn", width, 3 * width, True, "fused"),
            Linear("attn.c_proj", width, width, True, "out"),
            Linear("c_fc", width, inner, True, "up"),
            Linear("mlp.c_proj", inner, width, True, "down"),
        ),
    )


def _gpt_neox(read: _Reader) -> Shape:
    width, heads = read.number("hidden_size"), read.number("num_attention_heads")
    inner, bias = read.number("intermediate_size"), read.flag("attention_bias", True)
    return Shape(
        model_type="gpt_neox",
        vocabulary=read.number("vocab_size"),
        width=width,
        layers=read.number("num_hidden_layers"),
        heads=heads,
        key_heads=heads,
        head_width=width // max(1, heads),
        inner=inner,
        context=read.number("max_position_embeddings", default=2048),
        is_tied=read.flag("tie_word_embeddings", False),
        is_gated=False,
        has_rms_norm=False,
        has_head_norm=False,
        is_parallel=read.flag("use_parallel_residual", True),
        learned_positions=0,
        attention_dropout=read.share("attention_dropout", 0.0),
        residual_dropout=read.share("hidden_dropout", 0.0),
        activation=str(read.config.get("hidden_act") or "gelu"),
        linears=(
            Linear("query_key_value", width, 3 * width, bias, "fused"),
            Linear("dense", width, width, bias, "out"),
            Linear("dense_h_to_4h", width, inner, True, "up"),
            Linear("dense_4h_to_h", inner, width, True, "down"),
        ),
    )


_FAMILIES: Mapping[str, Callable[[_Reader], Shape]] = {
    "llama": _llama,
    "mistral": _llama,
    "qwen2": _llama,
    "qwen3": _llama,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
}


def targeted(shape: Shape, targets: Sequence[str]) -> tuple[Linear, ...]:
    """Returns the matrices of a layer that `targets` name; `all-linear` names them all, as PEFT does.

    Raises:
        SettingsError: a target names none.
    """
    if tuple(targets) == (ALL_LINEAR,):
        return shape.linears
    known = {linear.name.rpartition(".")[2] for linear in shape.linears} | {linear.name for linear in shape.linears}
    unknown = [target for target in targets if target not in known]
    if unknown:
        raise SettingsError(
            Problem(
                "a target module matches nothing",
                where=f"{shape.model_type}: targets",
                found=unknown[0][:60],
                wanted="one of " + joined(sorted(known), 20),
                do="correct the rung's `targets`, or leave them out for all linear layers",
            )
        )
    return tuple(
        linear for linear in shape.linears if linear.name in targets or linear.name.rpartition(".")[2] in targets
    )


def check_method(method: str) -> None:
    """Raises SettingsError where the planner does not know a method of that name."""
    if method not in METHODS:
        raise SettingsError(
            Problem("the planner does not know this method", found=method[:40], wanted="one of " + ", ".join(METHODS))
        )


def trained_numbers(
    shape: Shape,
    method: str,
    *,
    rank: int = 16,
    targets: Sequence[str] = (ALL_LINEAR,),
    virtual_tokens: int = 20,
    last_layers: int = 2,
) -> int:
    """Returns how many numbers a method trains.

    Args:
        shape: the base's shape.
        method: one of METHODS.
        rank: of LoRA and its relatives and of VeRA; `sparse` trains as many entries of a matrix as LoRA of that rank
            has numbers.
        targets: the matrices that carry LoRA, VeRA or sparse updates.
        virtual_tokens: tokens that prompt-tuning, prefix-tuning and llama-adapter put in front.
        last_layers: layers that `last-layers` trains whole, and `llama-adapter` puts its tokens before.

    Raises:
        SettingsError: an unknown method or target.
    """
    check_method(method)
    linears = targeted(shape, targets)
    both = sum(linear.inputs + linear.outputs for linear in linears)
    out = sum(linear.outputs for linear in linears)
    # (IA)3 scales keys, values and the input of the last feed-forward matrix (Liu et al., 2022,
    # https://arxiv.org/abs/2205.05638); where one matrix makes queries, keys and values, PEFT scales all three.
    scaled = sum(linear.outputs for linear in shape.linears if linear.role in ("key", "value", "fused"))
    scaled += sum(linear.inputs for linear in shape.linears if linear.role == "down")
    counts = {
        "prompt": 0,
        "full": shape.numbers,
        "lora": shape.layers * rank * both,
        "rslora": shape.layers * rank * both,
        "pissa": shape.layers * rank * both,
        "sparse": shape.layers * rank * both,
        "dora": shape.layers * (rank * both + out),
        "vera": shape.layers * (out + rank * len(linears)),
        "ia3": shape.layers * scaled,
        "prompt-tuning": virtual_tokens * shape.width,
        "prefix-tuning": virtual_tokens * shape.layers * 2 * shape.key_width,
        "llama-adapter": min(last_layers, shape.layers) * (virtual_tokens * shape.width + 1),
        "layer-norm": (2 * shape.layers + 1) * shape.norm_numbers,
        "value-bias": shape.layers * shape.key_width,
        "last-layers": min(last_layers, shape.layers) * shape.layer_numbers,
    }
    return counts[method]


def frozen_extra(shape: Shape, method: str, *, rank: int = 16, targets: Sequence[str] = (ALL_LINEAR,)) -> int:
    """Returns numbers that a method adds and never trains: VeRA's two shared random matrices."""
    if method != "vera":
        return 0
    linears = targeted(shape, targets)
    return rank * (max(linear.inputs for linear in linears) + max(linear.outputs for linear in linears))
