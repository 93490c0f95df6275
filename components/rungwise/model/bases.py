"""Where a base model's files are, and the digest that names their content.

A base is a local folder or a hub name at a pinned commit. Weights are read from safetensors only; nothing in a model
folder is executed, but Python files whose SHA-256 the user named.
Hub: https://huggingface.co/docs/huggingface_hub (HF_ENDPOINT, HF_HOME apply).
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from rungwise.core.errors import ModelError, Problem
from rungwise.core.folders import file_digest, joined
from rungwise.core.records import Base, digest
from rungwise.workspace.resources import pocket_base

_PATTERNS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "chat_template.jinja",
)
_TOKENIZER = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json")
_TOKENIZER_EITHER = ("tokenizer.json", "tokenizer.model", "vocab.json")
_CODE = "*.py"
_REFERENCE = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*")
"""A class of a file in the model's own folder, as `auto_map` names it."""
_HASHED = (*_PATTERNS, *_TOKENIZER, "vocab.json", "merges.txt", "added_tokens.json")


def base_folder(base: Base, root: Path) -> Path:
    """Returns the folder with the base's files, fetched from the hub at its pinned commit if it is a hub name.

    Raises:
        ModelError: the folder or the hub's files are not there, or a part that is needed is missing.
    """
    folder = _from_hub(base) if base.revision else _local(base, root)
    if not folder.is_dir():
        hint = (
            "`rungwise pin` writes a hub name's commit behind it"
            if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", base.name)
            else ""
        )
        raise ModelError(
            Problem(
                "a base model is not there",
                where=f"ladder: base {base}",
                found=f"no folder {folder}",
                wanted="a folder with config.json, *.safetensors and a tokenizer",
                do=hint or "correct the rung's `base` (a path is taken from the workspace's folder)",
                setting="" if hint else "base",
            )
        )
    _check_parts(base, folder)
    return folder


def _local(base: Base, root: Path) -> Path:
    """Returns the folder that a base's name stands for: one of the workspace, otherwise one of the package."""
    folder = root / os.path.expanduser(base.name)
    return folder if folder.is_dir() else pocket_base(base.name) or folder


def _check_parts(base: Base, folder: Path) -> None:
    parts = {
        "config.json": (folder / "config.json").is_file(),
        "*.safetensors (other formats can run code and are refused)": any(folder.glob("*.safetensors")),
        "tokenizer.json": any((folder / name).is_file() for name in _TOKENIZER_EITHER),
    }
    missing = [name for name, is_there in parts.items() if not is_there]
    if missing:
        raise ModelError(
            Problem(
                "a base model lacks a part",
                where=f"ladder: base {base}, {folder}",
                found=joined(sorted(p.name for p in folder.iterdir())),
                wanted=joined(missing),
                do="save the model in this form (`save_pretrained` of model and tokenizer)",
            )
        )


def _from_hub(base: Base) -> Path:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download

    try:
        path = snapshot_download(base.name, revision=base.revision, allow_patterns=[*_HASHED, _CODE])
    except Exception as error:  # as in `newest_commit`
        raise ModelError(
            Problem(
                "a base model can't be fetched from the hub",
                where=f"ladder: base {base}, {os.environ.get('HF_ENDPOINT', 'the default endpoint')}",
                found=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
                wanted="the files of that commit",
                do="check name, commit and network; gated models need HF_TOKEN in the environment",
            )
        ) from None
    return Path(path)


def here(base: Base, root: Path) -> Path:
    """Returns the folder with the base's config and tokenizer, as far as this machine has them; nothing is fetched.

    Raises:
        ModelError: it has not.
    """
    folder: Path | None = None if base.revision else _local(base, root)
    if base.revision:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(base.name, "config.json", revision=base.revision)
        folder = Path(found).parent if isinstance(found, str) else None
    if folder is None or not all(
        any((folder / name).is_file() for name in names) for names in (("config.json",), _TOKENIZER_EITHER)
    ):
        raise ModelError(
            Problem(
                "the base is not on this machine",
                where=f"ladder: base {base}",
                wanted="its config.json and tokenizer",
                do="correct the rung's `base`; a hub model is fetched when it is first tried",
                setting="base",
            )
        )
    return folder


