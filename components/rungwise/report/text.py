"""The text of `status` and `explain` in a terminal: one sentence first, then a table and the reasons."""

import shutil
import sys
from collections.abc import Mapping, Sequence

from rungwise.core.climb_reasons import RefusedOnTest
from rungwise.core.decisions import Reason
from rungwise.core.gate_reasons import ChallengerScore
from rungwise.core.interval_words import change_text
from rungwise.core.methods import METHODS
from rungwise.core.records import Evidence, Interval
from rungwise.core.texts import number_of, on_one_line
from rungwise.core.words import money, sentence_of, sentences_of
from rungwise.evidence.evaluate import interval_text, score_text
from rungwise.release.abstain import AT, FOR, NONE, TEST
from rungwise.release.gate import Verdict
from rungwise.release.registry import Version
from rungwise.report.read import Explanation, RungExplanation, Status, TaskStatus
from rungwise.report.reference import Reference, Speed

HEADER = ("rung", "method", "dev score (interval, n)", "bar", "trained", "verdict")
"""The columns that every ladder has; `header` adds those of times, costs and the incumbent."""
INCUMBENT = "incumbent"
"""The name of the incumbent's line."""
FAR_BELOW = 0.1
"""A rung is far below the bar if the upper end of its interval is below it by more than this."""


def header(task: TaskStatus) -> tuple[str, ...]:
    """Returns the columns of a task's ladder: HEADER, and before the verdict what is known of times and costs."""
    return (*HEADER[:-1], *_more_columns(task), HEADER[-1])


def _more_columns(task: TaskStatus) -> tuple[str, ...]:
    known = [*task.speeds.values(), *([task.incumbent.speed] if task.incumbent and task.incumbent.speed else [])]
    return (
        *(("minus incumbent",) if task.incumbent and task.incumbent.compared else ()),
        *(("ms/answer",) if known else ()),
        *(("cost/1,000",) if any(speed.cost_per_1000 is not None for speed in known) else ()),
    )


def ladder_rows(task: TaskStatus) -> list[tuple[str, ...]]:
    """Returns the ladder as text cells under `header`: the floor, then a row per rung, also for rungs not tried.

    The incumbent, if it was asked, is the last row.
    """
    evidence = {e.rung: e for e in task.evidence}
    rows: list[tuple[str, ...]] = []
    if task.floor:
        rows.append(
            ("floor", task.floor.name, interval_text(task.floor.score), "", "", *[""] * len(_more_columns(task)), "")
        )
    for name in task.ladder:
        if (one := evidence.get(name)) is None:
            rows.append((name, "", "not tried", f"{task.target:g}", "", *[""] * len(_more_columns(task)), ""))
            continue
        of = f" of {one.base_parameters:,}" if one.base_parameters else ""
        if METHODS[one.method].engine == "encoder":  # its linear models are not part of the base
            of = f" on {one.base_parameters:,} frozen"
        trained = f"{one.trained_parameters:,}{of}"
        more = _more_cells(task, name, task.speeds.get(name))
        score = interval_text(one.score) if one.score else "not scored"
        if not one.score and one.unscored.get("not_trained"):
            score, trained = "not trained", ""
        rows.append((name, one.method, score, f"{task.target:g}", trained, *more, _verdict(task, one)))
    if today := task.incumbent:
        score = interval_text(today.score) if today.score else "not answered"
        rows.append((INCUMBENT, "endpoint", score, "", "", *_more_cells(task, "", today.speed), "what you use today"))
    return rows


def _more_cells(task: TaskStatus, rung: str, speed: Speed | None) -> list[str]:
    """Returns the cells under `_more_columns`; `rung` is empty for the incumbent."""
    compared = task.incumbent.compared.get(rung) if task.incumbent else None
    difference = compared.difference if compared else None
    cost = speed.cost_per_1000 if speed else None
    cells = {
        "minus incumbent": change_text(difference) if difference else "",
        "ms/answer": milliseconds(speed.median_seconds) if speed else "",
        "cost/1,000": money(cost, speed.currency) if speed and cost is not None else "",
    }
    return [cells[column] for column in _more_columns(task)]


def milliseconds(seconds: float) -> str:
    """Returns seconds as milliseconds, with a decimal below 10."""
    return f"{1000 * seconds:.0f}" if seconds >= 0.01 else f"{1000 * seconds:.1f}"


def _verdict(task: TaskStatus, one: Evidence) -> str:
    if one.score is None:
        return "not judged"
    if task.decision is None:
        return ""
    is_chosen = one.rung == task.decision.rung
    if RefusedOnTest(one.rung) in task.decision.reasons or (is_chosen and task.refused):
        return "refused on the test rows"
    if not is_chosen:
        return ""
    return "passes" if task.decision.passes else f"best so far, {_below(one.score, task.target)} the bar"


