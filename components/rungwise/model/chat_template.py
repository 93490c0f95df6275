"""What a base's chat template makes of a conversation, within limits of time and memory.

A template is rendered for a few made-up messages when a base is loaded, never for each row, so that a process of its
own (`model.render`) costs little. Its text is what is used: nothing runs in this process that was only tried in
another.
"""

import functools
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rungwise.core.errors import ModelError, Problem

SECONDS: Final = 5
"""Processor time of a template; a usual one takes a thousandth."""
BYTES: Final = 512 * 2**20
"""Memory of the process that renders a template; it takes 40 MB."""
_DEADLINE_SECONDS: Final = 120.0
"""Longest wait for that process, on a machine with other work."""
_HAS_ADDRESS_LIMIT: Final = sys.platform == "linux"
"""Whether the system holds a process to its limit of memory. macOS does not, so that this process looks after it."""
_LOOK_SECONDS: Final = 0.02
_REASONING: Final = re.compile(
    r"(?P<left><\||<|\[|◁)(?P<begin>(?:start|begin)(?:_of)?_)?(?P<name>(?:\w+:)?(?:think|thought|reason)\w*)"
    r"(?P<right>\|>|>|\]|▷)",
    re.IGNORECASE,
)
"""The beginning of a reasoning block, as bases write it: `<think>` (DeepSeek, Qwen), `<seed:think>` (Seed-OSS),
`[THINK]` (Magistral), `<|START_THINKING|>` (Command A), `<|begin_of_thought|>` (Sky-T1), `◁think▷` (Kimi)."""
_ENDS: Final = {"start": "end", "begin": "end", "START": "END", "BEGIN": "END", "Start": "End", "Begin": "End"}
_PAIRS: Final = {"<|": "|>", "<": ">", "[": "]", "◁": "▷"}


@dataclass(frozen=True)
class Rendered:
    """A conversation in the form of a chat template."""

    text: str
    """With a reasoning block that the template opens before the answer closed."""
    fault: str = ""
    """Why there is no text, on one line: the template refuses the conversation, or has an error."""
    reasoning: str = ""
    """The opening marker of a reasoning block before the answer, such as `<think>`; the block is empty. No text: there
    is none."""


def render(tokenizer: Any, turns: Sequence[Mapping[str, str]], *, opens: bool, where: str) -> Rendered:
    """Returns a conversation as the tokenizer's chat template writes it, without reasoning before an answer.

    Answers are short and follow at once: a template is asked not to open a reasoning block (`enable_thinking`, as in
    the cards of Qwen3 and SmolLM3), and one that it opens all the same is closed.

    Args:
        tokenizer: a transformers tokenizer with a chat template.
        turns: the messages, each with `role` and `content`.
        opens: whether the assistant's next turn is opened at the end.
        where: names the base in messages.

    Raises:
        ModelError: the template exceeds its limits.
    """
    from transformers import PreTrainedTokenizerBase

    if type(tokenizer).apply_chat_template is not PreTrainedTokenizerBase.apply_chat_template:
        # code of transformers or code that was allowed, and no template
        return _closed(_own(tokenizer, turns, opens), turns, opens)
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:  # several templates, and none is the default
        return Rendered("", " ".join(str(error).split())[:200])
    messages = [dict(turn) for turn in turns]
    variables = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": opens}
    variables |= {"enable_thinking": False, "thinking": False}
    job = {"template": template, "variables": {**tokenizer.special_tokens_map, **variables}}
    result = _outcome(json.dumps(job, default=str), SECONDS, BYTES)
    if limit := result.get("limit"):
        raise ModelError(
            Problem(
                "a chat template exceeds its limits",
                where=where,
                found=limit,
                wanted=f"at most {SECONDS} s of processor time and {BYTES // 2**20} MB of memory",
                do="set the rung's `template: plain`, or choose another base",
            )
        )
    return _closed(Rendered(result.get("text", ""), result.get("fault", "")), turns, opens)


