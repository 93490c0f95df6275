"""The base class of all sections of params.yaml, and the types that their fields share."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rungwise.core.errors import SettingsError
from rungwise.core.prompts import slots

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def check_name(name: str) -> str:
    """Returns `name` if it is safe in a path, a tag and a page: `[a-z][a-z0-9-]{0,39}`.

    Raises:
        ValueError: it is not such a name.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("a name: a lowercase letter, then up to 39 lowercase letters, digits and hyphens")
    return name


def _inside(path: str) -> str:
    if not path or path.startswith(("/", "~")) or "\\" in path or ".." in Path(path).parts:
        raise ValueError("a relative path inside data/raw, without `..`")
    return path


def _template(text: str) -> str:
    try:
        slots(text)
    except SettingsError as error:
        raise ValueError(str(error)) from None
    return text


Name = Annotated[str, AfterValidator(check_name)]
RawPath = Annotated[str, AfterValidator(_inside)]
Template = Annotated[str, AfterValidator(_template)]
Bar = Annotated[float, Field(gt=0.0, lt=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A section of settings: immutable, with unknown keys and wrong types rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


def check_unique(where: str, names: list[str]) -> None:
    """Checks that no name is used twice; raises ValueError."""
    duplicates = sorted({n for n in names if names.count(n) > 1})
    if duplicates:
        raise ValueError(f"{where}: the name {duplicates[0]!r} is used twice")