def _below(score: Interval | None, bar: float) -> str:
    return "far below" if score and score.high < bar - FAR_BELOW else "below"


def sentence(task: TaskStatus) -> str:
    """Returns the status of a task in one sentence."""
    if task.decision is None:
        return f"{task.name}: not climbed yet; `rungwise run` climbs."
    if (chosen := task.chosen) is None:
        return f"{task.name}: no rung could be judged."
    score = score_text(chosen)
    if not task.decision.passes and not task.refused:
        far = f", {_below(chosen.score, task.target)} it" if chosen.score and chosen.score.value < task.target else ""
        return (
            f"{task.name}: no rung passes the bar of {task.target:g}; {_best(task.evidence)} is {chosen.rung} at "
            f"{score}{far}."
        )
    if task.refused:
        stays = f"; the champion stays version {task.champion.number}" if task.champion else ""
        return f"{task.name}: {_refusal(chosen.rung, task.refused, score)}{stays}."
    text = f"{task.name}: {chosen.rung} is good enough: {score} against the bar of {task.target:g}"
    if task.is_alone:
        return f"{text}; only this task was climbed, so nothing is registered: `rungwise run` climbs all tasks."
    if task.champion is None:
        return f"{text}; not promoted yet."
    is_it = task.champion.is_of(chosen.attempt)
    return f"{text}; {'it is the champion,' if is_it else 'the champion is'} version {task.champion.number}."


def _best(tried: Sequence[Evidence]) -> str:
    """Returns what a rung is that was selected by its score: of several, the best score is likely to be lucky."""
    n = sum(one.score is not None for one in tried)
    return "the best so far" if n < 2 else f"the best of {n} tried"


def _refusal(rung: str, verdict: Verdict, dev: str = "") -> str:
    """Returns that a rung which passes was refused, as a sentence without its end; `dev`: its validation score."""
    standing = next((r for r in verdict.reasons if isinstance(r, ChallengerScore)), None)
    why = f"{interval_text(standing.score)} against the bar of {standing.target:g}" if standing else ""
    test = f": {why or sentences_of(verdict.parted()[0]).removesuffix('.')}"
    dev = f" at {dev}" if dev else ""
    return f"{rung} passes on the validation rows{dev} but was refused on the test rows{test}"


def _advice(verdict: Verdict | None) -> list[str]:
    advice = verdict.parted()[1] if verdict else None
    return [sentence_of(advice)] if advice else []


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as text in columns; on a terminal that is narrower than that, each row with a line for each cell."""
    from tabulate import tabulate

    text: str = tabulate(rows, headers=header, tablefmt="simple", disable_numparse=True)
    lines = [line.rstrip() for line in text.splitlines()]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if width is None or max(map(len, lines)) <= width:
        return "\n".join(lines)
    return "\n".join("\n".join(_in_lines(header, row)) for row in rows)


def _in_lines(header: Sequence[str], row: Sequence[str]) -> list[str]:
    cells = [f"  {name}: {cell}" for name, cell in zip(header[1:], row[1:], strict=True) if cell]
    return [row[0], *cells]


def status_text(status: Status) -> str:
    """Returns the whole status for a terminal."""
    parts = [_task_text(task) for task in status.tasks.values()]
    if status.changed:
        stages = ", ".join(status.changed)
        parts.append(f"Something changed since this climb (DVC would run: {stages}); `rungwise run` climbs again.")
    if status.working:
        parts.append(f"A run is working ({status.working}); what changed since the last climb is shown when it ends.")
    elif status.fault:
        parts.append(f"What changed since this climb is not known: {status.fault}")
    if status.data_version:
        parts.append(f"data version: {status.data_version}")
    return "\n\n".join(parts)


def _task_text(task: TaskStatus) -> str:
    lines = [sentence(task), *_advice(task.refused), *([sentence_of(task.comparison)] if task.comparison else [])]
    if task.incumbent and task.decision:
        lines += _incumbent_verdict(task.incumbent, task.decision.rung)
    lines += ["", table(header(task), ladder_rows(task))]
    if task.decision:
        reasons = [*task.decision.reasons, *([task.doubts] if task.doubts else []), *task.amounts]
        lines += ["", "Why:", *[f"  - {sentence_of(reason)}" for reason in reasons]]
    for alias, version in (("challenger", task.challenger), ("champion", task.champion)):
        if version:
            # earlier versions of this package had the revision in a tag of its own
            base, revision = version.tags.get("base"), version.tags.get("base_revision")
            on = f" on {base}" + (f"@{revision}" if revision else "") if base else ", no language model"
            lines.append(f"{alias}: version {version.number} ({version.tags['rung']}{on})")
            if alias == "champion":
                lines += _abstains(version)
    lines += [f"test look: {look['action']}: {sentences_of(look['reasons'])}" for look in task.test_looks[-1:]]
    return "\n".join(lines)


def _abstains(champion: Version) -> list[str]:
    """Returns which answers the champion gives itself; nothing where it answers all rows."""
    if not (goal := champion.tags.get(FOR)):
        return []
    at, test = champion.tags.get(AT, NONE), champion.tags.get(TEST, "")
    kept = f"answers with a probability of at least {on_one_line(at)}" if at != NONE else "no answers"
    return [f"  it gives {kept} itself ({goal}){f'. {test}' if test else ''}"]


def explain_text(explained: Mapping[str, Explanation]) -> str:
    """Returns the output of `rungwise explain`: the question, each rung's evidence and decision, and the result."""
    return "\n\n\n".join(_explanation_text(task) for task in explained.values())


