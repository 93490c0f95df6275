"""The methods that adapt a base: what each trains, what it can do afterwards, and its settings with their defaults.

Sorted as in Lialin et al., "Scaling Down to Scale Up" (2023, https://arxiv.org/abs/2303.15647): *addition* of new
parameters, *selection* of some of the base's own, *reparametrisation* of the change to them; full fine-tuning is the
reference. This table is the only source of a method's defaults and properties; code asks here and never by name.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Family = Literal["none", "full", "addition", "selection", "reparametrisation"]


@dataclass(frozen=True)
class Method:
    """One method of adapting a base."""

    family: Family
    """`none`: no language model is trained."""
    settings: Mapping[str, object]
    """Name of each of its settings -> default."""
    stores: str
    """What an adapter's file holds, in words."""
    rate: float = 0.0
    """Its learning rate relative to full fine-tuning of the same base.

    LoRA's is as published (see `training.loop`). The others are near the best of three on a small model (bitext's 27
    intents, 260,000 parameters, 200 steps). Those with a comment are from four or more rates in factors of three (300
    steps, accuracy on 809 validation rows): the smallest rate within noise of the best, because a higher one breaks
    sooner on another base. Where no rate is better than guessing, the loss of the last 20 steps decided.
    """
    most_rate: float = math.inf
    """Upper bound of the rule: on that small model, more methods learnt worse above it."""
    merges: bool = False
    """Whether its change can be written into the base's own weights, so that answering costs nothing extra."""
    mixes: bool = False
    """Whether rows of one batch can go through different adapters of this kind."""
    source: str = ""
    """Where it was proposed."""
    engine: Literal["classical", "encoder", "language_model"] = "language_model"
    """What answers. `classical`: a linear model of words and letters. `encoder`: a linear layer on the vectors of a
    frozen base. `language_model`: a causal language model."""
    base_parameters: Literal["none", "all", "last_layers", "norms"] = "none"
    """Which parameters of the base itself it trains; `none`: it trains an adapter in addition to the frozen base."""
    virtual_tokens: Literal["none", "input", "cache", "last_layers"] = "none"
    """Where its virtual tokens go. `input`: vectors before the text, which pass through all layers. `cache`: keys and
    values of every layer. `last_layers`: prompts of the last layers, which take no position of the context."""
    shares_matrices: bool = False
    """Whether all targets share frozen random matrices, whose rank may exceed the width of a target."""

    @property
    def has_base(self) -> bool:
        """Whether it uses the files of a base."""
        return self.engine in ("encoder", "language_model")

    @property
    def trains(self) -> bool:
        """Whether it trains a language model at all."""
        return self.family != "none"

    @property
    def travels(self) -> bool:
        """Whether its attempt is worth packing for another machine: it trains, or an encoder reads all rows."""
        return self.trains or self.engine == "encoder"

    @property
    def trains_base(self) -> bool:
        """Whether it trains parameters of the base itself, so that there is no adapter."""
        return self.base_parameters != "none"

    @property
    def trains_matrices(self) -> bool:
        """Whether it trains the base's own matrices."""
        return self.base_parameters in ("all", "last_layers")

    @property
    def is_low_rank(self) -> bool:
        """Whether it adds small matrices to each target, which read the target's input."""
        return self.family == "reparametrisation"

    @property
    def takes_positions(self) -> bool:
        """Whether its virtual tokens take positions of the model's context."""
        return self.virtual_tokens in ("input", "cache")

    def setting(self, name: str, own: Mapping[str, Any]) -> Any:
        """Returns a setting: from `own` if it is there and not None, or the default.

        None if the method does not have this setting, whatever `own` holds.
        """
        if name not in self.settings:
            return None
        value = own.get(name)
        return self.settings[name] if value is None else value


_LORA: Final = {"rank": 16, "alpha": 32.0, "dropout": 0.0, "targets": ("all-linear",)}

