from dataclasses import replace

import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy

from rungwise.core.errors import SettingsError
from rungwise.core.methods import LANGUAGE_MODEL_METHODS
from rungwise.model.kernels.low_rank import fuse
from rungwise.model.kernels.rms_norm import fuse_norms
from rungwise.model.kernels.shared_prefix import padded, read_prefix
from rungwise.planning.activations import final_bytes, is_fused, saved_bytes
from rungwise.planning.job import Job
from rungwise.planning.largest import family_member, largest_batch, largest_model
from rungwise.planning.memory import need_of
from rungwise.planning.microbatch import checkpointed, rows_per_microbatch
from rungwise.planning.model_config import shape_of
from rungwise.planning.need import BYTES_PER_WEIGHT, PARTS, weight_bytes
from rungwise.planning.operations import operations, seconds_of
from rungwise.planning.trainable import ALL_LINEAR, trainable_parameters
from rungwise.training.batches import TokenRow, micro_batches
from tests.planning.test_model_config import SMALL

WIDE = {**SMALL, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2}
KINDS = {
    "llama": transformers.LlamaConfig(**WIDE),
    "mistral": transformers.MistralConfig(**WIDE),
    "qwen2": transformers.Qwen2Config(**WIDE),
    "qwen3": transformers.Qwen3Config(**WIDE, head_dim=24),
    "gpt2": transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=300, n_positions=128),
    "gpt_neox": transformers.GPTNeoXConfig(
        hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, vocab_size=300
    ),
    "gemma3_text": transformers.Gemma3TextConfig(**WIDE, head_dim=24, sliding_window=32),
    "smollm3": transformers.SmolLM3Config(**WIDE, pad_token_id=0, bos_token_id=1, eos_token_id=2),
    "phi": transformers.PhiConfig(**WIDE),
    "phi3": transformers.Phi3Config(**WIDE, pad_token_id=0, eos_token_id=2),
    "phi3, a key head for each head": transformers.Phi3Config(
        **{**WIDE, "num_key_value_heads": 4}, pad_token_id=0, eos_token_id=2
    ),
    "granite": transformers.GraniteConfig(**WIDE),
    "olmo2": transformers.Olmo2Config(**WIDE),
}


def kept_by_autograd(config, job):
    """Bytes that autograd keeps of the training loop's forward pass, without weights and logits.

    What a GPU computes otherwise is computed here as on a GPU.
    """
    import peft

    torch.manual_seed(0)
    dtype = torch.float32 if job.precision == "fp32" else torch.bfloat16
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    if job.method == "full":
        model.requires_grad_(True)
    else:
        model.requires_grad_(False)
        model = peft.get_peft_model(
            model,
            peft.LoraConfig(
                r=job.rank,
                target_modules="all-linear" if job.targets == (ALL_LINEAR,) else list(job.targets),
                lora_dropout=job.dropout,
                task_type="CAUSAL_LM",
            ),
        )
        fuse(model)
        if job.device == "cpu":
            fuse_norms(model)
    model.train()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen: dict[int, tuple[int, torch.Tensor]] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen.setdefault(storage.data_ptr(), (storage.nbytes(), tensor))
        return tensor

    ids = torch.randint(0, 300, (job.rows, job.tokens))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        prefix = read_prefix(model, ids[0, : job.shared_tokens].tolist(), "cpu") if job.shared_tokens else None
        lengths = [job.tokens - 3 if job.is_padded and row == 0 else job.tokens for row in range(job.rows)]
        given = padded([row[:n].tolist() for row, n in zip(ids, lengths, strict=True)], prefix, pad=0, device="cpu")
        out = model(**given, use_cache=prefix is not None, logits_to_keep=job.answer_tokens + 1)
        logits = out.logits[:, -job.answer_tokens - 1 : -1].float()
        loss = cross_entropy(logits.transpose(1, 2), ids[:, -job.answer_tokens :], reduction="sum")
    assert torch.isfinite(loss)
    logits_bytes = job.rows * job.answer_tokens * 300 * 4
    return sum(size for size, _ in seen.values()) - logits_bytes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_for_the_backward_pass_is_what_autograd_keeps(kind, method, precision, device):
    job = Job(method, precision=precision, rows=4, tokens=64, answer_tokens=4, settings={"rank": 4}, device=device)
    result = kept_by_autograd(KINDS[kind], job)
    shape = shape_of(KINDS[kind].to_dict())
    expected = saved_bytes(shape, job) + final_bytes(shape, job)
    if is_fused(shape, job) and precision == "bf16":  # the adapter is read as a copy in 16 bit
        expected += 2 * trainable_parameters(shape, job)
    assert 0.98 < expected / result < 1.06


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "change",
    [
        {"is_padded": False},
        {"settings": {"rank": 4, "dropout": 0.1}},
        {"rows": 2, "tokens": 96},
        {"tokens": 128, "shared_tokens": 90},
    ],
)
def test_masks_dropout_and_length_change_what_is_kept_as_in_autograd(change):
    job = replace(Job("lora", rows=4, tokens=64, answer_tokens=4, settings={"rank": 4}), **change)
    config = transformers.LlamaConfig(**{**WIDE, "num_key_value_heads": 4})
    shape = shape_of(config.to_dict())
    assert saved_bytes(shape, job) + final_bytes(shape, job) == pytest.approx(kept_by_autograd(config, job), rel=0.05)


