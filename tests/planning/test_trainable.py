import peft
import pytest
import transformers

from rungwise.core.errors import SettingsError
from rungwise.planning.job import Job
from rungwise.planning.model_config import shape_of
from rungwise.planning.trainable import frozen_adapter_parameters, targeted, trainable_parameters
from tests.planning.test_model_config import CONFIGS, empty, saved


def llama_linears():
    return ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


PEFT = {
    "lora": lambda: peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    "rslora": lambda: peft.LoraConfig(r=4, target_modules="all-linear", use_rslora=True, task_type="CAUSAL_LM"),
    "dora": lambda: peft.LoraConfig(r=4, target_modules="all-linear", use_dora=True, task_type="CAUSAL_LM"),
    "vera": lambda: peft.VeraConfig(r=4, target_modules=llama_linears(), task_type="CAUSAL_LM"),
    "ia3": lambda: peft.IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"
    ),
    "prompt-tuning": lambda: peft.PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"),
    "prefix-tuning": lambda: peft.PrefixTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"),
    "llama-adapter": lambda: peft.AdaptionPromptConfig(adapter_len=5, adapter_layers=2, task_type="CAUSAL_LM"),
    "layer-norm": lambda: peft.LNTuningConfig(
        target_modules=["input_layernorm", "post_attention_layernorm", "norm"], task_type="CAUSAL_LM"
    ),
    "sparse": lambda: peft.ShiraConfig(r=4, target_modules=llama_linears(), task_type="CAUSAL_LM"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", PEFT)
@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2"])
def test_trainable_parameters_are_those_that_peft_trains(method, name, tmp_path):
    if method == "llama-adapter" and name == "qwen2":
        pytest.skip("PEFT has no adaption prompts for qwen2")
    shape = shape_of(saved(CONFIGS[name], tmp_path))
    model = peft.get_peft_model(transformers.AutoModelForCausalLM.from_config(CONFIGS[name]), PEFT[method]())
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable_parameters(shape, Job(method, settings={"rank": 4, "tokens": 5})) == count
    if method == "vera":
        assert frozen_adapter_parameters(shape, Job("vera", settings={"rank": 4})) == sum(
            b.numel() for n, b in model.named_buffers() if "vera_" in n
        )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ["lora", "dora", "ia3", "prompt-tuning", "prefix-tuning"])
@pytest.mark.parametrize("name", ["gpt2", "gpt_neox"])
def test_trainable_parameters_with_one_matrix_for_queries_keys_and_values(method, name, tmp_path):
    shape = shape_of(saved(CONFIGS[name], tmp_path))
    config = peft.IA3Config(task_type="CAUSAL_LM") if method == "ia3" else PEFT[method]()
    model = peft.get_peft_model(transformers.AutoModelForCausalLM.from_config(CONFIGS[name]), config)
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable_parameters(shape, Job(method, settings={"rank": 4, "tokens": 5})) == count


def test_methods_without_an_adapter_of_peft_count_what_they_say():
    model = empty(CONFIGS["llama"])
    shape = shape_of(CONFIGS["llama"].to_dict())
    layers = model.model.layers
    assert trainable_parameters(shape, Job("last-layers", settings={"layers": 2})) == sum(
        p.numel() for layer in layers[-2:] for p in layer.parameters()
    )
    assert trainable_parameters(shape, Job("value-bias")) == sum(
        layer.self_attn.v_proj.out_features for layer in layers
    )
    assert trainable_parameters(shape, Job("prompt")) == 0
    assert trainable_parameters(shape, Job("full")) == shape.parameters
    assert trainable_parameters(shape, Job("pissa")) == trainable_parameters(shape, Job("lora"))


@pytest.mark.filterwarnings("ignore")
def test_targets_narrow_what_is_trained(tmp_path):
    shape = shape_of(CONFIGS["llama"].to_dict())
    model = peft.get_peft_model(
        transformers.AutoModelForCausalLM.from_config(CONFIGS["llama"]),
        peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable_parameters(shape, Job("lora", settings={"rank": 2, "targets": ("q_proj", "v_proj")})) == count
    with pytest.raises(SettingsError, match="matches nothing(.|\n)*wrong"):
        targeted(shape, ("q_proj", "wrong"))


def test_an_unknown_method_is_named():
    with pytest.raises(SettingsError, match="qlora(.|\n)*lora"):
        Job("qlora")
