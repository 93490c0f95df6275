"""Several methods on one task under one budget: parameters, memory, time and score of each, compared with LoRA.

Every method trains for the same number of steps on the same rows, in its own process, so that peak memory is measured
per method. Attempts go into the workspace's store: a finished attempt is not run again.
"""

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from rungwise.climbing.rungs import TaskClimb, run_options, spec_of, task_climb, training_rows
from rungwise.config import RungSettings, Settings, base_named
from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.core.methods import ADAPTING, METHODS
from rungwise.core.progress import LineProgress
from rungwise.core.records import Interval, Prediction
from rungwise.core.texts import number_of
from rungwise.model.bases import base_folder
from rungwise.workspace.layout import Paths, settings_of

REFERENCE: Final = "lora"
DEFAULT: Final = (
    "full", "lora", "dora", "pissa", "prefix-tuning", "ia3", "llama-adapter", "layer-norm", "last-layers", "sparse"
)  # fmt: skip
TIMED_ROWS: Final = 32
"""Validation rows whose prompts are timed for the latency after merging."""


@dataclass(frozen=True)
class Trial:
    """One method on one task."""

    method: str
    family: str
    trained: int
    """Trainable parameters."""
    share: float
    """Trainable parameters over the base's parameters."""
    peak_mib: float
    seconds: float
    score: Interval | None
    difference: Interval | None
    """Score minus LoRA's on the same rows; None for LoRA itself, and if no row was scored by both."""
    latency: float | None
    """Time to read prompts after merging over the bare base's time; None if the method does not merge."""
    note: str = ""
    """Why there is no result; empty if there is one."""


@dataclass(frozen=True)
class Trials:
    """The result of a comparison."""

    task: str
    metric: str
    base: str
    steps: int
    train_rows: int
    dev_rows: int
    trials: tuple[Trial, ...]

    def of(self, method: str) -> Trial | None:
        """Returns a method's trial; None if it was not tried or has no result."""
        return next((t for t in self.trials if t.method == method and not t.note), None)


def compare(
    root: Path,
    task: str,
    methods: Sequence[str] = DEFAULT,
    *,
    base: str | None = None,
    steps: int | None = None,
    rates: Mapping[str, float] | None = None,
) -> Trials:
    """Trains and scores each method, and LoRA, on a task's rows after `augment`.

    Args:
        root: the workspace's folder.
        task: a task of params.yaml.
        methods: names of methods that adapt a base.
        base: a folder or hub name; None: the base of the first rung that trains.
        steps: of each training run; None: `train.steps`.
        rates: method -> learning rate, for methods that do not use the default rule.

    Returns:
        The trials in the order of METHODS.

    Raises:
        SettingsError: there is no such task or method, or no base.
        RungwiseError: the rows are not split yet, or a training run fails for a reason other than the method.
    """
    settings = settings_of(root)
    unknown = [name for name in methods if name not in ADAPTING]
    if task not in settings.tasks or unknown or not methods:
        asked = ", ".join(unknown) or (task if task not in settings.tasks else "no method")
        wanted = f"a task of {joined(settings.tasks)}, and methods of {joined(ADAPTING, 20)}"
        raise SettingsError(Problem("there is no such task or method to compare", found=asked[:200], wanted=wanted))
    one = task_climb(root, settings, task)
    trained = [r for r in settings.ladder if METHODS[r.method].trains and r.base and base in (None, r.base)]
    chosen = base or (trained[0].base if trained else None)
    if chosen is None:
        raise SettingsError(Problem("there is no base to compare methods on", wanted="--base, or a rung that trains"))
    like: dict[str, Any] = {"base": chosen}
    if trained:  # methods read the base as the rung does
        like |= {"template": trained[0].template, "remote_code": trained[0].remote_code}
    base_folder(base_named(chosen), root)  # a missing base fails here, before anything is trained
    names = [REFERENCE, *(name for name in dict.fromkeys(methods) if name != REFERENCE)]
    made: dict[str, tuple[Trial, tuple[Prediction, ...]]] = {}
    for name in names:
        first = made[REFERENCE][1] if REFERENCE in made else ()
        made[name] = _try(one, settings, _rung(name, like, steps, (rates or {}).get(name)), first)
    trials = tuple(made[name][0] for name in sorted(names, key=list(METHODS).index))
    n_steps = steps or settings.train.steps
    return Trials(task, one.task.measure, chosen, n_steps, len(one.train), len(one.dev), trials)


def _rung(method: str, like: Mapping[str, Any], steps: int | None, rate: float | None) -> RungSettings:
    given: dict[str, Any] = {**like, "name": method, "method": method}
    given |= {"steps": steps} if steps else {}
    return RungSettings.model_validate(given | ({"learning_rate": rate} if rate else {}))


