"""Renders one chat template in a process of its own, with limits: `python -m rungwise.model.render`.

A template is a program of a base's author. Jinja's sandbox keeps it from files and from Python's inner parts, but not
from loops without an end or from text without one; only a process can be held to a limit whatever it does. This one
imports nothing but Jinja, so that it takes a fifth of a second. It reads a job as JSON from standard input, and
writes the text, or why there is none. The environment is that of transformers
(https://huggingface.co/docs/transformers/main/en/chat_templating_writing); a test compares the two.
"""

import json
import resource
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MAX_CHARACTERS: Final = 1_000_000
"""Longest text that a template may give for a few short messages."""
TOO_LARGE: Final = "memory"


class _Generation(Extension):
    """The tag `generation`, which marks what an assistant writes."""

    tags = {"generation"}

    def parse(self, parser: Any) -> nodes.Node:
        """Returns the block between the tag and its end."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_text"), [], [], body).set_lineno(line)

    def _text(self, caller: Callable[[], str]) -> str:
        return caller()


class _Namespace(Namespace):
    """A namespace without names that begin with an underscore."""

    def __init__(*args: Any, **values: Any) -> None:
        self, *given = args
        attributes = dict(*given, **values)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        Namespace.__setitem__(self, name, value)


class _Dict:
    """`dict`, of which a template sees nothing but this."""

    def __call__(self, *args: Any, **values: Any) -> dict[Any, Any]:
        return dict(*args, **values)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        """Returns `dict.fromkeys`."""
        return dict.fromkeys(*args)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace can't have the attribute {name!r}")


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )  # Jinja's own would escape HTML


def _environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    made.filters["tojson"] = _tojson
    made.globals |= {
        "raise_exception": _refuse,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return made


def outcome(job: dict[str, Any]) -> dict[str, str]:
    """Returns `text`, or `fault`: the error of the template on one line, or `limit`: what it takes too much of."""
    try:
        text = _environment().from_string(job["template"]).render(job["variables"])
    except MemoryError:
        return {"limit": TOO_LARGE}
    except Exception as error:  # what a template does may raise anything
        line = f" (line {error.lineno})" if isinstance(error, TemplateSyntaxError) else ""
        return {"fault": f"{type(error).__name__}: {' '.join(str(error)[:1000].split())[:200]}{line}"}
    return {"text": text} if len(text) <= MAX_CHARACTERS else {"limit": TOO_LARGE}


def main() -> None:
    """Renders the job of standard input."""
    job = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CPU, (job["seconds"], job["seconds"] + 1))
    if job["bytes"]:
        resource.setrlimit(resource.RLIMIT_AS, (job["bytes"], job["bytes"]))
    json.dump(outcome(job), sys.stdout)


if __name__ == "__main__":
    main()