LLAMA = shape_of(transformers.LlamaConfig(**{**SMALL, "vocab_size": 32_000}).to_dict())


@pytest.mark.parametrize("method", LANGUAGE_MODEL_METHODS)
def test_every_method_has_a_need_whose_parts_add_up(method):
    need = need_of(LLAMA, Job(method, tokens=100))
    assert need.total == sum(getattr(need, part) for part in PARTS) and need.gigabytes == need.total / 1e9
    assert all(getattr(need, part) >= 0 for part in PARTS)
    assert need.weights == 4 * LLAMA.parameters
    is_adapter = method not in ("prompt", "full", "layer-norm", "last-layers")
    assert (need.adapter > 0) == is_adapter
    assert (need.moment == "scoring") == (method == "prompt")


def test_each_moment_can_be_the_highest():
    big = family_member(8, 512)
    assert need_of(big, Job("lora", rows=64, answer_tokens=1, device="cpu")).moment == "backward"
    assert need_of(big, Job("lora", rows=1, tokens=40, answer_tokens=40, device="cpu")).moment == "loss"


def test_full_training_holds_sixteen_bytes_a_parameter():
    big = family_member(8, 1024)
    for precision in ("fp32", "bf16"):
        need = need_of(big, Job("full", precision=precision, rows=16, tokens=512, answer_tokens=200))
        assert need.moment == "loss" and need.weights + need.gradients + need.optimizer == 16 * big.parameters


def test_4_bit_applies_to_matrices_only():
    big = family_member(8, 1024)
    rest = big.parameters - big.matrix_parameters
    assert weight_bytes(big, "4bit") == pytest.approx(big.matrix_parameters * 4.127 / 8 + 2 * rest, rel=1e-9)
    assert list(BYTES_PER_WEIGHT) == ["fp32", "fp16", "bf16", "4bit"]


def test_more_of_anything_needs_more():
    job = Job("lora", rows=4, tokens=64, answer_tokens=8)
    base = need_of(LLAMA, job).total
    for change in (
        {"rows": 8},
        {"tokens": 128},
        {"answer_tokens": 64},
        {"settings": {"rank": 64}},
        {"settings": {"dropout": 0.1}},
    ):
        assert need_of(LLAMA, replace(job, **change)).total > base, change
    assert (
        need_of(LLAMA, replace(job, rows=64, is_checkpointed=True)).total < need_of(LLAMA, replace(job, rows=64)).total
    )


def test_the_largest_batch_is_the_last_that_fits():
    job = Job("lora", tokens=64, answer_tokens=8)
    limit = need_of(LLAMA, replace(job, rows=23)).total
    assert largest_batch(LLAMA, job, limit) == 23 and largest_batch(LLAMA, job, limit - 1) == 22
    assert largest_batch(LLAMA, job, 1000) == 0 and largest_batch(LLAMA, job, 10**15) == 4096


V100 = 16 * 10**9
ONE_ROW = Job("prompt", precision="fp16", rows=1, tokens=512, answer_tokens=32)


def test_a_v100_of_16_gb_fits_7b_for_inference_and_1b_for_full_training():
    inference = largest_model(ONE_ROW, V100)
    full = largest_model(replace(ONE_ROW, method="full", is_checkpointed=True), V100)
    lora = largest_model(replace(ONE_ROW, method="lora", is_checkpointed=True), V100)
    qlora = largest_model(replace(ONE_ROW, method="lora", precision="4bit", is_checkpointed=True), V100)
    assert 6.5e9 < inference.parameters < 7.5e9
    assert 0.7e9 <= full.parameters <= 1.0e9
    assert full.parameters < lora.parameters < inference.parameters < qlora.parameters
    assert largest_model(ONE_ROW, 10**9) is None


