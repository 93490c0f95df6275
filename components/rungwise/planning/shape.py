"""The shape of a causal language model: its sizes, and how many parameters its parts have.

Counts are exact: tests compare them with transformers' own models on the meta device.
"""

from dataclasses import dataclass


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
    def parameters(self) -> int:
        """Weights and biases."""
        return self.inputs * self.outputs + (self.outputs if self.has_bias else 0)


@dataclass(frozen=True)
class Shape:
    """The sizes that decide a causal language model's parameters and activations."""

    model_type: str
    vocabulary: int
    width: int
    """Hidden size: elements of a token between two layers."""
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
    """Whether the output layer shares the embedding's weights."""
    is_gated: bool
    """Whether the feed-forward part multiplies two branches (SwiGLU)."""
    has_rms_norm: bool
    """RMS norm with a weight; otherwise layer norm with weight and bias."""
    head_norm_parameters: int
    """Parameters of the norms of queries and keys of one layer; 0 without them."""
    is_parallel: bool
    """Whether attention and feed-forward part read the same input (GPT-NeoX)."""
    learned_positions: int
    """Rows of a learned position embedding; 0 with rotary positions."""
    attention_dropout: float
    """Above 0, training keeps the whole attention matrix."""
    residual_dropout: float
    activation: str
    linears: tuple[Linear, ...]
    """The matrices of one layer."""
    is_windowed: bool = False
    """Whether a layer attends to a window of earlier tokens instead of all."""
    has_fixed_rotary: bool = True
    """Whether rotary angles are the same for every batch."""
    norms: int = 2
    """Norms of one layer over the width."""
    is_norm_fp32: bool = False
    """Whether norms multiply with their weight in fp32, whatever the model's precision."""
    has_output_bias: bool = False
    """Whether the output layer has a bias (Phi)."""
    other_parameters: int = 0
    """Parameters outside the parts above, such as those of a model's eyes, or of layers that differ from each other."""
    other_matrix_parameters: int = 0
    """Of these, the weights that every token is multiplied with, such as those of the experts that it chooses."""
    is_measured: bool = False
    """Whether the shape was measured on a model without weights, because the planner does not know its config's keys.
    The parts of its memory are then an estimate that no test has compared with the architecture."""

    @property
    def has_head_norm(self) -> bool:
        """Whether queries and keys are normalised."""
        return self.head_norm_parameters > 0

    @property
    def query_width(self) -> int:
        """Elements of one token's queries, all heads."""
        return self.heads * self.head_width

    @property
    def key_width(self) -> int:
        """Elements of one token's keys, all heads; its values have as many."""
        return self.key_heads * self.head_width

    @property
    def norm_parameters(self) -> int:
        """Parameters of one norm over the width."""
        return self.width if self.has_rms_norm else 2 * self.width

    @property
    def layer_parameters(self) -> int:
        """Parameters of one decoder layer."""
        norms = self.norms * self.norm_parameters + self.head_norm_parameters
        return sum(linear.parameters for linear in self.linears) + norms

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embeddings, and of the output layer if it has its own."""
        matrices = (self.vocabulary * (1 if self.is_tied else 2) + self.learned_positions) * self.width
        return matrices + (self.vocabulary if self.has_output_bias else 0)

    @property
    def parameters(self) -> int:
        """All parameters of the model, as transformers counts them."""
        layers = self.layers * self.layer_parameters
        return layers + self.embedding_parameters + self.norm_parameters + self.other_parameters

    @property
    def matrix_parameters(self) -> int:
        """Weights that every token is multiplied with: the layers' matrices, without embeddings and output layer."""
        layer = sum(linear.inputs * linear.outputs for linear in self.linears)
        return self.layers * layer + self.other_matrix_parameters
