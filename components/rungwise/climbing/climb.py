"""The only loop over rungs: cheapest first, one attempt each, until the policy ends the climb."""

from collections.abc import Callable, Sequence

from rungwise.climbing.decide import Outcome
from rungwise.core.decisions import Climb, Decision

Attempt = Callable[[str], Outcome]
"""Trains and evaluates the rung of that name, or returns what is stored of it."""
Decide = Callable[[Sequence[Outcome], Sequence[str]], Decision]
"""The policy with its settings: outcomes so far and the names of the untried rungs."""


def climb(
    task: str, metric: str, target: float, rungs: Sequence[str], attempt: Attempt, decide: Decide
) -> tuple[Climb, tuple[Outcome, ...]]:
    """Returns the climb of one task and the outcomes behind it, in the order tried."""
    outcomes: list[Outcome] = []
    steps: list[Decision] = []
    for place, rung in enumerate(rungs):
        outcomes.append(attempt(rung))
        steps.append(decide(outcomes, rungs[place + 1 :]))
        if steps[-1].action != "climb":
            break
    evidence = tuple(o.evidence for o in outcomes)
    return Climb(task, metric, target, evidence, steps[-1], tuple(steps)), tuple(outcomes)
