"""How a climb reads in a terminal and as a table: one sentence first, details after."""

from collections.abc import Mapping, Sequence
from typing import Any

from rungwise.evidence.evaluate import score_text

HEADER = ("rung", "method", "dev score (interval, n)", "bar", "trained", "verdict")


def ladder_rows(task: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns the ladder as rows of text under HEADER, a line a rung, untried ones too."""
    evidence = {e["rung"]: e for e in task["evidence"]}
    kept = (task["decision"] or {}).get("rung")
    rows: list[tuple[str, ...]] = []
    for name in task["ladder"]:
        found = evidence.get(name)
        if found is None:
            rows.append((name, "", "not tried", f"{task['target']:g}", "", ""))
            continue
        passes = bool(found["score"]) and name == kept and task["decision"]["passes"]
        verdict = "passes, kept" if passes else "kept" if name == kept else ""
        of = f" of {found['base_parameters']:,}" if found["base_parameters"] else ""
        trained = f"{found['trained_parameters']:,}{of}"
        rows.append((name, found["method"], score_text(found), f"{task['target']:g}", trained, verdict))
    return rows


def sentence(name: str, task: Mapping[str, Any]) -> str:
    """Returns where a task stands, in one sentence."""
    decision, champion = task["decision"], task["champion"]
    if decision is None:
        return f"{name}: not climbed yet; `rungwise run` does it."
    found = next((e for e in task["evidence"] if e["rung"] == decision["rung"]), None)
    if found is None:
        return f"{name}: no rung could be judged."
    score = score_text(found)
    if not decision["passes"]:
        return f"{name}: no rung shows the bar of {task['target']:g}; {found['rung']} is kept at {score}."
    text = f"{name}: {found['rung']} is good enough: {score} against the bar of {task['target']:g}"
    if champion and champion.get("attempt") == found["attempt"]:
        return f"{text}; it is the champion, version {champion['version']}."
    return f"{text}; " + (f"the champion is version {champion['version']}." if champion else "not promoted yet.")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as text in columns, two spaces apart."""
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]
    lines = [header, ["-" * w for w in widths], *rows]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def status_text(status: Mapping[str, Any]) -> str:
    """Returns the whole status for a terminal."""
    parts = []
    for name, task in status["tasks"].items():
        lines = [sentence(name, task), *([task["comparison"]] if task["comparison"] else [])]
        lines += ["", table(HEADER, ladder_rows(task))]
        if task["decision"]:
            lines += ["", "Why:", *[f"  - {reason}" for reason in task["decision"]["reasons"]]]
        for alias in ("challenger", "champion"):
            version = task[alias]
            if version:
                base = version["base"] + (f"@{version['base_revision']}" if version.get("base_revision") else "")
                what = f"{version['rung']} on {base}" if base else f"{version['rung']}, no language model"
                lines.append(f"{alias}: version {version['version']} ({what})")
        lines += [f"test look: {look['action']}: {' '.join(look['reasons'])}" for look in task["test_looks"][-1:]]
        parts.append("\n".join(lines))
    if status["changed"]:
        stages = ", ".join(status["changed"])
        parts.append(f"Something changed since this climb (DVC would run: {stages}); `rungwise run` climbs again.")
    if status["data_version"]:
        parts.append(f"data version: {status['data_version']}")
    return "\n\n".join(parts)


def explain_text(explained: Mapping[str, Any]) -> str:
    """Returns what `rungwise explain` says: the question, each rung's answer and decision, and the verdict."""
    parts = []
    for name, task in explained.items():
        lines = [f"{name}: is the {task['metric']} at least {task['target']:g}? That is {task['meaning']}."]
        n, groups, needed = task["dev_rows"], task["dev_groups"], task["share_needed"]
        shown = (
            f"{needed:.3f} has to be observed" if needed is not None else "not even a faultless answer would show it"
        )
        lines.append(f"With {n} development rows, each for itself, {shown}.")
        if groups < n:
            strict = task["share_needed_of_groups"]
            worst = f"{strict:.3f}" if strict is not None else "more than a faultless answer shows"
            lines[-1] += (
                f" They belong to {groups} groups: the more alike the rows of a group fare, the nearer that comes"
                f" to what {groups} rows would need: {worst}."
            )
        for number, rung in enumerate(task["rungs"], 1):
            base = rung["base"] or "no language model"
            lines += ["", f"{number}. {rung['rung']} ({rung['method']}, {base}): {score_text(rung)}"]
            also = [f"{k} {i['value']:.3f} ({i['low']:.3f} to {i['high']:.3f})" for k, i in rung["also"].items()]
            lines += [f"   also: {', '.join(also)}"] if also else []
            took = f" in {rung['seconds']:.0f} s" if rung["seconds"] else ""
            lines.append(f"   trained on {rung['train_rows']} rows, {rung['train_tokens']:,} tokens{took}")
            left_out = {**rung["unscored"], **rung["train_rejected"]}
            lines += [f"   left out: {', '.join(f'{k}: {v}' for k, v in left_out.items())}"] if left_out else []
            known = {reason for earlier in task["rungs"][: number - 1] for reason in earlier["decision"]["reasons"]}
            lines += [f"   {reason}" for reason in rung["decision"]["reasons"] if reason not in known]
        kept = task["decision"]["rung"] or "none"
        verdict = "it passes" if task["decision"]["passes"] else "no rung passes"
        lines += ["", f"Kept: {kept}; {verdict}.", *([task["comparison"]] if task["comparison"] else [])]
        parts.append("\n".join(lines))
    return "\n\n\n".join(parts)