def _explanation_text(task: Explanation) -> str:
    lines = [f"{task.name}: is the {task.metric} at least {task.target:g}? That is {task.meaning}.", _needed(task)]
    if task.floor:
        lines.append(f"floor ({task.floor.name}, no training): {interval_text(task.floor.score)}")
    known: set[Reason] = set()
    for number, rung in enumerate(task.rungs, 1):
        lines += ["", *_rung_lines(number, rung, known)]
        known |= set(rung.decision.reasons)
    if task.decision.rung is None:
        verdict = "No rung could be judged."
    elif task.verdict and task.verdict.action == "refuse":
        verdict = " ".join([f"Result: {_refusal(task.decision.rung, task.verdict)}.", *_advice(task.verdict)])
    elif task.decision.passes:
        verdict = f"Result: {task.decision.rung} passes."
    else:
        score = next((r.evidence.score for r in task.rungs if r.evidence.rung == task.decision.rung), None)
        below = _below(score, task.target)
        best = _best([rung.evidence for rung in task.rungs])
        verdict = f"Result: no rung passes; {task.decision.rung} is {best}, {below} the bar."
    lines += [
        "",
        verdict,
        *[
            sentence_of(reason)
            for reason in (task.doubts, task.comparison, *task.weak, *task.amounts, task.threshold)
            if reason
        ],
    ]
    if task.incumbent:
        lines += _incumbent_verdict(task.incumbent, task.decision.rung)
    return "\n".join(lines)


def _incumbent_verdict(today: Reference, rung: str | None) -> list[str]:
    """Returns the sentence that compares the decision's rung with the incumbent, and one about missing answers."""
    compared = today.compared.get(rung or "")
    lines = [sentence_of(compared)] if compared else []
    if today.figures.unscored:
        why = ", ".join(f"{reason}: {n}" for reason, n in today.figures.unscored.items())
        lines.append(f"The incumbent answered {today.figures.answered} of {today.figures.rows} rows ({why}).")
    return lines


def _needed(task: Explanation) -> str:
    """Returns the score that is needed to show the bar with the validation rows, in one or two sentences."""
    needed = f"{task.share_needed:.3f}" if task.share_needed is not None else None
    shown = f"a score of {needed} passes" if needed else "not even a score of 1 passes"
    text = f"With {number_of(task.dev_rows, 'independent validation row')}, {shown}."
    if task.dev_groups < task.dev_rows:
        strict = task.share_needed_of_groups
        worst = f"{strict:.3f}" if strict is not None else "more than 1"
        text += (
            f" They belong to {number_of(task.dev_groups, 'group')}: the more alike the rows of a group score, "
            f"the closer the required score comes to that for {number_of(task.dev_groups, 'row')}: {worst}."
        )
    return text


def _rung_lines(number: int, rung: RungExplanation, known: set[Reason]) -> list[str]:
    """Returns what one rung showed; `known`: reasons that earlier rungs gave already."""
    one = rung.evidence
    lines = [f"{number}. {one.rung} ({one.method}, {one.base or 'no language model'}): {score_text(one)}"]
    if one.also:
        also = [f"{name} {i.value:.3f} ({i.low:.3f} to {i.high:.3f})" for name, i in one.also.items()]
        lines.append(f"   other metrics: {', '.join(also)}")
    tokens = f", {number_of(one.train_tokens, 'token')}" if one.train_tokens else ""
    took = f" in {rung.seconds:.0f} s" if rung.seconds else ""
    lines.append(f"   trained on {number_of(one.train_rows, 'row')}{tokens}{took}")
    if rung.speed:
        cost, currency = rung.speed.cost_per_1000, rung.speed.currency
        costs = f", {money(cost, currency)} for 1,000 answers" if cost is not None else ""
        lines.append(f"   median time of an answer: {milliseconds(rung.speed.median_seconds)} ms{costs}")
    left_out = {**one.unscored, **one.train_rejected}
    if left_out:
        lines.append(f"   left out: {', '.join(f'{reason}: {n}' for reason, n in left_out.items())}")
    return [*lines, *(f"   {sentence_of(reason)}" for reason in rung.decision.reasons if reason not in known)]
