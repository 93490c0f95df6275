"""The generated parts of the reference pages, as Markdown: settings, commands, Python API.

`filled` reads a page and replaces each marker `<!-- generated: NAME -->`. Settings come from the JSON schema of
`rungwise.config.Settings` (https://docs.pydantic.dev/latest/concepts/json_schema/), commands from the parser of
`rungwise.cli.main`, the Python API from `rungwise.__all__`. Nothing is written to disk.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

MARKER: Final = re.compile(r"^<!-- generated: (\w+) -->$", re.M)
WIDTH: Final = 88
"""Columns of a usage line; more would scroll on the page."""


def filled(page: str) -> str:
    """Returns the page with every marker replaced by what it names.

    Raises:
        KeyError: no generator has the marker's name.
    """
    return MARKER.sub(lambda marker: GENERATORS[marker[1]](), page)


def settings() -> str:
    """Returns every section of params.yaml with its settings: type, default and meaning."""
    from rungwise.config import Settings

    schema = Settings.model_json_schema(by_alias=True)
    blocks = _section(schema, schema, "")
    for name, field in schema["properties"].items():
        if name != "seed":
            blocks += _inner(schema, field, name, 2)
    return "\n".join(blocks)


def _inner(schema: Mapping[str, Any], field: Mapping[str, Any], path: str, level: int) -> list[str]:
    """Returns the section that a field holds, and those inside it, each with its path as the heading."""
    reference = _reference(field, path)
    if reference is None:
        return []
    name, inner_path = reference
    section = schema["$defs"][name]
    blocks = [f"\n{'#' * min(level, 4)} `{inner_path}`\n", section.get("description", ""), ""]
    blocks += _section(schema, section, inner_path)
    for key, inner in section["properties"].items():
        blocks += _inner(schema, inner, f"{inner_path}.{key}", level + 1)
    return blocks


def _reference(field: Mapping[str, Any], path: str) -> tuple[str, str] | None:
    """Returns the section that a field's schema refers to and the path to it; None where it holds plain values."""
    if "$ref" in field:
        return str(field["$ref"]).rsplit("/", 1)[-1], path
    for key, suffix in (("items", "[]"), ("additionalProperties", ".NAME")):
        if isinstance(field.get(key), dict) and (result := _reference(field[key], path + suffix)):
            return result
    for option in field.get("anyOf", ()):
        if result := _reference(option, path):
            return result
    return None


def _section(schema: Mapping[str, Any], section: Mapping[str, Any], path: str) -> list[str]:
    lines = []
    for name, field in section["properties"].items():
        default = "**required**" if name in section.get("required", ()) else f"default {_default(field)}"
        text = " ".join((field.get("description") or _of_section(schema, field)).split())
        lines += [f"`{name}` *{_type(schema, field)}; {default}*", f": {text}", ""]
    return lines


def _of_section(schema: Mapping[str, Any], field: Mapping[str, Any]) -> str:
    """Returns the docstring of the section that a field holds: pydantic leaves one out that says the same."""
    section = _reference(field, "")
    return str(schema["$defs"][section[0]].get("description", "")) if section else ""


def _default(field: Mapping[str, Any]) -> str:
    """Returns the default as it would be written in params.yaml."""
    value = field.get("default")
    if "default" not in field or value in ({}, []):
        return "empty"
    if isinstance(value, dict):
        return "as below"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


_BOUNDS: Final = (
    ("minimum", "at least {:g}"),
    ("exclusiveMinimum", "above {:g}"),
    ("maximum", "at most {:g}"),
    ("exclusiveMaximum", "below {:g}"),
)
_TYPES: Final = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def _type(schema: Mapping[str, Any], field: Mapping[str, Any]) -> str:
    """Returns a field's type in words, with its bounds."""
    if "anyOf" in field:
        return " or ".join(_type(schema, option) for option in field["anyOf"])
    if "$ref" in field:
        return "section"
    if "enum" in field or "const" in field:
        return "one of " + ", ".join(f"`{json.dumps(v)}`" for v in field.get("enum", [field.get("const")]))
    kind = field.get("type")
    if kind == "null":
        return "`null`"
    if kind == "array":
        return f"list of: {_type(schema, field['items'])}"
    if kind == "object":
        values = field.get("additionalProperties")
        return "mapping of names to: " + (_type(schema, values) if isinstance(values, dict) and values else "any value")
    bounds = [text.format(field[key]) for key, text in _BOUNDS if key in field]
    return ", ".join([_TYPES.get(str(kind), "any value"), *bounds])


def commands() -> str:
    """Returns every command with its usage, arguments and options."""
    from rungwise.cli.main import parser

    return "\n".join(line for name, command in _commands(parser(), "") for line in _command(name, command))


def _commands(parser: argparse.ArgumentParser, prefix: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield f"{prefix}{name}", command
                yield from _commands(command, f"{prefix}{name} ")


def _command(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    usage = argparse.HelpFormatter(command.prog, width=WIDTH)
    usage.add_usage(command.usage, command._actions, command._mutually_exclusive_groups, "")
    text = command.description or ""
    yield from ("", f"{'##' if ' ' not in name else '###'} rungwise {name}", "", _sentence(text), "")
    yield from ("```text", usage.format_help().strip(), "```", "")
    for action in command._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
        shown = ", ".join(f"`{option}{value}`" for option in action.option_strings) or f"`{value.strip()}`"
        is_option = bool(action.option_strings)
        notes = ["required"] if is_option and action.required else ["optional"] if action.nargs == "?" else []
        notes += ["repeatable"] if isinstance(action, argparse._AppendAction) else []
        yield from (f"{shown} *{', '.join(notes)}*" if notes else shown, f": {_sentence(action.help or '')}", "")


def _sentence(text: str) -> str:
    """Returns a help text as a sentence."""
    text = re.sub(r"(?<![`\w-])--[a-z-]+", r"`\g<0>`", text)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', ':')) else '.'}" if text else ""


RESULTS: Final = (
    "pipeline.steps.TaskResult",
    "report.read.Status",
    "report.read.TaskStatus",
    "report.read.Explanation",
    "report.read.RungExplanation",
    "release.champion.Answer",
    "release.gate.Verdict",
    "core.errors.Problem",
)
"""The values that the public names return or carry."""


def python() -> str:
    """Returns directives that document each public class of the package, and the values that it returns."""
    import rungwise

    public = [name for name in rungwise.__all__ if isinstance(getattr(rungwise, name), type)]
    sections = {"Public names": sorted(public, reverse=True), "Results": RESULTS}
    lines = []
    for title, names in sections.items():
        lines += [f"## {title}", "", "```{eval-rst}"]
        for name in names:
            lines += [f".. autoclass:: rungwise.{name}", "   :members:", ""]
        lines += ["```", ""]
    return "\n".join(lines)


GENERATORS: Final[Mapping[str, Callable[[], str]]] = {"settings": settings, "commands": commands, "python": python}
"""A marker's name -> what stands in its place."""
