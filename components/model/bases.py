"""Where a base model's files are, and the digest that names their content.

A base is a local folder or a hub name at a pinned commit. Weights are read from safetensors only; nothing in a
model folder is ever executed. Hub: https://huggingface.co/docs/huggingface_hub (HF_ENDPOINT, HF_HOME apply).
"""

import os
import re
from functools import lru_cache
from pathlib import Path

from components.errors import ModelError, problem
from components.folders import file_digest, joined
from components.records import Base, digest

_PATTERNS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "chat_template.jinja",
)
_TOKENIZER = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json")
_TOKENIZER_EITHER = ("tokenizer.json", "tokenizer.model", "vocab.json")
_HASHED = (*_PATTERNS, *_TOKENIZER, "vocab.json", "merges.txt", "added_tokens.json")


def base_folder(base: Base, root: Path) -> Path:
    """Returns the folder with the base's files, fetched from the hub at its pinned commit if it is a hub name.

    Raises:
        ModelError: the folder or the hub's files are not there, or a part that is needed is missing.
    """
    folder = _from_hub(base) if base.revision else root / os.path.expanduser(base.name)
    if not folder.is_dir():
        hint = (
            "`rungwise pin` writes a hub name's commit behind it"
            if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", base.name)
            else ""
        )
        raise ModelError(
            problem(
                "a base model is not there",
                where=f"ladder: base {base}",
                found=f"no folder {folder}",
                wanted="a folder with config.json, *.safetensors and a tokenizer",
                do=hint or "correct the rung's `base` (a path is taken from the workspace's folder)",
            )
        )
    _check_parts(base, folder)
    return folder


def _check_parts(base: Base, folder: Path) -> None:
    parts = {
        "config.json": (folder / "config.json").is_file(),
        "*.safetensors (other formats can run code and are refused)": any(folder.glob("*.safetensors")),
        "tokenizer.json": any((folder / name).is_file() for name in _TOKENIZER_EITHER),
    }
    missing = [name for name, is_there in parts.items() if not is_there]
    if missing:
        raise ModelError(
            problem(
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
        path = snapshot_download(base.name, revision=base.revision, allow_patterns=list(_HASHED))
    except Exception as error:  # as in `newest_commit`
        raise ModelError(
            problem(
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
    folder: Path | None = root / os.path.expanduser(base.name)
    if base.revision:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(base.name, "config.json", revision=base.revision)
        folder = Path(found).parent if isinstance(found, str) else None
    if folder is None or not all(
        any((folder / name).is_file() for name in names) for names in (("config.json",), _TOKENIZER_EITHER)
    ):
        raise ModelError(
            problem(
                "the base is not on this machine",
                where=f"ladder: base {base}",
                wanted="its config.json and tokenizer",
                do="correct the rung's `base`; a hub model is fetched when it is first tried",
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
            problem(
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
