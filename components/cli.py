"""The `rungwise` command: init, plan, collect, generate, data, run, status, explain, predict, promote, pin.

Exit codes: 0 done; 1 a gate said no (`promote` refused); 2 an error that a person can mend, with no traceback;
130 stopped by Ctrl-C.
"""

import argparse
import json
import os
import sys
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from components.errors import RungwiseError, SettingsError, problem
from components.workspace import locked, prepare_environment, say, workspace_root


def _run(root: Path, arguments: argparse.Namespace) -> int:
    """Climbs, registers and promotes."""
    from components import effects
    from components.folders import joined
    from components.layout import check_unchanged, settings_of, snapshot
    from components.reporting.text import status_text
    from components.stages import changed_bases, check_bases, check_rows
    from components.versions import reproduce

    settings_of(root)  # a missing or wrong params.yaml is said before anything is made here
    with locked(root, "rungwise run"):
        settings, before = settings_of(root), snapshot(root)
        check_rows(root)
        check_bases(root, settings)
        code = reproduce(root, "augment") if settings.validate_.drift.severity == "stop" else 0
        if code == 0:
            effects.check_drift(root)
            code = reproduce(root)
        changed = changed_bases(root) if code == 0 else []
        if changed:
            say(f"rungwise: the files of base {joined(changed)} changed since the last climb; climbing again")
            code = reproduce(root, "--force", "--single-item", "climb")
        if code != 0:
            say("rungwise: the run stopped above; what was finished is kept: mend what is named there and run again")
            return 2
        accepted = effects.accept(root)
        for sentence in accepted:
            say(sentence)
        for task in settings.tasks:
            check_unchanged(root, before)
            registered = effects.register(root, task)
            say(registered.sentence)
            if registered.version is not None:
                action, reasons = effects.promote(root, task)
                say(f"{task}: {action}: {' '.join(reasons)}")
        _print(status_text(effects.status(root)))
    return 0


def _collect(root: Path, arguments: argparse.Namespace) -> int:
    """Copies the sources of `collect` into data/raw."""
    from components.effects import collect
    from components.layout import settings_of

    settings_of(root)
    with locked(root, "rungwise collect"):
        found = collect(root)
    if arguments.json:
        _print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    for source in found:
        size = sum(file["bytes"] for file in source["files"].values())
        news = f"{len(source['changed'])} changed" if source["changed"] else "nothing changed"
        _print(f"{source['name']}: {len(source['files'])} files, {size:,} bytes; {news}")
    if not found:
        _print("params.yaml names no source under `collect`; nothing was done")
    return 0


def _generate(root: Path, arguments: argparse.Namespace) -> int:
    """Fulfils a data request."""
    from components.generating.fulfil import fulfil
    from components.layout import settings_of

    if (arguments.label is None) != (arguments.rows is None):
        raise SettingsError(
            problem("a label without a number of rows, or rows without a label", wanted="--label and --rows")
        )
    wanted = {arguments.label: arguments.rows} if arguments.label else {}
    settings_of(root)
    with locked(root, "rungwise generate"):
        found = fulfil(
            root, arguments.task, arguments.base, wanted, Path(arguments.export) if arguments.export else None
        )
    if arguments.json:
        _print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    asked = ", ".join(f"{label}: {n}" for label, n in found["wanted"].items())
    _print(f"wanted: {asked} ({found['why']})")
    if "rows" not in found:
        _print(f"{found['file']}: an empty row for each; filled in and put into data/raw, it is a source like others")
        if found["columns"]:
            _print(f"careful: {found['columns']}")
        return 0
    dropped = ", ".join(f"{reason}: {n}" for reason, n in found["rejected"].items()) or "none"
    _print(f"kept {found['rows']} rows, {found['new']} of them new; dropped: {dropped}")
    if found["missing"]:
        _print("missing: " + ", ".join(f"{label}: {n}" for label, n in found["missing"].items()))
    for name, text in (("limited", "limit"), ("ended early", "note"), ("careful", "failures")):
        if found[text]:
            _print(f"{name}: {found[text]}")
    if found["file"]:
        _print(f"{found['file']}: name it under ingest.sources, and `rungwise run`:\n  {found['source']}")
    return 0 if found["rows"] else 1


