"""The commands about training: plan, methods, pack, attempt, unpack."""

import argparse
import json
from pathlib import Path

from rungwise.cli.common import Add, at_least_one, show
from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.core.progress import say
from rungwise.workspace.lock import locked


def add(add: Add) -> None:
    """Adds the commands."""
    plan = add("plan", _plan, "memory, time and cost of each rung on this machine or another, before anything runs")
    _plan_arguments(plan)
    methods = add("methods", _methods, "compare several methods with LoRA on one task: a table and a figure")
    methods.add_argument("task", metavar="TASK", help="a task of params.yaml")
    methods.add_argument("--methods", metavar="A,B", help="which; without it ten from all families")
    methods.add_argument(
        "--base", metavar="MODEL", help="a folder or hub name; without it the first rung's that trains"
    )
    methods.add_argument("--steps", type=at_least_one, metavar="N", help="of each; without it train.steps")
    methods.add_argument(
        "--rate", action="append", default=[], metavar="METHOD=RATE", help="a learning rate other than by the rule"
    )
    pack = add("pack", _pack, "a rung's attempt as a folder that another machine can run")
    pack.add_argument("task", metavar="TASK", help="a task of params.yaml")
    pack.add_argument("rung", metavar="RUNG", help="a rung of the ladder that trains")
    attempt = add("attempt", _attempt, "run such a folder, here or where only torch, transformers and peft are")
    attempt.add_argument(
        "--allow-code", metavar="HASH", default="", help="the hash of the base's code that may run on this machine"
    )
    unpack = add("unpack", _unpack, "take the result of such a folder into this workspace, if it is one of its rungs'")
    for command in (pack, attempt, unpack):
        command.add_argument("bundle", metavar="BUNDLE", help="the folder")
    for command in (plan, methods):
        command.add_argument("--json", action="store_true", help="print JSON")


def _methods(root: Path, arguments: argparse.Namespace) -> int:
    """Compares methods on one task."""
    from rungwise.climbing.trials import DEFAULT, compare
    from rungwise.core.folders import write_json, write_lines
    from rungwise.core.records import to_json
    from rungwise.report.trials import picture, trials_text

    methods = arguments.methods.split(",") if arguments.methods is not None else list(DEFAULT)
    rates = dict(_rate(text) for text in arguments.rate)
    if strange := [name for name in rates if name not in (*methods, "lora")]:
        raise SettingsError(
            Problem(
                "a learning rate is of no method that is compared",
                found=f"--rate {strange[0]}={rates[strange[0]]:g}",
                wanted=f"a method of {joined(methods, 20)}",
            )
        )
    with locked(root, "rungwise methods"):
        comparison = compare(root, arguments.task, methods, base=arguments.base, steps=arguments.steps, rates=rates)
        folder = root / ".rungwise" / "methods"
        write_json(folder / f"{arguments.task}.json", to_json(comparison))
        write_lines(folder / f"{arguments.task}.svg", picture(comparison))
    show(json.dumps(to_json(comparison), indent=1, ensure_ascii=False) if arguments.json else trials_text(comparison))
    say(f"the figure is {folder / f'{arguments.task}.svg'}")
    return 0


