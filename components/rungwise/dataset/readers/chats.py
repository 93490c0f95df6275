"""Reads the common chat and instruction formats as two columns: `prompt` and `completion`.

- `prompt` and `completion` as lists of messages, `messages` (`role`, `content`, `tool_calls`), and ShareGPT's
  `conversations` (`from`, `value`): the assistant's last turn is the completion, everything before it the prompt.
- `instruction`, `input`, `output`: instruction and input are the prompt.
- `system`, `tools` and `history` next to them are the prompt's first turns.
- `prompt` and `completion` as texts need no conversion.

A prompt of one user turn is the text of that turn. A prompt of several turns has the speaker's name before each. A
list may also stand as JSON in a text, as in a CSV cell.

The formats: https://huggingface.co/docs/trl/dataset_formats, https://github.com/tatsu-lab/stanford_alpaca,
https://llamafactory.readthedocs.io/en/latest/getting_started/data_preparation.html.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

COLUMNS: Final = ("prompt", "completion")
_TURNS: Final = ("messages", "conversations")
_FIRST: Final = ("system", "tools", "history")
_SPEAKERS: Final = {
    "system": "System", "developer": "System",
    "user": "User", "human": "User",
    "assistant": "Assistant", "gpt": "Assistant", "model": "Assistant", "bot": "Assistant",
    "function_call": "Assistant",
    "tool": "Tool", "function": "Tool", "observation": "Tool", "function_response": "Tool", "tool_response": "Tool",
}  # fmt: skip
_Turn = tuple[str, str]


def is_chat(names: Collection[str]) -> bool:
    """Whether a row with these columns has one of the formats above."""
    return any(name in names for name in _TURNS) or ("instruction" in names and "output" in names)


def columns_read(names: Collection[str]) -> set[str]:
    """Returns the columns among `names` that become the prompt and the completion of a chat."""
    if any(name in names for name in _TURNS):
        return {name for name in (*_TURNS, *_FIRST) if name in names}
    return {name for name in ("instruction", "input", "output", *_FIRST) if name in names}


def as_prompt_and_completion(row: Mapping[str, Any]) -> dict[str, str] | None:
    """Returns the row's `prompt` and `completion`; only the prompt if no assistant speaks; None for another format.

    Raises:
        ValueError: the row has the keys of a format but not its values. The message holds none of them.
    """
    if any(name in row for name in _TURNS):
        filled: Any = next((row[name] for name in _TURNS if row.get(name)), [])
        return _conversation([*_before(row), *_turns(filled)])
    if isinstance(row.get("prompt"), list):
        turns = [*_before(row), *_turns(row["prompt"])]
        answer = row.get("completion")
        return _conversation(
            [*turns, *(_turns(answer) if isinstance(answer, list) else [("Assistant", _text(answer))])]
        )
    if "instruction" in row and "output" in row:
        parts = [_text(row["instruction"]), _text(row.get("input"))]
        asked = "\n\n".join(p for p in parts if p.strip())
        return _conversation([*_before(row), ("User", asked), ("Assistant", _text(row["output"]))])
    return None


def _conversation(turns: list[_Turn]) -> dict[str, str]:
    """Returns the prompt and completion of (speaker, text) turns."""
    last = max((i for i, (speaker, _) in enumerate(turns) if speaker == "Assistant"), default=None)
    before = turns if last is None else turns[:last]
    prompt = before[0][1] if len(before) == 1 and before[0][0] == "User" else "\n".join(f"{s}: {t}" for s, t in before)
    return {"prompt": prompt, **({} if last is None else {"completion": turns[last][1]})}


def _before(row: Mapping[str, Any]) -> list[_Turn]:
    """Returns the turns that the columns next to a conversation hold: system text, tools, earlier turns."""
    turns = []
    row = {name: None if _is_nothing(row.get(name)) else row.get(name) for name in _FIRST}
    if (system := _text(row.get("system"))).strip():
        turns.append(("System", system))
    if tools := row.get("tools"):
        text = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False, sort_keys=True)
        turns.append(("System", f"Tools: {text}"))
    for earlier in _list(row.get("history") or [], "a history"):
        if isinstance(earlier, list) and len(earlier) == 2:
            turns += [("User", _text(earlier[0])), ("Assistant", _text(earlier[1]))]
        else:
            turns += _turns([earlier])
    return turns


def _is_nothing(value: Any) -> bool:
    """Whether a value is how programs write that there is none."""
    return isinstance(value, str) and value.strip().casefold() in ("", "null", "none", "nan")


def _list(value: Any, what: str) -> list[Any]:
    """Returns a list, also if it stands as JSON in a text; raises ValueError for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(f"{what} is a text that is not JSON, wanted a list of turns") from None
    if not isinstance(value, list):
        raise ValueError(f"{what} is a {type(value).__name__}, wanted a list of turns")
    return value


def _turns(value: Any) -> list[_Turn]:
    """Returns the (speaker, text) turns of a list of messages; raises ValueError if it is not one."""
    turns = []
    for turn in _list(value, "a conversation"):
        if not isinstance(turn, dict):
            raise ValueError(f"a turn is a {type(turn).__name__}, wanted an object")
        role = turn.get("role", turn.get("from"))
        if not isinstance(role, str) or role.lower() not in _SPEAKERS:
            raise ValueError(f"a turn's speaker is none of {', '.join(_SPEAKERS)}")
        text = _text(turn.get("content", turn.get("value")))
        if turn.get("tool_calls"):
            calls = json.dumps(turn["tool_calls"], ensure_ascii=False, sort_keys=True)
            text = f"{text}\n{calls}" if text else calls
        turns.append((_SPEAKERS[role.lower()], text))
    return turns


def _text(value: Any) -> str:
    """Returns a message's content as text; a list of text parts is joined."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return json.dumps(value)
    if isinstance(value, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in value):
        return "".join(part["text"] for part in value)
    raise ValueError(f"a content is a {type(value).__name__} without text")
