"""Values as they stand in params.yaml."""

import json
from typing import Any


def setting_text(value: Any) -> str:
    """Returns a text, or a list or an object of texts, as YAML on one line.

    Characters that YAML forbids or that nobody sees, such as those that turn the direction of writing, are escaped.
    """
    return "".join(map(_shown, json.dumps(value, ensure_ascii=False)))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