def _data(root: Path, arguments: argparse.Namespace) -> int:
    """The versions of the rows: log, diff, docs, forget, prune, push, pull."""
    from components import history
    from components.layout import settings_of
    from components.reporting import data

    found: Any
    text: Callable[[Any], str]
    settings_of(root)  # a missing or wrong params.yaml is said before anything is made here
    with locked(root, f"rungwise data {arguments.what}"):
        if arguments.what == "docs":
            from components.reporting.page import write_pages

            page = write_pages(root)
            _print(str(page))
            if arguments.open:
                webbrowser.open(page.as_uri())
            return 0
        if arguments.what in ("push", "pull"):
            _print((history.push if arguments.what == "push" else history.pull)(root) or "nothing to do")
            return 0
        if arguments.what == "log":
            found, text = history.log(root), data.log_text
        elif arguments.what == "diff":
            found, text = history.diff(root, arguments.old, arguments.new), data.diff_text
        elif arguments.what == "forget":
            act = history.forget if arguments.purge else history.uses
            found, text = act(root, arguments.row), data.uses_text
        else:
            found, text = history.prune(root, arguments.keep), data.prune_text
    _print(json.dumps(found, indent=1, ensure_ascii=False) if arguments.json else text(found))
    return 0


def _status(root: Path, arguments: argparse.Namespace) -> int:
    """Says how each task stands."""
    from components.effects import status
    from components.reporting.text import status_text

    found = status(root)
    _print(json.dumps(found, indent=1, ensure_ascii=False) if arguments.json else status_text(found))
    return 0


def _explain(root: Path, arguments: argparse.Namespace) -> int:
    """Says what each rung showed and why the climb went on or stopped."""
    from components.effects import explain
    from components.reporting.text import explain_text

    found = explain(root, arguments.task)
    _print(json.dumps(found, indent=1, ensure_ascii=False) if arguments.json else explain_text(found))
    return 0


def _predict(root: Path, arguments: argparse.Namespace) -> int:
    """Answers one text with the champion."""
    from components.effects import answer

    if (arguments.text is None) == (not arguments.field):
        raise SettingsError(
            problem("there is no text to answer", wanted='a "text", or --field NAME=TEXT for each slot')
        )
    fields = {}
    for pair in arguments.field:
        name, is_pair, value = pair.partition("=")
        if not is_pair:
            raise SettingsError(problem("a field has no value", found=name[:40], wanted="--field NAME=TEXT"))
        fields[name] = value
    found = answer(root, arguments.task, fields, arguments.text)
    text = f"{found['answer']}  (probability {found['probability']:.2f}, version {found['version']})"
    _print(json.dumps(found, ensure_ascii=False) if arguments.json else text)
    return 0


def _promote(root: Path, arguments: argparse.Namespace) -> int:
    """Asks the gate about the challenger."""
    from components.effects import promote
    from components.layout import settings_of

    settings_of(root)
    with locked(root, "rungwise promote"):
        action, reasons = promote(root, arguments.task)
    if arguments.json:
        _print(json.dumps({"action": action, "reasons": reasons}, ensure_ascii=False))
    else:
        _print(f"{action}: " + "\n  ".join(reasons))
    return 1 if action == "refuse" else 0


def _pin(root: Path, arguments: argparse.Namespace) -> int:
    """Writes the hub's commits into params.yaml."""
    from components.config import pin
    from components.layout import Paths
    from components.model.bases import newest_commit

    with locked(root, "rungwise pin"):
        found = pin(Paths(root).params, newest_commit)
    for name, commit in found.items():
        _print(f"{name}@{commit}")
    if not found:
        _print("no rung names a hub model without its commit; nothing was changed")
    return 0


def _init(root: Path, arguments: argparse.Namespace) -> int:
    """Makes a workspace from a file of rows."""
    from components.init import init

    told = init(
        Path(arguments.dir),
        Path(arguments.rows),
        arguments.text,
        arguments.answer,
        records=arguments.records,
        test=Path(arguments.test) if arguments.test else None,
        test_records=arguments.test_records,
        dev=Path(arguments.dev) if arguments.dev else None,
        dev_records=arguments.dev_records,
        bases=arguments.base,
        ladder=arguments.ladder,
    )
    _print("\n".join(told))
    return 0


