"""The answers that a form allows: as a regular expression, and the end that closes a begun answer.

An answer of a closed form is a sequence of parts, and they are written exactly as `prompts.object_text` and
`prompts.list_text` write them: one line, keys in their order, the escapes of `json.dumps`. Such answers are a regular
language, so one expression describes them. Its syntax is shared by Python's `re` and Rust's `regex`.
JSON strings: RFC 8259, section 7. UTF-8: RFC 3629, section 4.
"""

import codecs
import json
import re
from dataclasses import dataclass
from typing import Final

from rungwise.core.records import AnswerForm

_ESCAPES: Final = r'\\["\\bfnrt]|\\u00(?:0[0-7bef]|1[0-9a-f])'
"""The escapes that `json.dumps(..., ensure_ascii=False)` writes: it has short forms for \\b \\t \\n \\f \\r."""
_STRING: Final = rf'"(?:[^"\\\x00-\x1f]|{_ESCAPES})*"'
_STRING_BYTES: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_ITEMS_BYTES: Final = re.compile(rb'\[(?:"(?:[^"\\]|\\.)*"(?:, "(?:[^"\\]|\\.)*")*)?\]')


@dataclass(frozen=True)
class Fixed:
    """A part with one text."""

    text: str

    @property
    def regex(self) -> str:
        """The part as a regular expression."""
        return _literal(self.text)

    @property
    def longest_closing(self) -> int:
        """Upper bound of the bytes that `closing` returns."""
        return len(self.text.encode())

    def end(self, begun: bytes) -> int | None:
        """Returns where the part ends in `begun`; None if it does not end there."""
        return len(self.text.encode()) if begun.startswith(self.text.encode()) else None

    def closing(self, begun: bytes) -> bytes:
        """Returns the bytes that complete the part after `begun`."""
        return self.text.encode()[len(begun) :]


@dataclass(frozen=True)
class Choice:
    """A JSON string out of a closed set."""

    options: tuple[str, ...]
    """The strings' values, in any order."""

    @property
    def _written(self) -> list[bytes]:
        return sorted((_json(option).encode() for option in self.options), key=lambda text: (len(text), text))

    @property
    def regex(self) -> str:
        """The part as a regular expression."""
        return "(?:" + "|".join(_literal(_json(option)) for option in sorted(self.options)) + ")"

    @property
    def longest_closing(self) -> int:
        """Upper bound of the bytes that `closing` returns."""
        return len(self._written[-1])

    def end(self, begun: bytes) -> int | None:
        """Returns where the part ends in `begun`; None if it does not end there. The quotes make the end unique."""
        return next((len(text) for text in self._written if begun.startswith(text)), None)

    def closing(self, begun: bytes) -> bytes:
        """Returns the end of the shortest option that starts with `begun`."""
        return next(text for text in self._written if text.startswith(begun))[len(begun) :]


@dataclass(frozen=True)
class AnyString:
    """Any JSON string."""

    @property
    def regex(self) -> str:
        """The part as a regular expression."""
        return _STRING

    @property
    def longest_closing(self) -> int:
        """Upper bound of the bytes that `closing` returns: four digits of an escape and the quote."""
        return 5

    def end(self, begun: bytes) -> int | None:
        """Returns where the part ends in `begun`; None if it does not end there."""
        match = _STRING_BYTES.match(begun)
        return match.end() if match else None

    def closing(self, begun: bytes) -> bytes:
        """Returns the bytes that complete an unfinished character or escape, and the closing quote."""
        return (_unfinished(begun) if begun else b'"') + b'"'


@dataclass(frozen=True)
class Items:
    """A JSON list of strings."""

    item: Choice | AnyString

    @property
    def regex(self) -> str:
        """The part as a regular expression."""
        return rf"\[(?:{self.item.regex}(?:, {self.item.regex})*)?\]"

    @property
    def longest_closing(self) -> int:
        """Upper bound of the bytes that `closing` returns: a space, an item and the bracket."""
        return self.item.longest_closing + 2

    def end(self, begun: bytes) -> int | None:
        """Returns where the part ends in `begun`; None if it does not end there."""
        match = _ITEMS_BYTES.match(begun)
        return match.end() if match else None

    def closing(self, begun: bytes) -> bytes:
        """Returns the bytes that complete a begun item, and the closing bracket."""
        if len(begun) < 2:
            return b"[]"[len(begun) :]
        at = 1
        while True:
            end = self.item.end(begun[at:])
            if end is None:  # in an item, or just before one
                return self.item.closing(begun[at:]) + b"]"
            at += end
            if at == len(begun):
                return b"]"
            if not begun[at:].startswith(b", "):  # a comma alone
                return b" " + self.item.closing(b"") + b"]"
            at += 2