def _rate(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        rate = float(value)
    except ValueError:
        rate = 0.0
    if not name or not 0 < rate < float("inf"):
        raise SettingsError(Problem("a learning rate can't be read", found=text[:60], wanted="--rate lora=1e-3"))
    return name, rate


def _pack(root: Path, arguments: argparse.Namespace) -> int:
    """Writes a bundle."""
    from rungwise.climbing.exchange import pack

    with locked(root, "rungwise pack"):
        name = pack(root, arguments.task, arguments.rung, Path(arguments.bundle))
    show(
        f"{arguments.bundle}: attempt {name[:12]}; carry it to a machine with torch, transformers, peft, accelerate "
        f"and pandas, `rungwise attempt BUNDLE` (or `python -m rungwise.attempts BUNDLE`) there, bring it "
        f"back and `rungwise unpack {arguments.bundle}`"
    )
    return 0


def _attempt(root: Path, arguments: argparse.Namespace) -> int:
    """Runs a bundle; needs no workspace."""
    from rungwise.attempts.__main__ import run

    result = run(Path(arguments.bundle), allow_code=arguments.allow_code)
    show(f"the result is {result}; bring the folder back and `rungwise unpack` it")
    return 0


def _unpack(root: Path, arguments: argparse.Namespace) -> int:
    """Takes a bundle's result into the store."""
    from rungwise.climbing.exchange import unpack
    from rungwise.workspace.layout import settings_of

    settings_of(root)
    with locked(root, "rungwise unpack"):
        name, places = unpack(root, Path(arguments.bundle))
    show(f"attempt {name[:12]}, {joined(places)}, is in the store; `rungwise run` finds it there")
    return 0


def _plan(root: Path, arguments: argparse.Namespace) -> int:
    """Shows what the ladder, or the model of a config.json, needs on machines; --write chooses the precision."""
    from dataclasses import asdict

    from rungwise.climbing.rungs import spec_of
    from rungwise.planning.job import TOKENS
    from rungwise.planning.largest import largest_models
    from rungwise.planning.machines import THIS, machine_named, machines
    from rungwise.planning.measure import this_machine
    from rungwise.planning.plan import jobs_of_every_method, plan_config, plan_ladder
    from rungwise.planning.probe import probed
    from rungwise.planning.rows import Lengths
    from rungwise.report.plan import plan_text
    from rungwise.workspace.layout import Paths, settings_of

    _check_together(arguments)
    if arguments.write:
        from rungwise.planning.precision import choose_precision

        with locked(root, "rungwise plan --write"):
            chose = choose_precision(root, Paths(root).params, settings_of(root), tokens=arguments.tokens or TOKENS)
        show(json.dumps(asdict(chose), indent=1) if arguments.json else chose.sentence)
        return 0
    table = machines(root)
    asked = arguments.machine or [THIS]
    names = list(dict.fromkeys(name for one in asked for name in (table if one == "all" else [one])))
    if arguments.probe and THIS not in names:
        names = [THIS, *names]
    chosen = [this_machine() if name == THIS else machine_named(name, table) for name in names]
    if arguments.config:
        given = Lengths().with_given(arguments.tokens, arguments.answer_tokens)
        jobs = jobs_of_every_method(arguments.rows or 1, given.tokens, given.answer_tokens)
        fits = plan_config(Path(arguments.config), jobs, chosen, table, given, steps=arguments.steps)
    else:
        lengths = {"tokens": arguments.tokens, "answer_tokens": arguments.answer_tokens}
        settings = settings_of(root)
        fits = plan_ladder(root, settings, chosen, table, **lengths)
        if arguments.probe:
            fits = probed(
                root,
                settings,
                fits,
                lambda rung, task, labels: spec_of(settings, settings.tasks[task], rung, labels),
                say,
            )
    largest = [largest_models(machine) for machine in chosen]
    if arguments.json:
        result = {
            "fits": [asdict(one) | {"ratio": one.ratio} for one in fits],
            "largest": [asdict(one) for one in largest],
            "machines": [asdict(machine) for machine in chosen],
        }
        show(json.dumps(result, indent=1, ensure_ascii=False))
        return 0
    show(plan_text(fits, largest))
    return 0


def _check_together(arguments: argparse.Namespace) -> None:
    """Raises SettingsError if one of the options given would be ignored."""
    given = [
        f"--{name}" for name in ("write", "probe", "config", "machine", "rows", "steps") if getattr(arguments, name)
    ]
    apart = {
        "--write": (
            {"--probe", "--config", "--machine", "--rows", "--steps"},
            "it measures a base of params.yaml on this machine",
        ),
        "--probe": ({"--config"}, "a config file has no weights to run"),
    }
    for option, (others, why) in apart.items():
        if option in given and (both := sorted(others & set(given))):
            raise SettingsError(
                Problem(
                    "options can't be combined",
                    found=f"{option} with {joined(both)}",
                    wanted=f"{option} alone: {why}",
                    do="leave one of them out",
                )
            )
    if not arguments.config and (lone := [option for option in ("--rows", "--steps") if option in given]):
        raise SettingsError(
            Problem(
                "an option requires another one",
                found=f"{joined(lone)} without --config",
                wanted="--config FILE too; the ladder has `train.batch_size` and `train.steps` in params.yaml",
            )
        )
    if arguments.tokens and arguments.answer_tokens and arguments.answer_tokens >= arguments.tokens:
        raise SettingsError(
            Problem(
                "an answer must be shorter than its row",
                found=f"--answer-tokens {arguments.answer_tokens} with --tokens {arguments.tokens}",
                wanted="--answer-tokens below --tokens",
            )
        )


def _plan_arguments(plan: argparse.ArgumentParser) -> None:
    plan.add_argument(
        "--config", metavar="FILE", help="a model's config.json: plan every method with it instead of the ladder"
    )
    plan.add_argument(
        "--machine",
        action="append",
        metavar="NAME",
        help="a machine of the table (repeatable), or `all`; default: this machine",
    )
    plan.add_argument(
        "--tokens",
        type=at_least_one,
        metavar="N",
        help="tokens per row; default: measured on the prepared rows, or 512",
    )
    plan.add_argument(
        "--answer-tokens", type=at_least_one, metavar="N", help="tokens per answer; default: measured, or 32"
    )
    plan.add_argument("--rows", type=at_least_one, metavar="N", help="with --config: rows at once; default: 1")
    plan.add_argument("--steps", type=at_least_one, metavar="N", help="with --config: training steps; default: 300")
    plan.add_argument(
        "--probe",
        action="store_true",
        help="run a few real steps of each rung that fits this machine, and compare their time with the estimate",
    )
    plan.add_argument(
        "--write",
        action="store_true",
        help="measure fp32 and bf16 on this machine, and write the faster one into params.yaml",
    )
