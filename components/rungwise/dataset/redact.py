"""Replaces e-mail addresses, phone numbers and card numbers by typed placeholders.

Reads and returns a text. Phone numbers are found with phonenumbers
(https://github.com/daviddrysdale/python-phonenumbers), a port of Google's table of the world's numbering plans; card
numbers by their check digit (Luhn, ISO/IEC 7812-1).
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

PLACEHOLDERS: Final = {"email": "[EMAIL]", "phone": "[PHONE]", "card": "[CARD]"}
# every repetition is bounded, so the time is linear in the length of the text
_EMAIL: Final = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_CARD: Final = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_DIGIT: Final = re.compile(r"\d\D{0,3}\d\D{0,3}\d\D{0,3}\d")


def redactor(kinds: Sequence[str], region: str | None) -> Callable[[str], str]:
    """Returns a function that replaces the named kinds (`email`, `card`, `phone`) in a text.

    `region`: the two-letter code (`GB`) of the country whose phone numbers may lack a country code; None: only numbers
    with a country code are found.
    """
    steps = [step for kind, step in (("email", _email), ("card", _card)) if kind in kinds]

    def redact(text: str) -> str:
        for step in steps:
            text = step(text)
        return _phone(text, region) if "phone" in kinds else text

    return redact


def _email(text: str) -> str:
    return _EMAIL.sub(PLACEHOLDERS["email"], text) if "@" in text else text


def _card(text: str) -> str:
    return _CARD.sub(lambda m: PLACEHOLDERS["card"] if _luhn(m.group()) else m.group(), text)


def _luhn(text: str) -> bool:
    digits = [int(c) for c in reversed(text) if c.isdecimal()]
    return sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)) % 10 == 0


def _phone(text: str, region: str | None) -> str:
    if not _DIGIT.search(text):
        return text
    import phonenumbers

    for match in reversed(list(phonenumbers.PhoneNumberMatcher(text, region))):
        text = text[: match.start] + PLACEHOLDERS["phone"] + text[match.end :]
    return text
