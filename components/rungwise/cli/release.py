"""The commands predict, promote and compare."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rungwise.cli.common import Add, at_least_one, show
from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import joined
from rungwise.core.progress import say

if TYPE_CHECKING:
    from rungwise.release.champion import Answer


def add(add: Add) -> None:
    """Adds the commands."""
    predict = add("predict", _predict, "print the champion's answer to a text")
    promote = add("promote", _promote, "score the challenger on the test rows; exit code 1 if the gate refuses it")
    for command in (predict, promote):
        command.add_argument("task", metavar="TASK", help="a task of params.yaml")
        command.add_argument("--json", action="store_true", help="print JSON")
    predict.add_argument("text", nargs="?", metavar="TEXT", help="the text for the prompt's only slot")
    predict.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="NAME=TEXT",
        help="the text for one slot, if the prompt has several",
    )
    compare = add("compare", _compare, "compare two versions by labels of rows on which their answers differ")
    compare.add_argument("task", metavar="TASK", help="a task of params.yaml")
    compare.add_argument(
        "versions",
        nargs="*",
        metavar="VERSION",
        help="two versions: champion, challenger, or numbers; default: challenger champion",
    )
    compare.add_argument("--rows", type=Path, metavar="FILE", help="rows without answers, which both versions answer")
    compare.add_argument(
        "--label", type=at_least_one, default=100, metavar="N", help="how many rows to write for people; default: 100"
    )
    compare.add_argument(
        "--to", type=Path, default=Path("labels.csv"), metavar="FILE", help="the file for people; default: labels.csv"
    )
    compare.add_argument("--labels", type=Path, metavar="FILE", help="that file with the answers filled in")
    compare.add_argument("--json", action="store_true", help="print JSON")


def _predict(root: Path, arguments: argparse.Namespace) -> int:
    """Prints the champion's answer to one row."""
    from dataclasses import asdict

    from rungwise.release.champion import answer
    from rungwise.workspace.layout import settings_of

    if (arguments.text is None) == (not arguments.field):
        what = "the text is missing" if arguments.text is None else "a text and --field are both given"
        raise SettingsError(Problem(what, wanted='a "text", or --field NAME=TEXT for each slot'))
    fields = {}
    for pair in arguments.field:
        name, is_pair, value = pair.partition("=")
        if not is_pair:
            raise SettingsError(Problem("a field has no value", found=name[:40], wanted="--field NAME=TEXT"))
        if name in fields:
            raise SettingsError(Problem("a field is given twice", found=name[:40], wanted="one text for each slot"))
        fields[name] = value
    if arguments.text and _is_file(arguments.text):
        say(
            f"rungwise: warning: {arguments.text} is a file, and its name is answered, not what it holds. "
            "`Workspace.predict` and MLflow answer many rows (docs/howto/registry.md)"
        )
    one = answer(root, arguments.task, fields, arguments.text)
    text = f"{one.answer}  (probability {one.probability:.2f}, version {one.version}){_for_people(one)}"
    if one.automatic is None and settings_of(root).abstain.right.get(arguments.task):
        say("rungwise: warning: the champion has no threshold for `abstain.right` yet; `rungwise run` sets it")
    show(json.dumps(asdict(one), ensure_ascii=False) if arguments.json else text)
    return 0


def _for_people(one: "Answer") -> str:
    """Returns that an answer is not sure enough to be used, if so."""
    if one.automatic is not False:
        return ""
    if one.threshold is None:
        return "\nfor people: no probability is shown to keep `abstain.right`"
    return f"\nfor people: the probability is below {one.threshold:.4g} (`abstain.right`)"


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # no path at all, such as a long text
        return False


def _promote(root: Path, arguments: argparse.Namespace) -> int:
    """Asks the gate about the challenger."""
    from rungwise.core.words import reason_json, sentence_of
    from rungwise.release.promote import promote
    from rungwise.workspace.layout import settings_of
    from rungwise.workspace.lock import locked

    settings_of(root)
    with locked(root, "rungwise promote"):
        verdict = promote(root, arguments.task)
    if arguments.json:
        reasons = [reason_json(reason) for reason in verdict.reasons]
        show(json.dumps({"action": verdict.action, "reasons": reasons}, ensure_ascii=False))
    else:
        show(f"{verdict.action}: " + "\n  ".join(sentence_of(reason) for reason in verdict.reasons))
    return 1 if verdict.action == "refuse" else 0


def _compare(root: Path, arguments: argparse.Namespace) -> int:
    """Writes rows for people to label, or decides from their labels."""
    from dataclasses import asdict

    from rungwise.release.compare import judge_labels, write_differing
    from rungwise.report.compare import differing_text, labelled_text

    names = arguments.versions or ["challenger", "champion"]
    if len(names) != 2:
        named = f"{len(names)}: {joined(names)}"
        raise SettingsError(Problem("two versions are compared", found=named, wanted="two, or none for the default"))
    if (arguments.rows is None) == (arguments.labels is None):
        what = "both --rows and --labels are given" if arguments.rows else "there is nothing to compare"
        raise SettingsError(Problem(what, wanted="--rows FILE to write rows for people, or --labels FILE to decide"))
    if arguments.rows:
        written = write_differing(root, arguments.task, names, arguments.rows, arguments.label, arguments.to)
        show(json.dumps(asdict(written)) if arguments.json else differing_text(written, str(arguments.to)))
        return 0
    judged = judge_labels(root, arguments.task, names, arguments.labels)
    show(json.dumps(asdict(judged)) if arguments.json else labelled_text(judged))
    return 0
