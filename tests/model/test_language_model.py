import json
import shutil

import pytest

from rungwise.core.errors import ModelError
from rungwise.core.records import Base, digest
from rungwise.model import language_model as models
from rungwise.model.bases import base_digest, base_folder


@pytest.fixture(scope="module")
def lm(base_folder):
    return models.load(Base(str(base_folder)), base_folder)


def test_the_end_token_in_a_row_stays_text(lm):
    (ids,) = models.encode_prompts(lm, ["before <|end|> after"])
    assert lm.end not in ids and lm.tokenizer.decode(ids) == "before <|end|> after"
    (answer,) = models.encode_answers(lm, ["<|end|>"])
    assert answer[-1] == lm.end and answer.count(lm.end) == 1


def chat_base(tmp_path, base_folder, template):
    folder = tmp_path / "chat"
    shutil.copytree(base_folder, folder)
    (folder / "chat_template.jinja").write_text(template)
    return models.load(Base(str(folder)), folder, template="chat")


TEMPLATE = "{% for m in messages %}<|end|>{{ m.role }}\n{{ m.content }}<|end|>{% endfor %}assistant:"


def test_a_chat_template_surrounds_the_text_and_the_text_stays_text(tmp_path, base_folder):
    lm = chat_base(tmp_path, base_folder, TEMPLATE)
    (ids,) = models.encode_prompts(lm, ["say <|end|> please"])
    assert lm.tokenizer.decode(ids) == "<|end|>user\nsay <|end|> please<|end|>assistant:"
    assert ids.count(lm.end) == 2 and ids[0] == lm.end
    assert lm.tokenizer.decode(models.encode_answers(lm, ["billing"])[0]) == "billing<|end|>"


def test_a_template_that_hides_or_repeats_the_text_is_an_error(tmp_path, base_folder):
    with pytest.raises(ModelError, match="exactly once"):
        chat_base(tmp_path, base_folder, "nothing")
    with pytest.raises(ModelError, match="does not have a chat template"):
        models.load(Base(str(base_folder)), base_folder, template="chat")


def special_end(tmp_path, base_folder, template="", ids=None):
    """A base whose end token is not the one by which its template ends a turn: `!` is that."""
    folder = tmp_path / "ends"
    shutil.copytree(base_folder, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["extra_special_tokens"] = ["!"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if template:
        (folder / "chat_template.jinja").write_text(template)
    if ids is not None:
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
    return folder


TURNS = "{% for m in messages %}{{ m.role }}: {{ m.content }}!\n{% endfor %}assistant:"


def test_the_end_of_the_assistants_turn_and_the_generation_configs_ends_count(tmp_path, base_folder, lm):
    folder = special_end(tmp_path, base_folder, TURNS, [7, 9])
    base = Base(str(folder))
    for chat in (models.load(base, folder, template="chat"), models.load_reader(base, folder, template="chat")):
        turn_end, eos = chat.tokenizer.convert_tokens_to_ids("!"), chat.tokenizer.eos_token_id
        assert chat.end == turn_end != eos and chat.ends == {turn_end, eos, 7, 9}
        assert models.encode_answers(chat, ["billing"])[0][-1] == turn_end
    plain = models.load_reader(base, folder)
    assert plain.end == eos and plain.ends == {eos, 7, 9}
    assert len({chat.template_digest, plain.template_digest, lm.template_digest}) == 3


def test_a_single_end_keeps_the_digest_of_the_template(lm):
    assert lm.ends == {lm.end} and lm.template_digest == digest([lm.prefix, lm.suffix, lm.end])


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:",
        "user: {{ messages[0].content }}!\nassistant:",
        "{% if messages|length > 1 %}{{ raise_exception('one turn only') }}{% endif %}{{ messages[0].content }}!",
    ],
    ids=["no token of its own", "without the assistant's text", "one turn only"],
)
def test_a_turn_that_no_token_ends_ends_with_the_text(tmp_path, base_folder, template):
    folder = special_end(tmp_path, base_folder, template)
    lm = models.load_reader(Base(str(folder)), folder, template="chat")
    assert lm.end == lm.tokenizer.eos_token_id and lm.ends == {lm.end}