def _plan(root: Path, arguments: argparse.Namespace) -> int:
    """What the ladder, or the model of a config.json, needs on machines; --write chooses the precision."""
    from dataclasses import asdict

    from components.layout import Paths, settings_of
    from components.planning.machines import THIS, machine_named, machines
    from components.planning.measure import this_machine
    from components.planning.plan import most_of, plan_config, plan_ladder
    from components.reporting.plan import plan_text

    if arguments.write:
        from components.planning.precision import choose_precision

        with locked(root, "rungwise plan --write"):
            chose = choose_precision(root, Paths(root).params, settings_of(root), tokens=arguments.tokens)
        _print(json.dumps(asdict(chose), indent=1) if arguments.json else chose.sentence)
        return 0
    table = machines(root)
    names = list(table) if arguments.machine == ["all"] else arguments.machine or [THIS]
    chosen = [this_machine() if name == THIS else machine_named(name, table) for name in names]
    lengths = {"tokens": arguments.tokens, "answer_tokens": arguments.answer_tokens}
    if arguments.config:
        jobs = _jobs(arguments.rows, **lengths)
        fits = plan_config(Path(arguments.config), jobs, chosen, table, steps=arguments.steps)
    else:
        fits = plan_ladder(root, settings_of(root), chosen, table, **lengths)
    mosts = [most_of(machine) for machine in chosen]
    if arguments.json:
        found = {"fits": [asdict(one) for one in fits], "largest": [asdict(most) for most in mosts]}
        _print(json.dumps(found | {"machines": [asdict(m) for m in chosen]}, indent=1, ensure_ascii=False))
        return 0
    _print(plan_text(fits, mosts))
    return 0


