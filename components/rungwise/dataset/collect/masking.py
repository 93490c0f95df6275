"""Texts without the secrets of an address."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

WHOLE: Final = 8
"""A secret of so many characters is masked within words too; a shorter one only as a word of its own."""
LEAST: Final = 4
"""A shorter one is no secret that a message would give away, and would be taken out of plain words."""


def masked(text: str, address: str) -> str:
    """Returns text without the address, its host, its user or its password, but for those of very few characters."""
    rest = address.partition("://")[2]
    place, _, query = re.split(r"[/#]", rest, maxsplit=1)[0].partition("?")
    userinfo, _, host = place.rpartition("@")
    user, _, password = userinfo.partition(":")
    try:  # a password may hold what ends a host elsewhere
        parts = urlsplit(address)
        others = [parts.netloc, parts.password or "", parts.username or "", parts.hostname or "", parts.query]
        others += [value for pair in parts.query.split("&") for value in pair.split("=")[1:]]
    except ValueError:
        others = []
    userinfo_all = rest.rpartition("@")[0]  # up to the last @: a password with a slash is not cut
    secrets = [address, rest, place, userinfo, userinfo_all, user, password, host, host.partition(":")[0], query]
    secrets += [userinfo_all.partition(":")[2], rest.rpartition("@")[2].partition("/")[0], *others]
    every = {secret for part in secrets for secret in (part, unquote(part)) if len(secret) >= LEAST}
    for secret in sorted(every, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "...", text)
        if len(secret) >= WHOLE:
            text = text.replace(secret, "...")
    return text
