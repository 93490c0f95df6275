"""Removes the secrets of an address from a text."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

MIN_INSIDE_WORD_CHARACTERS: Final = 8
"""A secret of at least this length is also masked inside words; a shorter one only as a whole word."""
MIN_SECRET_CHARACTERS: Final = 4
"""Shorter parts of an address are not masked: they occur in ordinary text."""


def mask_secrets(text: str, address: str) -> str:
    """Returns text in which the address and its host, user, password and query values are replaced by `...`.

    Parts shorter than MIN_SECRET_CHARACTERS stay.
    """
    rest = address.partition("://")[2]
    place, _, query = re.split(r"[/#]", rest, maxsplit=1)[0].partition("?")
    userinfo, _, host = place.rpartition("@")
    user, _, password = userinfo.partition(":")
    try:  # a password may contain characters that end a host
        parts = urlsplit(address)
        others = [parts.netloc, parts.password or "", parts.username or "", parts.hostname or "", parts.query]
        others += [value for pair in parts.query.split("&") for value in pair.split("=")[1:]]
    except ValueError:
        others = []
    userinfo_all = rest.rpartition("@")[0]  # up to the last @, so that a password with a slash is complete
    secrets = [address, rest, place, userinfo, userinfo_all, user, password, host, host.partition(":")[0], query]
    secrets += [userinfo_all.partition(":")[2], rest.rpartition("@")[2].partition("/")[0], *others]
    all_secrets = {
        secret for part in secrets for secret in (part, unquote(part)) if len(secret) >= MIN_SECRET_CHARACTERS
    }
    for secret in sorted(all_secrets, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "...", text)
        if len(secret) >= MIN_INSIDE_WORD_CHARACTERS:
            text = text.replace(secret, "...")
    return text