def _jobs(rows: int, tokens: int, answer_tokens: int) -> dict[str, Any]:
    """Returns every method by name, in 16 bit, and LoRA on a 4-bit base."""
    from components.planning.need import Job
    from components.planning.shape import METHODS

    def job(method: str, precision: str = "bf16") -> Job:
        return Job(method, precision, rows=rows, tokens=tokens, answer_tokens=answer_tokens)

    return {method: job(method) for method in METHODS} | {"qlora": job("lora", "4bit")}


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()  # a reader that is gone is noticed here, where it is no error


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _plan_arguments(plan: argparse.ArgumentParser) -> None:
    plan.add_argument("--config", metavar="FILE", help="a model's config.json: every method with it, without a ladder")
    plan.add_argument(
        "--machine", action="append", metavar="NAME", help="a machine of the table; repeatable; `all` for all of them"
    )
    plan.add_argument("--tokens", type=_at_least_one, default=512, metavar="N", help="of the longest row (512)")
    plan.add_argument("--answer-tokens", type=_at_least_one, default=32, metavar="N", help="of the longest answer (32)")
    plan.add_argument("--rows", type=_at_least_one, default=1, metavar="N", help="--config: rows at once (1)")
    plan.add_argument("--steps", type=_at_least_one, default=300, metavar="N", help="--config: steps (300)")
    plan.add_argument(
        "--write", action="store_true", help="measure fp32 and bf16 here, and write the faster one into params.yaml"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rungwise",
        description="Fine-tune the smallest model that is good enough, and climb only when the evidence says so.",
        epilog="Commands work in the current folder, or in RUNGWISE_WORKSPACE.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, act: Callable[[Path, argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(act=act)
        return command

    collect = add("collect", _collect, "copy the sources of `collect` into data/raw, with their fingerprints")
    generate = add(
        "generate", _generate, "more training rows for rare labels, written by a model; or a table for people"
    )
    generate.add_argument("task", metavar="TASK", help="a task of params.yaml")
    generate.add_argument(
        "--base", metavar="MODEL", help="a local model writes; without it the server of augment.endpoint"
    )
    generate.add_argument("--label", metavar="LABEL", help="for this label, or this value of augment.slice, alone")
    generate.add_argument("--rows", type=int, metavar="N", help="how many rows for it")
    generate.add_argument(
        "--export", metavar="FILE", help="ask nobody: write a CSV with an empty row for each one wanted"
    )
    add("run", _run, "from the rows in data/raw to a champion: dvc repro, register, promote")
    status = add("status", _status, "ladder, evidence, decision and its reasons, champion")
    explain = add(
        "explain", _explain, "each rung of the last climb: what it showed, and why the climb went on or stopped"
    )
    predict = add("predict", _predict, "the champion's answer to a text")
    promote = add("promote", _promote, "let the test rows judge the challenger; exit code 1 if they refuse it")
    for command in (predict, promote):
        command.add_argument("task", metavar="TASK", help="a task of params.yaml")
    predict.add_argument("text", nargs="?", metavar="TEXT", help="fills the prompt's only slot")
    predict.add_argument("--field", action="append", default=[], metavar="NAME=TEXT", help="fills a slot by name")
    plan = add("plan", _plan, "memory, time and cost of each rung on this machine or another, before anything runs")
    _plan_arguments(plan)
    add("pin", _pin, "ask the hub for the commit of each base that has none, and write it into params.yaml")
    data = commands.add_parser("data", help="the versions of the rows: log, diff, docs, forget, prune, push, pull")
    data.set_defaults(act=_data)
    kinds = data.add_subparsers(dest="what", required=True, metavar="WHAT")
    texts = {
        "log": "the accepted versions of the rows, with counts, label shares and drift",
        "diff": "which rows came, went, changed and moved between two versions, and what shifted",
        "forget": "what a row was used for; with --purge all of it is removed",
        "prune": "remove old versions from DVC's cache, but none that a registered version names",
        "docs": "the rows of the last run as pages: what came in, what went and why, expectations, suspects, leaks",
        "push": "send the rows of all commits and accepted versions to DVC's remote",
        "pull": "fetch the rows that dvc.lock and the accepted versions name from DVC's remote",
    }
    inner = {name: kinds.add_parser(name, help=text, description=text) for name, text in texts.items()}
    inner["diff"].add_argument("old", metavar="OLD", help="a version, or the beginning of its name")
    inner["diff"].add_argument("new", metavar="NEW", help="the other one")
    inner["forget"].add_argument("row", metavar="ROW", help="the row's id")
    inner["forget"].add_argument("--purge", action="store_true", help="remove what used it")
    inner["prune"].add_argument(
        "--keep", type=_at_least_one, required=True, metavar="N", help="how many of the last stay"
    )
    inner["docs"].add_argument("--open", action="store_true", help="open them in the browser")
    for name in ("log", "diff", "forget", "prune"):
        inner[name].add_argument("--json", action="store_true", help="print JSON")
    init = add("init", _init, "a workspace of one's own from a file of rows: guesses the task and says why")
    init.add_argument("dir", metavar="DIR", help="the workspace's folder; it is made, or joins its git repository")
    init.add_argument(
        "--rows",
        required=True,
        metavar="FILE",
        help="CSV, TSV, JSON, JSON lines, or lines of a label and a text (.label)",
    )
    init.add_argument("--text", required=True, metavar="COLUMN", help="what is read")
    init.add_argument("--answer", required=True, metavar="COLUMN", help="what is to be answered")
    init.add_argument("--dev", metavar="FILE", help="rows that steer, where you have split them yourself")
    init.add_argument("--test", metavar="FILE", help="rows that judge, where you have split them yourself")
    init.add_argument("--records", default="[]", metavar="PATH", help="where a JSON file's rows stand, as `train.[]`")
    for name in ("--dev-records", "--test-records"):
        init.add_argument(name, metavar="PATH", help="the same for those; without their file, of the file of --rows")
    init.add_argument("--base", action="append", default=[], metavar="MODEL", help="a folder or hub name; repeatable")
    init.add_argument("--ladder", metavar="NAME", help="a preset of infra/ladders")
    explain.add_argument("task", metavar="TASK", nargs="?", help="a task of params.yaml; all without it")
    for command in (collect, generate, status, explain, predict, promote, plan):
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest:
        # argparse takes an optional word only where it follows the one before it: `predict TASK --json TEXT`
        if arguments.command != "predict" or arguments.text is not None or len(rest) > 1 or rest[0].startswith("-"):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        arguments.text = rest[0]
    prepare_environment()
    try:
        return int(arguments.act(workspace_root(), arguments))
    except RungwiseError as error:
        say(f"rungwise: {error}")
        return 2
    except KeyboardInterrupt:
        kept = {
            "run": "; finished attempts are kept, the same command goes on from there",
            "generate": "; usable answers of a server are kept, the same command goes on from there",
        }
        say(f"rungwise: stopped{kept.get(arguments.command, '; the same command does it again')}")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
