"""Records the results of the demonstration: `python infra/demo/record.py`, after `make demo` or `make demo-full`.

Writes results.json (each task's ladder with n, intervals and seconds) and results.svg (its picture). The table in
docs/results.md is made from results.json (`results_table`); a test compares that page with it. A climb stops at the
first rung that passes; `--all-rungs` trains and scores the others too, and an untuned prompt, on the same validation
rows. No decision depends on these scores.
"""

import argparse
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rungwise.climbing.rungs import TaskClimb, evaluate_rung, task_climb, train_rung
from rungwise.config import RungSettings, Settings
from rungwise.core.records import Interval
from rungwise.evidence.figure import GREEN, GREY, Panel, ScoreRow, scores_figure
from rungwise.report.read import explain, explain_json, status, status_json
from rungwise.report.text import sentence
from rungwise.workspace.layout import settings_of
from rungwise.workspace.process import prepare_environment, workspace_root

HERE = Path(__file__).parent
RESULTS, PICTURE = HERE / "results.json", HERE / "results.svg"
CONFIDENCE = 0.95
"""The confidence of the demonstration's intervals, as in params.yaml."""


PROMPT: Final = RungSettings(name="prompt", base="smollm2-135m", method="prompt")


def with_prompt(settings: Settings) -> Settings:
    """Returns the settings with the rung PROMPT before the rungs that train a language model."""
    if any(rung.method == "prompt" for rung in settings.ladder):
        return settings
    first = next((i for i, rung in enumerate(settings.ladder) if rung.name == PROMPT.base), len(settings.ladder))
    return settings.model_copy(update={"ladder": (*settings.ladder[:first], PROMPT, *settings.ladder[first:])})


def all_rungs(root: Path, recorded: dict[str, Any]) -> None:
    """Adds the rungs that the climb did not reach to its results, in the order of the ladder."""
    settings = with_prompt(settings_of(root))
    for name, task in recorded["tasks"].items():
        climb = task_climb(root, settings, name)
        reached = {rung["rung"]: rung for rung in task["rungs"]}
        task["rungs"] = [reached.get(rung.name) or _beyond(climb, rung.name) for rung in settings.ladder]


def _beyond(climb: TaskClimb, rung: str) -> dict[str, Any]:
    """Returns the results of a rung that the climb did not reach."""
    attempt = train_rung(climb, rung)
    evidence = evaluate_rung(climb, rung, attempt).evidence
    return {
        "rung": rung,
        **(_ends(asdict(evidence.score)) if evidence.score else {}),
        "note": evidence.note,
        "also": {name: interval.value for name, interval in evidence.also.items()},
        "seconds": attempt.cost.get("seconds"),
        "train_rows": len(climb.train),
        "trained_parameters": evidence.trained_parameters,
        "is_beyond": True,
    }


def results(root: Path) -> dict[str, Any]:
    """Returns the results of the workspace's last climb: task -> bar, rungs, decision; and the machine."""
    current = status(root)
    climbs, stands = explain_json(explain(root)), status_json(current)["tasks"]
    tasks = {}
    for name, task in climbs.items():
        rungs = [
            {
                "rung": rung["rung"],
                **(_ends(rung["score"]) if rung["score"] else {}),
                "note": rung["note"],
                "also": {k: i["value"] for k, i in rung["also"].items()},
                "seconds": rung["seconds"],
                "train_rows": rung["train_rows"],
                "trained_parameters": rung["trained_parameters"],
            }
            for rung in task["rungs"]
        ]
        champion = stands[name]["champion"]
        tasks[name] = {
            "family": settings_of(root).tasks[name].family,
            "metric": task["metric"],
            "bar": task["target"],
            "floor": task["floor"] and {"name": task["floor"]["name"], **_ends(task["floor"]["score"])},
            "dev_rows": task["dev_rows"],
            "dev_groups": task["dev_groups"],
            "rungs": rungs,
            "sentence": sentence(current.tasks[name]),
            "comparison": task["comparison"]["sentence"] if task["comparison"] else "",
            "kept": task["decision"]["rung"],
            "champion": champion and champion["rung"],
            "test_look": [
                " ".join(reason["sentence"] for reason in look["reasons"]) for look in stands[name]["test_looks"][-1:]
            ],
        }
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return {"machine": machine, "tasks": tasks}


def _ends(score: dict[str, Any]) -> dict[str, Any]:
    return {name: score[name] for name in ("value", "low", "high", "n")}


def _lines(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the floor of a task, where it was recorded, and its rungs."""
    floor = task.get("floor")
    line = {"rung": f"floor ({floor['name']})", "trained_parameters": 0, **floor} if floor else {}
    return [*([line] if floor else []), *task["rungs"]]


def results_table(recorded: dict[str, Any]) -> str:
    """Returns the table of figures in docs/results.md; rungs that the climb did not reach are in italics."""
    lines = [
        "| task | family, metric | bar | rung | score on validation rows (95 % interval) | n | training |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, task in recorded["tasks"].items():
        for number, rung in enumerate(_lines(task)):
            about = (
                (f"**{name}**", f"{task['family']}, {task['metric']}", f"{task['bar']:g}") if not number else ("",) * 3
            )
            score, n = "none: " + rung.get("note", ""), ""
            if "value" in rung:
                score, n = f"{rung['value']:.3f} ({rung['low']:.3f} to {rung['high']:.3f})", str(rung["n"])
                score = f"**{score}**" if rung["rung"] == task["kept"] else score
            seconds = f"{rung['seconds'] or 0:.0f} s" if rung["trained_parameters"] else ""
            called = f"*{rung['rung']}*" if rung.get("is_beyond") else rung["rung"]
            lines.append(f"| {' | '.join([*about, called, score, n, seconds])} |")
    return "\n".join(lines)


def picture(recorded: dict[str, Any]) -> str:
    """Returns an SVG: a panel for each task with its bar, and each rung's score with its interval."""
    panels = [
        Panel(
            f"{name} ({task['family']}): {task['metric']}",
            tuple(_row(rung, task["bar"]) for rung in _lines(task)),
            bar=task["bar"],
        )
        for name, task in recorded["tasks"].items()
    ]
    legend = {"passes: its interval is above the bar": GREEN, "does not pass": GREY}
    return scores_figure(panels, legend=legend)


def _row(rung: dict[str, Any], bar: float) -> ScoreRow:
    if "value" not in rung:
        return ScoreRow(rung["rung"], None, "no score")
    score = Interval(rung["value"], rung["low"], rung["high"], rung["n"], CONFIDENCE)
    note = f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"
    is_floor = rung["rung"].startswith("floor (")
    return ScoreRow(
        "floor" if is_floor else rung["rung"], score, note, GREEN if score.low >= bar and not is_floor else GREY
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Records the results of the demonstration.")
    parser.add_argument("--all-rungs", action="store_true", help="also the rungs that the climb did not reach")
    options = parser.parse_args()
    prepare_environment()
    shown = results(workspace_root())
    if options.all_rungs:
        all_rungs(workspace_root(), shown)
    RESULTS.write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
    PICTURE.write_text(picture(shown), encoding="utf-8")
    print(results_table(shown))