def newest_commit(name: str) -> str:
    """Returns the commit that the hub's default branch stands at, 40 hexadecimal digits.

    Raises:
        ModelError: the hub has no such model, or can't be asked.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import HfApi

    try:
        commit = HfApi().model_info(name, timeout=30).sha
    except Exception as error:  # the hub's own errors, and those of whichever client carries its requests
        raise ModelError(
            Problem(
                "the hub could not be asked for a model's commit",
                where=f"{name}, {os.environ.get('HF_ENDPOINT', 'the default endpoint')}",
                found=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
                wanted="the commit of its default branch",
                do="check name and network; gated models need HF_TOKEN in the environment",
            )
        ) from None
    return str(commit)


def base_digest(folder: Path) -> str:
    """Returns the SHA-256 over names and bytes of the files that decide what the base computes."""
    files = sorted({p for pattern in _HASHED for p in folder.glob(pattern)})
    return _digest_of(tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files))


@lru_cache(maxsize=64)
def _digest_of(files: tuple[tuple[str, int, int], ...]) -> str:
    return digest({Path(path).name: file_digest(Path(path)) for path, _, _ in files})


def code_digest(folder: Path) -> str:
    """Returns the SHA-256 over names and bytes of all Python files of a base, those in folders below it too."""
    files = sorted(p for p in folder.rglob(_CODE) if p.is_file())
    return digest({p.relative_to(folder).as_posix(): file_digest(p) for p in files})


def may_run_code(base: Base, folder: Path) -> bool:
    """Whether the base's own Python files may be run: the user named them by their hash, and they are still the same.

    Raises:
        ModelError: they are others than those that were named, or the base's settings lead to code elsewhere.
    """
    if not base.code:
        return False
    found = code_digest(folder)
    if found != base.code:
        raise ModelError(
            Problem(
                "the code of a base model is not the code that was allowed",
                where=f"ladder: base {base}, {folder}",
                found=f"sha256 {found} of {_listed(folder)}",
                wanted=f"sha256 {base.code} (`remote_code`)",
                do="put the files back; or read what changed, and name the new hash if it may run on this machine",
            )
        )
    for name in ("config.json", "tokenizer_config.json"):
        for reference in _references(folder / name):
            if not _REFERENCE.fullmatch(reference):
                raise ModelError(
                    Problem(
                        "a base model leads to code outside its folder",
                        where=f"ladder: base {base}, {folder / name}: auto_map",
                        found=reference[:80],
                        wanted="module.Class, of a Python file beside the weights",
                        do="copy that file into the folder and name it there, or choose another base",
                    )
                )
    return True


def _references(path: Path) -> Iterator[str]:
    """Yields every class that `auto_map` names in a model's JSON file."""
    values: Any = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    named = values.get("auto_map") if isinstance(values, dict) else None
    for found in named.values() if isinstance(named, Mapping) else [named]:
        yield from (str(one) for one in (found if isinstance(found, list) else [found]) if one is not None)


def _listed(folder: Path) -> str:
    return joined(sorted(p.relative_to(folder).as_posix() for p in folder.rglob(_CODE)))


def code_refused(base: Base, folder: Path) -> ModelError:
    """Returns what is said of a base that can't be loaded without code of its own."""
    return ModelError(
        Problem(
            "a base model needs code of its own, which is not run",
            where=f"ladder: base {base}, {folder}",
            found=_listed(folder),
            wanted="a causal language model that transformers knows",
            do="choose another base; or read these files, and allow just them with "
            f'`remote_code: "{code_digest(folder)}"` on the rung: that runs the model author\'s code on this machine',
        )
    )
