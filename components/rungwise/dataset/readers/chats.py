"""Reads the common chat and instruction formats as two columns: `prompt` and `completion`.

- `prompt` and `completion` as lists of messages or as texts, `messages` (`role`, `content`, `tool_calls`), and
  ShareGPT's `conversations` (`from`, `value`): the last turn of the assistant is the completion, the prompt is what is
  before it.
- Another column, named by the source, with such lists, with pairs (`human`, `assistant`; `input`, `output`), with texts
  that alternate between user and assistant, or with the text that a chat template writes (see `rendered`).
- `chosen` and `rejected`: the chosen answer is the completion of the `prompt`, or of the question next to it.
- `instruction`, `input` or `context`, `output` or `response`: instruction and input are the prompt. So are
  `system_prompt` and `question` with a `response`.
- `system`, `tools` and `history` next to them are the prompt's first turns.

Next to a label of its own, a conversation is read whole, as one text (see `as_text`).

An assistant's last turns with `weight: 0` are not to be learned and are left out. A column's name is found in any case.
A prompt of one user turn is the text of that turn. A prompt of several turns has the speaker's name before each. A
list may also stand in a text, as JSON or as Python prints it, as in a CSV cell.

The formats: https://huggingface.co/docs/trl/dataset_formats, https://github.com/tatsu-lab/stanford_alpaca,
https://llamafactory.readthedocs.io/en/latest/getting_started/data_preparation.html,
https://xtuner.readthedocs.io/en/latest/training/multi_turn_conversation.html.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from rungwise.dataset.readers.cells import Cell, value_in
from rungwise.dataset.readers.rendered import rendered_turns

COLUMNS: Final = ("prompt", "completion")
_TURNS: Final = ("messages", "conversations")
_PREFERENCE: Final = ("chosen", "rejected")
_SYSTEM: Final = ("system", "system_prompt", "systeminstruction", "system_instruction")
_ASKED: Final = ("prompt", "question", "query")
"""Columns with the question that a preference answers. An instruction with its input is one, too."""
_INPUT: Final = ("input", "context")
_OUTPUT: Final = ("output", "response")
_FIRST: Final = (*_SYSTEM, "tools", "history")
_SPEAKERS: Final = {
    "system": "System", "developer": "System",
    "user": "User", "human": "User",
    "assistant": "Assistant", "gpt": "Assistant", "model": "Assistant", "bot": "Assistant",
    "function_call": "Assistant",
    "tool": "Tool", "function": "Tool", "observation": "Tool", "function_response": "Tool", "tool_response": "Tool",
}  # fmt: skip
_PAIR: Final = {**_SPEAKERS, "input": "User", "output": "Assistant", "question": "User", "answer": "Assistant"}
"""Key of a pair -> the speaker of its value."""
_Turn = tuple[str, str]


def is_chat(names: Collection[str], column: str | None = None) -> bool:
    """Whether a row with these columns has one of the formats above. `column`: see `as_prompt_and_completion`."""
    if column and column in names:
        return True
    names = set(map(_plain, names))
    return (
        any(name in names for name in _TURNS)
        or _question_of(names) is not None
        or all(name in names for name in _PREFERENCE)
        or (all(name in names for name in COLUMNS) and any(name in names for name in _FIRST))
    )


def _plain(name: str) -> str:
    """Returns the name of a column without case and white space at its ends."""
    return name.strip().lower()


def _question_of(names: Collection[str]) -> str | None:
    """Returns the column with the instructions, or with the questions next to system texts; None without answers."""
    if not any(name in names for name in _OUTPUT):
        return None
    if "instruction" in names:
        return "instruction"
    if {"question", "system_prompt"} <= {*names}:
        return "question"
    return "query" if "query" in names and any(name in names for name in _FIRST) else None


def columns_read(names: Collection[str], column: str | None = None) -> set[str]:
    """Returns the columns among `names` that become the prompt and the completion of a chat."""
    title_of = {_plain(name): name for name in names}
    names, column = set(title_of), column and _plain(column)
    if column or any(name in names for name in _TURNS):
        own: tuple[str, ...] = (column,) if column else (*_TURNS, *_instructed(names))
        own = (*own, _PREFERENCE[0]) if all(name in names for name in _PREFERENCE) else own
    elif all(name in names for name in _PREFERENCE):
        asked = next((name for name in _ASKED if name in names), "instruction")
        own = (*((asked,) if asked != "instruction" else ("instruction", *_INPUT)), _PREFERENCE[0])
    else:
        own = _instructed(names) or COLUMNS
    return {title_of[name] for name in (*own, *_FIRST) if name in names}


def _instructed(names: Collection[str]) -> tuple[str, ...]:
    """Returns the columns of an instruction, its input and its answer; none in other formats."""
    question = _question_of(names)
    return (question, *_INPUT, *_OUTPUT) if question else ()


def columns_before(names: Collection[str]) -> set[str]:
    """Returns the columns that hold what comes before a conversation: system texts, tools, earlier turns."""
    return {name for name in names if _plain(name) in _FIRST}


def columns_asked(names: Collection[str], text: str) -> set[str]:
    """Returns the columns that become the prompt of an instruction; none if `text` is not the instruction."""
    title_of = {_plain(name): name for name in names}
    if any(name in title_of for name in (*_TURNS, *_PREFERENCE)) or _question_of(set(title_of)) != _plain(text):
        return set()
    return {title_of[name] for name in (_plain(text), *_INPUT, *_FIRST) if name in title_of}


def is_conversation(cell: Cell, least: int = 2) -> bool:
    """Whether a cell holds at least `least` turns, each with its speaker."""
    value = [value_in(item) for item in cell] if isinstance(cell, tuple) else value_in(cell or "")
    if isinstance(cell, str) and value is None:
        return bool(rendered_turns(cell))
    try:
        return isinstance(value, list) and isinstance(value[0], dict) and len(_turns(value)) >= least
    except (ValueError, IndexError):
        return False


def as_prompt_and_completion(row: Mapping[str, Any], column: str | None = None) -> dict[str, str] | None:
    """Returns the row's `prompt` and `completion`; only the prompt if no assistant speaks; None for another format.

    Args:
        row: the values of the row.
        column: the one with the conversation; by default `messages` or `conversations`.

    Raises:
        ValueError: the row has the keys of a format but not its values. The message holds none of them.
    """
    row, column = {_plain(name): value for name, value in row.items()}, column and _plain(column)
    own = (column,) if column else _TURNS
    filled: Any = next((row[name] for name in own if not _is_nothing(row.get(name))), [])
    if filled or column or (any(name in row for name in _TURNS) and not _question_of(row)):
        turns = _turns(filled)
        is_open = bool(turns) and turns[-1][0] != "Assistant" and all(name in row for name in _PREFERENCE)
        return _conversation([*_before(row), *turns, *(_answer(row["chosen"]) if is_open else [])])
    if all(name in row for name in _PREFERENCE):
        chosen = _answer(row["chosen"])
        is_whole = any(speaker == "User" for speaker, _ in chosen)
        name = next((name for name in _ASKED if name in row), None)
        asked = _asked(row[name]) if name else [("User", _instruction(row, "instruction"))]
        return _conversation([*_before(row), *([] if is_whole else asked), *chosen])
    if isinstance(row.get("prompt"), list) or (
        all(name in row for name in COLUMNS) and any(name in row for name in _FIRST)
    ):
        return _conversation([*_before(row), *_asked(row["prompt"]), *_answer(row.get("completion"))])
    if question := _question_of(row):
        answer = next((row[name] for name in _OUTPUT if name in row), None)
        return _conversation([*_before(row), ("User", _instruction(row, question)), ("Assistant", _text(answer))])
    return None


def as_text(row: Mapping[str, Any], column: str) -> str:
    """Returns the whole conversation of a column, after what the columns next to it hold, with a line for each turn.

    Raises:
        ValueError: the column has no conversation. The message holds none of it.
    """
    if _is_nothing(row[column]):
        return ""
    plain = {_plain(name): value for name, value in row.items() if name != column}
    try:
        turns = _turns(row[column])
    except ValueError as error:
        raise ValueError(f"column {column}: {error}") from None
    return _said([*_before(plain), *turns])


def ends_with_a_reply(cell: Cell) -> bool:
    """Whether the last turn of a conversation is the assistant's."""
    value = [value_in(item) for item in cell] if isinstance(cell, tuple) else cell
    try:
        return _turns(value)[-1][0] == "Assistant"
    except (ValueError, IndexError):
        return False


