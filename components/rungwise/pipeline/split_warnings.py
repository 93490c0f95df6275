"""What a reader of the scores should know about a split: few test rows, rare and unknown labels, duplicates."""

from collections import Counter

from rungwise.config import Settings, TaskSettings
from rungwise.core.folders import joined
from rungwise.core.texts import number_of
from rungwise.dataset.labels import frequent_items, unseen_labels, unseen_values
from rungwise.dataset.split import Split, rare
from rungwise.evidence.ceiling import unseen_of
from rungwise.evidence.intervals import share_needed
from rungwise.evidence.levels import proof_interval

LEAK_WARNING_SHARE = 0.05
"""A warning is given if more than this share of the training rows is removed as duplicates of held-out rows."""
RARE_LABEL_ROWS = 10
"""A warning is given for labels with fewer validation or test rows than this."""


def split_warnings(task: TaskSettings, split: Split) -> list[str]:
    """Returns what a reader of the scores should know about the split, one sentence each."""
    messages = []
    if task.answer.format == "label":
        messages += _rare_labels(split)
        messages += _unseen_labels(split)
    elif task.answer.format in ("list", "json"):
        messages += _unseen_values(task, split)
    n_before = len(split.train) + len(split.leaks)
    if len(split.leaks) > LEAK_WARNING_SHARE * n_before:
        messages.append(
            f"{len(split.leaks) / n_before:.0%} of the training rows were removed as duplicates of validation or test "
            "rows. If texts that differ in one word are different questions, set `split.leaks: exact`"
        )
    if split.dev_in_test:
        ids = joined([f"{leak.id} = {leak.other}" for leak in split.dev_in_test])
        messages.append(
            f"{number_of(len(split.dev_in_test), 'validation row', 'repeats', 'repeat')} a test row ({ids}). "
            "Both are kept, because neither is used for training"
        )
    return messages


def _unseen_labels(split: Split) -> list[str]:
    """Returns a message for each side with labels that no training row has."""
    known, messages = set(split.train.answer), []
    for side, name in (("dev", "validation"), ("test", "test")):
        answers = getattr(split, side).answer
        if unseen := {label: n for label, n in Counter(answers).items() if label not in known}:
            messages.append(unseen_labels(unseen, len(answers), name))
    return messages


def _unseen_values(task: TaskSettings, split: Split) -> list[str]:
    """Returns a message for each side with items, or labels in the fields of objects, that no training row has.

    Items of open lists are often new, so only frequent ones are named.
    """
    messages = []
    for side, name in (("dev", "validation"), ("test", "test")):
        unseen = unseen_of(task.answer, split.train.answer, getattr(split, side).answer)
        if unseen.values:
            messages.append(unseen_values(unseen.values, unseen.affected, unseen.rows, unseen.ceiling, name))
        if frequent := frequent_items(unseen.open_items, unseen.rows, name):
            messages.append(frequent)
    return messages


def _rare_labels(split: Split) -> list[str]:
    """Returns a message for each side with labels that have too few rows to be scored alone."""
    messages = []
    for side, name in (("dev", "validation"), ("test", "test")):
        counts = rare(split.train, getattr(split, side), RARE_LABEL_ROWS)
        if counts:
            listed = joined([f"{label}: {n}" for label, n in counts.items()])
            messages.append(
                f"{number_of(len(counts), 'label', 'has', 'have')} fewer than {RARE_LABEL_ROWS} {name} rows "
                f"({listed}): one answer changes the score of such a label by more than {1 / RARE_LABEL_ROWS:.0%}"
            )
    return messages


def few_rows_warning(settings: Settings, name: str, n: int) -> str:
    """Returns what score `n` test rows of a task require to show its bar; empty if they are enough."""
    if n >= settings.promote.min_test:
        return ""
    score = share_needed(n, settings.bars[name], proof_interval(settings.evaluate.confidence))
    needed = f"a score of {score:.3f} is needed" if score else "not even a score of 1 is enough"
    return f"with {number_of(n, 'test row')}, {needed} to show the bar of {settings.bars[name]:g}"