METHODS: Final[Mapping[str, Method]] = {
    "classical": Method(
        "none", {}, "a linear model of words and letters; there is no language model", engine="classical"
    ),
    "embed": Method(
        "none",
        {},
        "linear models on the vectors of a frozen encoder",
        engine="encoder",
        source='Reimers and Gurevych, "Sentence-BERT", 2019, https://arxiv.org/abs/1908.10084',
    ),
    # SmolLM2-135M in its chat template, labels fitted, on 200 rows of TREC: 0.57, 0.61 and 0.65 with 18 examples (three
    # draws), 0.69 and 0.70 with 36 (two draws)
    "prompt": Method("none", {"examples": 36, "shown": "fixed"}, "the examples in the prompt"),
    "full": Method("full", {}, "all weights", 1.0, merges=True, base_parameters="all"),
    "lora": Method(
        "reparametrisation",
        _LORA,
        "two low-rank matrices for each target",
        10.0,
        3e-3,
        merges=True,
        mixes=True,
        source="Hu et al., 2021, https://arxiv.org/abs/2106.09685",
    ),
    "rslora": Method(
        "reparametrisation",
        _LORA,
        "as lora; the update is scaled by alpha / sqrt(rank)",
        5.0,
        1.5e-3,
        merges=True,
        mixes=True,
        source="Kalajdzievski, 2023, https://arxiv.org/abs/2312.03732",
    ),
    "dora": Method(
        "reparametrisation",
        _LORA,
        "as lora, and a magnitude for each row of a target",
        10.0,
        3e-3,
        merges=True,
        mixes=False,
        source="Liu et al., 2024, https://arxiv.org/abs/2402.09353",
    ),
    "pissa": Method(
        "reparametrisation",
        _LORA,
        "as lora of twice the rank: what was learnt minus the principal part that it started from",
        3.0,
        merges=True,
        mixes=True,
        source="Meng et al., 2024, https://arxiv.org/abs/2404.02948",
    ),
    "vera": Method(
        "reparametrisation",
        {"rank": 256, "dropout": 0.0, "targets": ("all-linear",)},
        "two vectors for each target, and the random matrices that all share",
        100.0,
        merges=True,
        mixes=False,
        source="Kopiczko et al., 2023, https://arxiv.org/abs/2310.11454",
        shares_matrices=True,
    ),
    "prompt-tuning": Method(
        "addition",
        {"tokens": 20},
        "a vector for each virtual token before the text",
        40.0,
        source='Lester et al., "The Power of Scale for Parameter-Efficient Prompt Tuning", 2021',
        virtual_tokens="input",
    ),
    "prefix-tuning": Method(
        "addition",
        {"tokens": 20},
        "a key and a value for each virtual token in every layer",
        15.0,
        source='Li and Liang, "Prefix-Tuning", 2021',
        virtual_tokens="cache",
    ),
    "ia3": Method(
        "addition",
        {},
        "a factor for each key, value and inner feature",
        40.0,
        merges=True,
        mixes=False,
        source="Liu et al., 2022, https://arxiv.org/abs/2205.05638",
    ),
    # 3 to 100: 0.045 to 0.049, as good as guessing; the training loss fell from 5.86 to 2.95
    "llama-adapter": Method(
        "addition",
        {"tokens": 10, "layers": 2},
        "prompts and a gate in each of the last layers",
        100.0,
        source="Zhang et al., 2023, https://arxiv.org/abs/2303.16199",
        virtual_tokens="last_layers",
    ),
    # 3 to 1000: 0.057 to 0.096, little better than guessing; the loss fell from 4.00 at 3 to 2.23 at 10, 0.99 at 100
    # and 0.79 at 300, and rose to 2.76 at 1000: 300 was the best here, but close to the rates that fail
    "layer-norm": Method(
        "selection",
        {},
        "the weights of the normalisation layers",
        100.0,
        merges=True,
        source="Zhao et al., 2023, https://arxiv.org/abs/2312.11420",
        base_parameters="norms",
    ),
    # 10 to 300: 0.045 to 0.049, as good as guessing; the loss fell from 4.59 to 3.47 at 100 and 3.40 at 300
    "value-bias": Method(
        "selection",
        {},
        "a bias for each value projection",
        100.0,
        merges=True,
        source="https://arxiv.org/abs/2509.15974, PEFT's `beft`",
    ),
    # 0.181 at 1, 0.496 at 3, 0.745 at 10, 0.754 at 30, 0.761 at 100, 0.041 at 300
    "last-layers": Method(
        "selection",
        {"layers": 1},
        "the weights of the last decoder layers",
        10.0,
        merges=True,
        base_parameters="last_layers",
    ),
    # 0.916 at 3, 0.934 at 10, 0.440 at 30, 0.116 at 100
    "sparse": Method(
        "selection",
        {"rank": 16, "targets": ("all-linear",)},
        "some entries of each target, as many as matrices of this rank have, and their places",
        10.0,
        merges=True,
        source='Bhardwaj et al., "Sparse High Rank Adapters", 2024',
    ),
}
"""Name -> method, sorted by family."""

RENAMED_METHODS: Final[Mapping[str, str]] = {"tfidf": "classical"}
"""Old name -> new name. params.yaml may use old names in version 0.2; records of older versions have them for ever."""
ADAPTING: Final = tuple(name for name, method in METHODS.items() if method.trains)
"""The methods that train a language model."""
LANGUAGE_MODEL_METHODS: Final = tuple(name for name, method in METHODS.items() if method.engine == "language_model")
"""The methods that use a language model, trained or not."""
SIMILAR_EXAMPLES: Final = 8
"""Examples of method `prompt` that are chosen for each row, by default: the model reads them anew with every row."""