def _try(
    one: TaskClimb, settings: Settings, rung: RungSettings, first: tuple[Prediction, ...]
) -> tuple[Trial, tuple[Prediction, ...]]:
    from rungwise.attempts.evaluate import evaluate_attempt
    from rungwise.attempts.run import train_attempt
    from rungwise.core.errors import ModelError
    from rungwise.evidence.metrics import difference, estimate

    spec = spec_of(settings, one.task, rung, one.labels, one.train.answer)
    if rung.learning_rate is None:  # `train.learning_rate` suits one method; the rule gives each its own
        spec = replace(spec, learning_rate=None)
    rows, eval_rows = training_rows(one.train, spec)
    store, label = Paths(one.root).attempts, f"{one.name}/{rung.name}"
    how = replace(run_options(one, rung.name), launch=(sys.executable,))
    family = METHODS[rung.method].family
    try:
        attempt = train_attempt(
            store, spec, rows, one.root, LineProgress(f"train {label}"), eval_rows=eval_rows, options=how
        )
    except ModelError as error:
        return Trial(rung.method, family, 0, 0.0, 0.0, 0.0, None, None, None, error.problem.what), ()
    predictions = evaluate_attempt(store, attempt, spec, one.dev, one.root, LineProgress(f"evaluate {label}"))
    result, cost = attempt.result, attempt.cost
    confidence = settings.evaluate.confidence
    trial = Trial(
        method=rung.method,
        family=family,
        trained=result["trained_parameters"],
        share=result["trained_parameters"] / max(1, result["base_parameters"]),
        peak_mib=cost["peak_mib"],
        seconds=cost["seconds"],
        score=estimate(one.metric, predictions, confidence),
        difference=difference(one.metric, predictions, first, confidence) if first else None,
        latency=None if result["note"] or not METHODS[rung.method].merges else _latency(one, spec, attempt.folder),
        note=str(result["note"]),
    )
    return trial, predictions


def _latency(one: TaskClimb, spec: Any, folder: Path) -> float:
    """Returns the time to read prompts with the adapter merged over the bare base's time; the median of five turns."""
    import torch

    from rungwise.core.prompts import prompt_text
    from rungwise.model import adapter_files
    from rungwise.model.language_model import encode_prompts, load

    bare = load(spec.base, one.root, template=spec.template, precision=spec.precision)
    whole = load(spec.base, one.root, template=spec.template, precision=spec.precision)
    whole = adapter_files.merged(adapter_files.load(whole, folder), spec)
    texts = [prompt_text(spec.prompt, e.fields) for e in one.dev[:TIMED_ROWS]]
    prompts = [torch.tensor([ids[-bare.context_tokens :]], device=bare.device) for ids in encode_prompts(bare, texts)]

    def seconds(model: Any) -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            for ids in prompts:
                model(input_ids=ids, logits_to_keep=1)
        if bare.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - start

    seconds(bare.model), seconds(whole.model)
    ratios = [seconds(whole.model) / seconds(bare.model) for _ in range(5)]
    return statistics.median(ratios)


def rows(found: Trials) -> list[list[str]]:
    """Returns one row per method: name, family, trainable parameters, memory, time, score, minus LoRA, latency."""
    lines = []
    for trial in found.trials:
        if trial.note:
            lines.append([trial.method, trial.family, "", "", "", trial.note, "", ""])
            continue
        lines.append(
            [
                trial.method,
                trial.family,
                f"{trial.trained:,} ({trial.share:.2%})",
                f"{trial.peak_mib:,.0f} MiB",
                f"{trial.seconds:.1f} s",
                _interval(trial.score, "{:.3f}"),
                _interval(trial.difference, "{:+.3f}") if trial.method != REFERENCE else "",
                f"{trial.latency:.2f}" if trial.latency is not None else "does not merge",
            ]
        )
    return lines


def _interval(found: Interval | None, form: str) -> str:
    if found is None:
        return "none scored"
    value, low, high = (form.format(number) for number in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


def sentences(found: Trials) -> list[str]:
    """Returns which methods differ from LoRA, and the LoRA paper's claims compared with what was measured."""
    apart = [t for t in found.trials if t.difference and not t.difference.low <= 0 <= t.difference.high]
    within = [t.method for t in found.trials if t.difference and t.difference.low <= 0 <= t.difference.high]
    lines = []
    if apart:
        better = [t.method for t in apart if t.difference and t.difference.low > 0]
        worse = [t.method for t in apart if t.difference and t.difference.high < 0]
        lines.append(
            f"compared with LoRA, clearly better: {joined(better, 20)}; clearly worse: {joined(worse, 20)}"
            f" ({number_of(found.dev_rows, 'validation row')}, {number_of(found.steps, 'step')} each)"
        )
    if within:
        lines.append(f"no clear difference from LoRA on these rows: {joined(within, 20)}")
    return [*lines, *_claims(found)]


def _claims(found: Trials) -> list[str]:
    """Returns the claims of Hu et al. (2021, https://arxiv.org/abs/2106.09685) for GPT-3, and the figures measured."""
    lora, full = found.of(REFERENCE), found.of("full")
    if not lora or not full:
        return ["add `full` to the methods to compare the LoRA paper's claims with what is measured here"]
    lines = [
        "trainable parameters, LoRA over full fine-tuning: the paper 1 in 10,000; here 1 in "
        f"{full.trained / lora.trained:,.0f}",
        f"memory, LoRA over full fine-tuning: the paper a third; here {lora.peak_mib / full.peak_mib:.2f}"
        " (whole process, libraries included)",
    ]
    if lora.latency is not None:
        lines.append(f"latency after merging over the base's: the paper 1 (none added); here {lora.latency:.2f}")
    if full.difference is not None:
        low, high = -full.difference.high, -full.difference.low
        lines.append(
            f"quality, LoRA minus full fine-tuning: the paper on par or better; here {-full.difference.value:+.3f}"
            f" ({low:+.3f} to {high:+.3f})" + (", no clear difference" if low <= 0 <= high else "")
        )
    return lines
