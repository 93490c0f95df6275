"""The learning rate: its peak, by a rule for method and model width, and its course over the steps."""

import math

from rungwise.core.methods import METHODS
from rungwise.core.records import AttemptSpec
from rungwise.model.architectures import architecture
from rungwise.model.language_model import LanguageModel

FULL_RATE = 5e-5
"""Peak of full fine-tuning for a model of hidden size WIDTH. LoRA uses ten times as much, and smaller models learn best
with more: the rule that the authors of "LoRA Without Regret" (2025, https://thinkingmachines.ai/blog/lora/) publish
with their training service, https://tinker-docs.thinkingmachines.ai/supervised-learning/sl-hyperparams."""
WIDTH = 2000


def peak_learning_rate(lm: LanguageModel, spec: AttemptSpec) -> float:
    """Returns the peak learning rate: the one in the spec, otherwise by the rule for its method and base."""
    if spec.learning_rate is not None:
        return spec.learning_rate
    config = lm.model.config
    power = architecture(getattr(config, "model_type", "")).rate_width_power
    method = METHODS[spec.method]
    rate: float = FULL_RATE * method.rate * (WIDTH / float(config.hidden_size)) ** power
    return min(rate, method.most_rate)


def share_of_peak(spec: AttemptSpec, step: int) -> float:
    """Returns the share of the peak at a step counted from 0: a linear warm-up, then the schedule."""
    warmup = math.ceil(spec.warmup_share * spec.steps)
    if step < warmup:
        return (step + 1) / warmup
    if spec.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, spec.steps - warmup)))