def columns_of_turns(names: Collection[str]) -> list[str]:
    """Returns the columns whose names say that they hold conversations."""
    return [name for name in names if _plain(name) in _TURNS]


def _instruction(row: Mapping[str, Any], question: str) -> str:
    """Returns an instruction or a question, with its input if there is one."""
    given = next((row[name] for name in _INPUT if row.get(name)), None)
    return "\n\n".join(part for part in (_text(row.get(question)), _text(given)) if part.strip())


def _asked(value: Any) -> list[_Turn]:
    """Returns the turns of a prompt, which is a text or a list of turns."""
    is_list = isinstance(value, list) or isinstance(value_in(_text(value)), list)
    return _turns(value) if is_list else [("User", _text(value))]


def _answer(value: Any) -> list[_Turn]:
    """Returns the turns of an answer, which is a text, a conversation as text, a turn, or a list of turns."""
    if isinstance(value, dict):
        return _turns([value])
    if isinstance(value, list) or isinstance(value_in(_text(value)), list):
        return _turns(value)
    return rendered_turns(_text(value)) or [("Assistant", _text(value))]


def _conversation(turns: list[_Turn]) -> dict[str, str]:
    """Returns the prompt and completion of (speaker, text) turns."""
    last = max((i for i, (speaker, _) in enumerate(turns) if speaker == "Assistant"), default=None)
    return {"prompt": _said(turns[:last]), **({} if last is None else {"completion": turns[last][1]})}


def _said(turns: list[_Turn]) -> str:
    """Returns turns as one text: that of a single user turn, otherwise a line for each with its speaker."""
    is_one = len(turns) == 1 and turns[0][0] == "User"
    return turns[0][1] if is_one else "\n".join(f"{speaker}: {text}" for speaker, text in turns)