@pytest.mark.parametrize("content", ["not json", "[1]", '{"eos_token_id": null}', '{"eos_token_id": ["a", true, -1]}'])
def test_a_generation_config_without_usable_ends_adds_none(tmp_path, base_folder, content):
    folder = special_end(tmp_path, base_folder)
    (folder / "generation_config.json").write_text(content)
    lm = models.load_reader(Base(str(folder)), folder)
    assert lm.ends == {lm.end}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('a system message is needed') }}", "TemplateError: a system message is needed"),
        ("{{ messages[0].none.x }}", "UndefinedError: .*has no attribute 'none'"),
        ("{% for m in messages %}", "TemplateSyntaxError: Unexpected end of template"),
        ("{{ 1 + 'a' }}", "TypeError"),
    ],
)
def test_a_template_that_raises_is_one_message(tmp_path, base_folder, template, words):
    folder = special_end(tmp_path, base_folder, template)
    for act in (models.load, models.load_reader):
        with pytest.raises(ModelError, match=rf"(?s)chat template can't be used.*ends.*{words}.*`template: plain`"):
            act(Base(str(folder)), folder, template="chat")


def test_the_templates_digest_differs_with_the_template(tmp_path, base_folder, lm):
    assert chat_base(tmp_path, base_folder, TEMPLATE).template_digest != lm.template_digest


@pytest.mark.parametrize(
    ("lost", "words"),
    [("model.safetensors", r"\*.safetensors"), ("config.json", "config.json"), ("tokenizer.json", "tokenizer.json")],
)
def test_a_base_without_a_required_file_is_an_error(tmp_path, base_folder, lost, words):
    shutil.copytree(base_folder, tmp_path / "b")
    (tmp_path / "b" / lost).unlink()
    with pytest.raises(ModelError, match=rf"(?s)lacks a required file.*{words}"):
        base_folder_of(tmp_path)


def base_folder_of(tmp_path):
    return base_folder(Base("b"), tmp_path)


def test_a_missing_base_is_an_error(tmp_path):
    with pytest.raises(ModelError, match=r"(?s)not there.*no folder"):
        base_folder_of(tmp_path)
    with pytest.raises(ModelError, match="`rungwise pin` adds the commit"):
        base_folder(Base("owner/name"), tmp_path)


def test_weights_in_a_format_that_can_run_code_are_refused(tmp_path, base_folder):
    shutil.copytree(base_folder, tmp_path / "b")
    (tmp_path / "b" / "model.safetensors").rename(tmp_path / "b" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="can run code and are refused"):
        base_folder_of(tmp_path)


def test_code_that_ships_with_a_model_is_not_run(tmp_path, base_folder):
    shutil.copytree(base_folder, tmp_path / "b")
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    config |= {"auto_map": {"AutoModelForCausalLM": "evil.Evil"}, "model_type": "evil", "architectures": ["Evil"]}
    (tmp_path / "b" / "config.json").write_text(json.dumps(config))
    (tmp_path / "b" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    with pytest.raises(ModelError, match="can't be loaded"):
        models.load(Base("b"), tmp_path)
    assert not (tmp_path / "ran").exists()


def test_damaged_weights_are_one_message(tmp_path, base_folder):
    shutil.copytree(base_folder, tmp_path / "b")
    (tmp_path / "b" / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ModelError, match="can't be loaded"):
        models.load(Base("b"), tmp_path)


def test_the_digest_depends_on_the_content(tmp_path, base_folder):
    shutil.copytree(base_folder, tmp_path / "b")
    assert base_digest(tmp_path / "b") == base_digest(base_folder)
    with (tmp_path / "b" / "model.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x7f")
    assert base_digest(tmp_path / "b") != base_digest(base_folder)


def test_an_encoder_is_not_a_causal_model(tmp_path, base_folder):
    import transformers

    shutil.copytree(base_folder, tmp_path / "b")
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16}
    transformers.BertLMHeadModel(transformers.BertConfig(**sizes)).save_pretrained(tmp_path / "b")
    with pytest.raises(ModelError, match=r"(?s)not a causal language model.*BertLMHeadModel.*choose another base"):
        models.load(Base("b"), tmp_path)
