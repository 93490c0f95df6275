"""Reads the text that a chat template writes for a conversation.

The templates: ChatML, those of Llama 2 and 3, Gemma, Zephyr and Phi, and the headings of Alpaca (`### Instruction:`),
Guanaco (`### Human:`) and HH-RLHF (`Human:` after an empty line).
https://huggingface.co/docs/transformers/chat_templating, https://github.com/tatsu-lab/stanford_alpaca,
https://huggingface.co/datasets/timdettmers/openassistant-guanaco, https://huggingface.co/datasets/Anthropic/hh-rlhf
"""

import re
from typing import Final

_SPEAKERS: Final = {
    "system": "System", "developer": "System", "<<sys>>": "System",
    "user": "User", "human": "User", "instruction": "User", "input": "User", "[inst]": "User", "<</sys>>": "User",
    "assistant": "Assistant", "model": "Assistant", "response": "Assistant", "[/inst]": "Assistant",
    "tool": "Tool", "ipython": "Tool", "function": "Tool",
}  # fmt: skip
_NAMES: Final = "|".join(name for name in _SPEAKERS if name.isalpha())
_OPENING: Final = re.compile(
    rf"<\|im_start\|>\s*({_NAMES})\n"
    rf"|<\|start_header_id\|>\s*({_NAMES})\s*<\|end_header_id\|>"
    rf"|<start_of_turn>\s*({_NAMES})\n"
    r"|<\|(system|user|assistant)\|>"
    rf"|(?:\A|(?<=\n)|(?<=[\s.!?]))### ?({_NAMES}):"
    r"|(?:\A\s*|\n\n)(Human|Assistant):(?=\s|\Z)"
    r"|(\[/?INST\]|<</?SYS>>)",
    re.IGNORECASE,
)
"""What begins a turn; one of its groups is the speaker."""
_MARKER: Final = re.compile(
    r"<\|im_end\|>|<\|eot_id\|>|<end_of_turn>|<\|end\|>|<\|endoftext\|>|<\|end_of_text\|>|<\|begin_of_text\|>|<bos>"
    r"|<eos>|</?s>"
)
"""Marks of the beginning or the end of a turn or a text."""


def rendered_turns(text: str) -> list[tuple[str, str]]:
    """Returns the (speaker, text) turns of a conversation in one text; none for any other text.

    Turns without text are left out, and neighbouring turns of one speaker are one.
    """
    openings = list(_OPENING.finditer(text))
    if len(openings) < 2:
        return []
    turns = [("System", text[: openings[0].start()])]
    for place, opening in enumerate(openings):
        end = openings[place + 1].start() if place + 1 < len(openings) else len(text)
        speaker = next(group for group in opening.groups() if group)
        turns.append((_SPEAKERS[speaker.lower()], text[opening.end() : end]))
    merged: list[tuple[str, str]] = []
    for speaker, said in turns:
        plain = _MARKER.sub("", said).strip()
        if plain and merged and merged[-1][0] == speaker:
            merged[-1] = (speaker, f"{merged[-1][1]}\n\n{plain}")
        elif plain:
            merged.append((speaker, plain))
    speakers = [speaker for speaker, _ in merged]
    is_answered = "User" in speakers and "Assistant" in speakers[speakers.index("User") :]
    return merged if is_answered else []
