"""Counts how often a kernel's own operation is used."""

from typing import Any

import pytest


def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str = "apply") -> list[Any]:
    """Returns a list that grows with every call of `owner.name`, with the call's arguments."""
    uses: list[Any] = []
    whole = getattr(owner, name)

    def call(*inputs: Any) -> Any:
        uses.append(inputs)
        return whole(*inputs)

    monkeypatch.setattr(owner, name, call)
    return uses