def _before(row: Mapping[str, Any]) -> list[_Turn]:
    """Returns the turns that the columns next to a conversation hold: system text, tools, earlier turns."""
    turns = []
    row = {name: None if _is_nothing(row.get(name)) else row.get(name) for name in _FIRST}
    for name in _SYSTEM:
        try:
            system = "\n".join(_system_texts(row[name]))
        except ValueError as error:
            raise ValueError(f"column {name}: {error}") from None
        if system.strip():
            turns.append(("System", system))
    if tools := row.get("tools"):
        text = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False, sort_keys=True)
        turns.append(("System", f"Tools: {text}"))
    try:
        return [*turns, *_history(row.get("history") or [])]
    except ValueError as error:
        raise ValueError(f"column history: {error}") from None


def _system_texts(value: Any) -> list[str]:
    """Returns the texts of a system column: a text, parts, a turn or several."""
    if isinstance(value, dict) and "parts" in value:
        return [_text(value["parts"])]
    if isinstance(value, str):
        inner = value_in(value)
        value = inner if isinstance(inner, dict | list) and _are_turns(inner) else value
    return (
        [text for _, text in _turns(value if isinstance(value, list) else [value])]
        if _are_turns(value)
        else [_text(value)]
    )


def _are_turns(value: Any) -> bool:
    """Whether a value is a turn or a list of turns, each with its speaker."""
    turns = value if isinstance(value, list) else [value]
    return bool(turns) and all(isinstance(turn, dict) and ("role" in turn or "from" in turn) for turn in turns)


def _history(value: Any) -> list[_Turn]:
    """Returns the turns of a history: pairs of a question and its answer, turns, or texts that alternate."""
    earlier = _list(value, "it")
    if earlier and all(isinstance(one, str) for one in earlier):
        return [("Assistant" if place % 2 else "User", text) for place, text in enumerate(earlier)]
    turns: list[_Turn] = []
    for one in earlier:
        if isinstance(one, list) and len(one) == 2:
            turns += [("User", _text(one[0])), ("Assistant", _text(one[1]))]
        else:
            turns += _turns([one])
    return turns


def _is_nothing(value: Any) -> bool:
    """Whether a value is none, an empty list, or how programs write that there is none."""
    return not value or (isinstance(value, str) and value.strip().casefold() in ("", "null", "none", "nan", "[]"))


def _list(value: Any, what: str) -> list[Any]:
    """Returns a list, or the list that a text contains; raises ValueError for anything else."""
    if isinstance(value, str) and (value := value_in(value)) is None:
        raise ValueError(f"{what} is a text that is not JSON, wanted a list of turns")
    if not isinstance(value, list):
        raise ValueError(f"{what} is not a list of turns: {type(value).__name__}")
    return value


def _turns(value: Any) -> list[_Turn]:
    """Returns the (speaker, text) turns of a conversation; raises ValueError if it is not one."""
    if isinstance(value, str) and (rendered := rendered_turns(value)):
        return rendered
    turns = []
    given = list(_list(value, "a conversation"))
    while given and isinstance(given[-1], dict) and given[-1].get("weight") == 0:
        given.pop()
    if given and all(isinstance(turn, str) for turn in given) and len(given) > 1:
        return [("Assistant" if place % 2 else "User", text) for place, text in enumerate(given)]
    for turn in given:
        if not isinstance(turn, dict):
            raise ValueError(f"a turn is a {type(turn).__name__}, wanted an object")
        role = turn.get("role", turn.get("from"))
        pair = {key: said for key, said in turn.items() if key.lower() in _PAIR} if role is None else {}
        if pair:
            turns += [(_PAIR[key.lower()], text) for key, said in pair.items() if (text := _text(said)).strip()]
            continue
        if not isinstance(role, str) or role.lower() not in _SPEAKERS:
            raise ValueError(f"a turn's speaker is none of {', '.join(_SPEAKERS)}")
        text = _text(turn.get("content", turn.get("value", turn.get("parts"))))
        if turn.get("tool_calls"):
            calls = json.dumps(turn["tool_calls"], ensure_ascii=False, sort_keys=True)
            text = f"{text}\n{calls}" if text else calls
        turns.append((_SPEAKERS[role.lower()], text))
    return turns


def _text(value: Any) -> str:
    """Returns a message's content as text; the parts of a list are joined, and calls of tools are JSON.

    Raises:
        ValueError: it is not text, or it has a part of another medium.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return json.dumps(value)
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):
        return "".join(map(_part, value))
    raise ValueError(f"a content is a {type(value).__name__} without text")


def _part(part: Mapping[str, Any]) -> str:
    """Returns a part of a content as text."""
    if isinstance(part.get("text"), str):
        return str(part["text"])
    kind = str(part.get("type", ""))
    if not kind.startswith(("tool", "function")):
        raise ValueError(f"a content has a part of type {kind[:20] or 'unknown'}, wanted text")
    return json.dumps(part, ensure_ascii=False, sort_keys=True)
