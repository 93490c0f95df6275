from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rungwise.core.errors import ModelError
from rungwise.core.methods import ADAPTING
from rungwise.core.records import Base
from rungwise.model import adapters
from rungwise.model.language_model import load
from tests.conftest import make_base
from tests.model.adapted import rows_of, spec_of_method


def test_each_target_must_match_a_layer(base_folder):
    lm = load(Base(str(base_folder)), base_folder)
    with pytest.raises(ModelError, match=r"(?s)matches nothing.*found:\s+qq_proj.*q_proj"):
        adapters.attach(lm, spec_of_method(base_folder, "lora", targets=("v_proj", "qq_proj")))


def test_a_fresh_adapter_changes_nothing_except_with_virtual_tokens(base_folder):
    bare = load(Base(str(base_folder)), base_folder)
    rows = rows_of(bare)
    with torch.inference_mode():
        wanted = bare.model(**rows).logits[:, 4:]
        for method in ADAPTING:
            spec = spec_of_method(base_folder, method)
            actual = adapters.attach(load(spec.base, base_folder), spec).model.eval()(**rows).logits[:, 4:]
            is_equal = torch.allclose(actual, wanted, atol=1e-4)
            assert is_equal != (method in ("prompt-tuning", "prefix-tuning")), method


def test_every_method_gives_equal_logits_alone_padded_cached_and_cut(moved):
    tuned, _ = moved
    rows = rows_of(tuned)
    with torch.inference_mode():
        whole = tuned.model(**rows, use_cache=False).logits
        assert whole.shape[1] == 12
        last = tuned.model(**rows, use_cache=False, logits_to_keep=3).logits
        alone = tuned.model(input_ids=rows["input_ids"][:1, 4:], use_cache=False).logits
        first = {name: value[:, :8] for name, value in rows.items()}
        cache = tuned.model(**first, use_cache=True).past_key_values
        rest = {"input_ids": rows["input_ids"][:, 8:], "position_ids": rows["position_ids"][:, 8:]}
        later = tuned.model(**rest, attention_mask=rows["attention_mask"], past_key_values=cache, use_cache=True).logits
    torch.testing.assert_close(last[:, -3:], whole[:, -3:], atol=2e-4, rtol=0)
    torch.testing.assert_close(alone[0], whole[0, 4:], atol=2e-4, rtol=0)
    torch.testing.assert_close(later, whole[:, 8:], atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("method", "more", "message"),
    [
        ("lora", {"rank": 33}, r"(?s)rank exceeds.*rank 33.*16 at most"),
        ("sparse", {"rank": 33}, "rank exceeds"),
        ("last-layers", {"layers": 3}, r"(?s)fewer layers.*2 layers"),
        ("llama-adapter", {"layers": 3}, r"(?s)fewer layers.*2 layers"),
    ],
)
def test_settings_that_exceed_the_base_are_errors(base_folder, method, more, message):
    spec = spec_of_method(base_folder, method, **more)
    with pytest.raises(ModelError, match=message):
        adapters.attach(load(spec.base, base_folder), spec)


def test_an_architecture_without_support_for_the_method_is_an_error(tmp_path):
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    base = make_base(tmp_path / "b")
    config = GPTNeoXConfig(vocab_size=400, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
    config.save_pretrained(base)
    GPTNeoXForCausalLM(config).save_pretrained(base)
    lm = load(Base("b"), tmp_path)
    with pytest.raises(ModelError, match=r"(?s)can't be used with this base.*gpt_neox.*llama-adapter"):
        adapters.attach(lm, spec_of_method("b", "llama-adapter"))


def test_a_base_in_4_bits_has_as_many_parameters_as_before():
    """bitsandbytes packs two parameters into each element, and keeps the shape in the weight's state."""
    model = torch.nn.Linear(8, 6, bias=False)
    packed = torch.nn.Parameter(torch.zeros(24, 1, dtype=torch.uint8), requires_grad=False)
    packed.quant_state = SimpleNamespace(shape=torch.Size((6, 8)))
    lm: Any = SimpleNamespace(model=model)
    assert adapters.base_parameters(lm) == 48
    model.weight = packed
    assert adapters.base_parameters(lm) == 48