def test_operations_are_two_a_weight_and_token_forward_and_twice_that_back():
    job = Job("prompt", rows=1, tokens=512, answer_tokens=1)
    forward = operations(family_member(24, 3072), job)
    assert forward == pytest.approx(2 * 512 * family_member(24, 3072).matrix_parameters, rel=0.05)
    assert operations(family_member(24, 3072), replace(job, method="full")) == pytest.approx(3 * forward)
    assert operations(family_member(24, 3072), replace(job, method="lora")) == pytest.approx(2 * forward, rel=0.05)
    again = replace(job, method="full", is_checkpointed=True)
    assert operations(family_member(24, 3072), again) == pytest.approx(4 * forward)
    assert operations(family_member(24, 3072), replace(job, method="last-layers")) < 1.2 * forward
    assert seconds_of(LLAMA, job, 10, 1e12, 0.5) == pytest.approx(10 * operations(LLAMA, job) / 5e11)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"precision": "fp8"}, "no such precision(.|\n)*fp8"),
        ({"method": "full", "precision": "4bit"}, "4 bit(.|\n)*full"),
        ({"method": "best"}, "does not support this method"),
        ({"tokens": 129}, "at most 128 tokens"),
        ({"answer_tokens": 101}, "rows of this size"),
        ({"rows": 0}, "rows of this size"),
    ],
)
def test_settings_that_do_not_go_together_are_named(change, says):
    with pytest.raises(SettingsError, match=says):
        need_of(LLAMA, replace(Job("lora", tokens=100), **change))


@pytest.mark.parametrize("shared", [0, 40, 400])
@pytest.mark.parametrize("max_tokens_per_microbatch", [100, 500, 1500, 4096])
def test_as_many_rows_pass_together_as_in_training(shared, max_tokens_per_microbatch):
    rows = [TokenRow(tuple(range(430)), (1, 2))] * 32
    job = Job("lora", rows=32, tokens=432, answer_tokens=2, shared_tokens=shared)
    largest = max(len(part) for part in micro_batches(rows, max_tokens_per_microbatch, None, shared))
    assert rows_per_microbatch(LLAMA, job, max_tokens_per_microbatch) == largest


@pytest.mark.parametrize("change", [{"settings": {"dropout": 0.1}}, {"is_checkpointed": True}])
def test_rows_that_training_does_not_share_are_planned_whole(change):
    shape = replace(LLAMA, context=512)
    job = replace(Job("lora", rows=32, tokens=512, answer_tokens=4, shared_tokens=400), **change)
    assert (
        rows_per_microbatch(shape, job, 4096)
        == 8
        < rows_per_microbatch(shape, replace(job, settings={}, is_checkpointed=False), 4096)
    )
    assert need_of(shape, job) == need_of(shape, replace(job, shared_tokens=0))


def test_with_checkpointing_as_many_rows_pass_as_fit_the_same_tokens():
    job = Job("lora", rows=32, tokens=512, answer_tokens=4, shared_tokens=400)
    job = replace(job, rows=rows_per_microbatch(LLAMA, job, 4096))
    assert job.rows == 22 and checkpointed(LLAMA, job).rows == 7, "22 rows have 112 tokens of their own and share 400"
    plain = replace(job, shared_tokens=0, rows=7)
    assert checkpointed(LLAMA, plain) == replace(plain, is_checkpointed=True)


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("down_proj",), ("o_proj", "up_proj")])
def test_a_job_with_some_targets_needs_less_than_with_all(targets):
    for precision in ("fp32", "bf16"):
        job = Job("lora", precision, rows=4, tokens=64, answer_tokens=4)
        some = need_of(LLAMA, replace(job, settings={"targets": targets}))
        assert 0 < some.activations < need_of(LLAMA, job).activations and some.adapter < need_of(LLAMA, job).adapter


@pytest.mark.filterwarnings("ignore")
def test_targets_in_the_attention_alone_keep_what_autograd_keeps():
    job = Job("lora", rows=4, tokens=64, answer_tokens=4, settings={"rank": 4, "targets": ("q_proj", "v_proj")})
    config = KINDS["llama"]
    shape = shape_of(config.to_dict())
    assert saved_bytes(shape, job) + final_bytes(shape, job) == pytest.approx(kept_by_autograd(config, job), rel=0.05)
