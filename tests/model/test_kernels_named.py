"""A base whose config names code on a hub for its attention is refused by all that reads it."""

import json
import shutil

import pytest

from rungwise.core.errors import ModelError
from rungwise.core.records import Base
from rungwise.model import bases
from rungwise.planning.measured_shape import measured_shape


@pytest.mark.parametrize(
    "more",
    [
        {"_attn_implementation": "org/kernel"},
        {"attn_implementation": "org/kernel@main:attend"},
        {"_attn_implementation_internal": "paged|org/kernel"},
        {"text_config": {"_attn_implementation": "org/kernel"}},
        {"attn_implementation": {"text_config": "org/kernel"}},
        {"_experts_implementation": "org/kernel"},
    ],
)
def test_a_config_that_names_a_kernel_on_a_hub_is_refused(tmp_path, base_folder, more):
    folder = shutil.copytree(base_folder, tmp_path / "able")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | more))
    for read in (bases.base_folder, bases.local_folder):
        with pytest.raises(ModelError, match="(?s)names code on a hub.*org/kernel"):
            read(Base("able"), tmp_path)
    with pytest.raises(ModelError, match="names code on a hub"):
        measured_shape(config | more, "config.json")


@pytest.mark.parametrize("name", ["sdpa", "eager", "flash_attention_2", "paged|sdpa", None, "", {"": "eager"}])
def test_parts_of_transformers_are_not(name):
    bases.check_kernels({"_attn_implementation": name, "layers": [1, 2]}, "config.json")