@dataclass(frozen=True)
class PlainItems:
    """Items out of a closed set on one line, with a separator and a space between them; possibly none."""

    options: tuple[str, ...]
    separator: str

    @property
    def regex(self) -> str:
        """The part as a regular expression."""
        item = "(?:" + "|".join(_literal(option) for option in sorted(self.options)) + ")"
        return f"(?:{item}(?:{_literal(self.separator + ' ')}{item})*)?"

    @property
    def longest_closing(self) -> int:
        """Upper bound of the bytes that `closing` returns: a separator and an item."""
        return max(len(option.encode()) for option in self.options) + len(self.separator.encode()) + 1

    def end(self, begun: bytes) -> int | None:
        """Returns None: only the end of the whole answer ends the list."""
        return None

    def closing(self, begun: bytes) -> bytes:
        """Returns the shortest bytes that complete a begun item, or a begun separator with an item."""
        if not begun:
            return b""
        texts = sorted((option.encode() for option in self.options), key=lambda text: (len(text), text))
        between = f"{self.separator} ".encode()
        last = begun.split(between)[-1]
        for n in range(len(between)):  # `n` bytes of a separator follow an item
            if last.endswith(between[:n]) and last[: len(last) - n] in texts:
                return between[n:] + texts[0] if n else b""
        return next(text for text in texts if text.startswith(last))[len(last) :]


Part = Fixed | Choice | AnyString | Items | PlainItems


@dataclass(frozen=True)
class Grammar:
    """All answers of a closed form."""

    parts: tuple[Part, ...]

    @property
    def regex(self) -> str:
        """The whole answer as one regular expression."""
        return "".join(part.regex for part in self.parts)

    @property
    def longest_closing(self) -> int:
        """Upper bound of the bytes that `closing` returns, whatever is written."""
        longest = later = 0
        for part in reversed(self.parts):
            longest = max(longest, part.longest_closing + later)
            later += len(part.closing(b""))
        return longest

    def closing(self, begun: bytes) -> bytes:
        """Returns the bytes after which the begun answer is complete: the fewest, with each later part at its shortest.

        Args:
            begun: the first bytes of an answer that the grammar allows; it may end inside a character.
        """
        for number, part in enumerate(self.parts):
            end = part.end(begun)
            if end is None:
                return part.closing(begun) + b"".join(later.closing(b"") for later in self.parts[number + 1 :])
            begun = begun[end:]
        return b""


def is_closed(form: AnswerForm) -> bool:
    """Whether the form says what may be written: an object, or a list whose items are named."""
    return form.format == "json" or (form.format == "list" and bool(form.labels))


def grammar_of(form: AnswerForm) -> Grammar:
    """Returns the grammar of a closed form (see `is_closed`)."""
    if form.format == "list":
        return Grammar((PlainItems(form.labels, form.separator),))
    parts: list[Part] = []
    for number, name in enumerate(form.keys or form.fields):
        parts += [Fixed(("{" if number == 0 else ", ") + _json(name) + ": "), _value(form.fields[name])]
    return Grammar((*parts, Fixed("}")))


def _value(form: AnswerForm) -> Part:
    item = Choice(form.labels) if form.labels else AnyString()
    return Items(item) if form.format == "list" else item


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _literal(text: str) -> str:
    """Returns the text as a regular expression; Python and Rust read these escapes alike."""
    return "".join(c if c.isascii() and c.isalnum() else f"\\U{ord(c):08x}" for c in text)


def _unfinished(begun: bytes) -> bytes:
    """Returns the bytes that complete the escape or the character at the end of a begun JSON string."""
    escape = re.search(rb"(?:^|[^\\])(?:\\\\)*\\(u[0-9a-f]{0,3})?\Z", begun)
    if escape:
        digits = (escape[1] or b"")[1:]
        if not escape[1]:
            return b"n"
        return (b"0010" if b"0010".startswith(digits) else b"0001")[len(digits) :]
    decoder = codecs.getincrementaldecoder("utf-8")()
    decoder.decode(begun)
    pending, missing = decoder.getstate()[0], b""
    while pending:  # the smallest continuation byte that is allowed after these bytes
        missing += {b"\xe0": b"\xa0", b"\xf0": b"\x90"}.get(pending, b"\x80")
        decoder.decode(missing[-1:])
        pending = decoder.getstate()[0]
    return missing
