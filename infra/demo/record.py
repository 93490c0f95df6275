"""Records the results of the demonstration: `python infra/demo/record.py`, after `make demo` or `make demo-full`.

Writes results.json (each task's ladder with n, intervals and seconds) and results.svg (its picture). The table in
docs/results.md is made from results.json (`results_table`); a test compares that page with it.
"""

import json
import os
import platform
from html import escape
from pathlib import Path
from typing import Any

from rungwise.report.read import explain, explain_json, status, status_json
from rungwise.report.text import sentence
from rungwise.workspace.layout import settings_of
from rungwise.workspace.process import prepare_environment, workspace_root

HERE = Path(__file__).parent
RESULTS, PICTURE = HERE / "results.json", HERE / "results.svg"


def results(root: Path) -> dict[str, Any]:
    """Returns what the last climb of the workspace showed: task -> bar, rungs, verdict; and the machine."""
    current = status(root)
    climbs, stands = explain_json(explain(root)), status_json(current)["tasks"]
    tasks = {}
    for name, task in climbs.items():
        rungs = [
            {
                "rung": rung["rung"],
                **({k: rung["score"][k] for k in ("value", "low", "high", "n")} if rung["score"] else {}),
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


def results_table(found: dict[str, Any]) -> str:
    """Returns the table of figures in docs/results.md."""
    lines = [
        "| task | family, metric | bar | rung | score on development rows (95 % interval) | n | training |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, task in found["tasks"].items():
        for number, rung in enumerate(task["rungs"]):
            about = (
                (f"**{name}**", f"{task['family']}, {task['metric']}", f"{task['bar']:g}") if not number else ("",) * 3
            )
            score, n = "none: " + rung["note"], ""
            if "value" in rung:
                score, n = f"{rung['value']:.3f} ({rung['low']:.3f} to {rung['high']:.3f})", str(rung["n"])
                score = f"**{score}**" if rung["rung"] == task["kept"] else score
            seconds = f"{rung['seconds'] or 0:.0f} s" if rung["trained_parameters"] else ""
            lines.append(f"| {' | '.join([*about, rung['rung'], score, n, seconds])} |")
    return "\n".join(lines)


WIDE, ROW, LEFT, RIGHT, HEAD = 720, 24, 110, 40, 34


def picture(recorded: dict[str, Any]) -> str:
    """Returns an SVG: one panel per task, one line per rung with its interval, and the bar as a dashed line."""
    parts, y = [], 10
    span = WIDE - LEFT - RIGHT

    def x(value: float) -> float:
        return round(LEFT + span * value, 1)

    for name, task in recorded["tasks"].items():
        head = f"{name} ({task['family']}): {task['metric']}, bar {task['bar']:g}"
        bottom = y + HEAD + ROW * len(task["rungs"])
        parts.append(f'<text x="10" y="{y + 16}" class="head">{escape(head)}</text>')
        parts += [
            f'<line x1="{x(t / 10)}" x2="{x(t / 10)}" y1="{y + HEAD - 8}" y2="{bottom}" class="grid"/>'
            for t in range(0, 11, 2)
        ]
        bar = x(task["bar"])
        parts.append(f'<line x1="{bar}" x2="{bar}" y1="{y + HEAD - 8}" y2="{bottom}" class="bar"/>')
        for number, rung in enumerate(task["rungs"]):
            middle = y + HEAD + ROW * number + ROW // 2
            parts.append(f'<text x="{LEFT - 8}" y="{middle + 4}" class="rung">{escape(rung["rung"])}</text>')
            if "value" not in rung:
                parts.append(f'<text x="{LEFT + 6}" y="{middle + 4}" class="note">no score</text>')
                continue
            kind = "passes" if rung["low"] >= task["bar"] else "short"
            low, high, value = (x(rung[k]) for k in ("low", "high", "value"))
            parts.append(f'<line x1="{low}" x2="{high}" y1="{middle}" y2="{middle}" class="{kind} whisker"/>')
            parts.append(f'<circle cx="{value}" cy="{middle}" r="5" class="{kind} dot"/>')
            parts.append(f'<text x="{high + 8}" y="{middle + 4}" class="note">{rung["value"]:.3f}</text>')
        y = bottom + 14
    ticks = "".join(f'<text x="{x(t / 10)}" y="{y + 8}" class="tick">{t / 10:g}</text>' for t in range(0, 11, 2))
    style = (
        "text{font:13px system-ui,sans-serif;fill:#222}.head{font-weight:600}.rung{text-anchor:end}"
        ".note,.tick{font-size:12px;fill:#555;paint-order:stroke;stroke:#fff;stroke-width:4px}.tick{text-anchor:middle}.grid{stroke:#e3e3e3}"
        ".bar{stroke:#b3261e;stroke-width:2;stroke-dasharray:5 3}.whisker{stroke-width:3}"
        ".passes{stroke:#1b7f3b}.short{stroke:#7a7a7a}.dot.passes{fill:#1b7f3b}.dot.short{fill:#7a7a7a}"
    )
    size = f'width="{WIDE}" height="{y + 20}" viewBox="0 0 {WIDE} {y + 20}"'
    body = "\n".join(parts)
    label = "Each rung's score with its interval, and the bar, for every task"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">\n<style>{style}</style>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n{ticks}\n</svg>\n'
    )


if __name__ == "__main__":
    prepare_environment()
    shown = results(workspace_root())
    RESULTS.write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
    PICTURE.write_text(picture(shown), encoding="utf-8")
    print(results_table(shown))