def _closed(rendered: Rendered, turns: Sequence[Mapping[str, str]], opens: bool) -> Rendered:
    """Returns the text with the reasoning block at its end closed, if the assistant's turn is opened in it.

    What stands before the end of the last turn, such as instructions about markers, is left alone.
    """
    if not opens:
        return rendered
    content = turns[-1]["content"].strip()
    _, _, behind = rendered.text.rpartition(content) if content else ("", "", rendered.text)
    start = len(rendered.text) - len(behind)
    opened = [m for m in _REASONING.finditer(rendered.text, start) if _PAIRS[m["left"]] == m["right"]]
    if not opened:
        return rendered
    marker, closing = opened[-1][0], _closing(opened[-1])
    inside = rendered.text[opened[-1].end() :]
    if closing in inside:
        is_last = not inside.partition(closing)[2].strip()  # otherwise it belongs to an earlier turn
        return Rendered(rendered.text, rendered.fault, marker if is_last else "")
    if opened[-1]["left"] == "<":  # as the templates of DeepSeek and Qwen write an empty block
        return Rendered(f"{rendered.text.rstrip()}\n\n{closing}\n\n", rendered.fault, marker)
    space = inside[len(inside.rstrip()) :]  # tokens of their own: the answer follows at once unless the template breaks
    return Rendered(f"{rendered.text}{closing}{space}", rendered.fault, marker)


def _closing(opened: re.Match[str]) -> str:
    """Returns the marker that ends a reasoning block: `[/THINK]`, `<|END_THINKING|>`, `<|end_of_thought|>`."""
    left, begin, name, right = opened["left"], opened["begin"] or "", opened["name"], opened["right"]
    if not begin:
        return f"{left}/{name}{right}"
    word, underscore, rest = begin.partition("_")
    return f"{left}{_ENDS.get(word, 'end')}{underscore}{rest}{name}{right}"


def _own(tokenizer: Any, turns: Sequence[Mapping[str, str]], opens: bool) -> Rendered:
    try:
        return Rendered(str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=opens)))
    except Exception as error:  # it may raise anything
        return Rendered("", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


@functools.lru_cache(maxsize=64)
def _outcome(job: str, seconds: int, n_bytes: int) -> Mapping[str, str]:
    """Returns what `render.outcome` does, from a process with limits; `limit` says what the template exceeds."""
    limits = {"seconds": seconds, "bytes": n_bytes if _HAS_ADDRESS_LIMIT else 0}
    command = [sys.executable, "-P", "-m", "rungwise.model.render"]
    pipe = subprocess.PIPE
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:  # a pipe takes 64 KB before the process reads
        json.dump({**json.loads(job), **limits}, file)
        file.seek(0)
        process = subprocess.Popen(command, stdin=file, stdout=pipe, stderr=pipe, text=True, encoding="utf-8")
    with process:
        try:
            deadline = time.monotonic() + _DEADLINE_SECONDS
            while True:
                try:
                    written, errors = process.communicate(timeout=_LOOK_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    pass
                if time.monotonic() > deadline:
                    return {"limit": f"more than {_DEADLINE_SECONDS:.0f} s"}
                if not _HAS_ADDRESS_LIMIT and _resident_bytes(process.pid) > n_bytes:
                    return _too_large(n_bytes)
        finally:
            process.kill()
    if process.returncode == 0:
        result: Mapping[str, str] = json.loads(written)
        if re.search("[\ud800-\udfff]", result.get("text", "")):
            return {"fault": "the text has half of a surrogate pair, which is not a character"}
        return _too_large(n_bytes) if "limit" in result else result
    if process.returncode < 0:  # a signal: the limit of time, or a stack or memory that the template used up
        return {"limit": f"more than {seconds} s of processor time, or a crash (signal {-process.returncode})"}
    return {"fault": " ".join((errors.strip().splitlines() or ["no message"])[-1].split())[:200]}


def _too_large(n_bytes: int) -> Mapping[str, str]:
    return {"limit": f"more than {n_bytes // 2**20} MB of memory, or a text of more than a million characters"}


def _resident_bytes(pid: int) -> int:
    """Returns the memory of a process; 0 if it has ended."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
