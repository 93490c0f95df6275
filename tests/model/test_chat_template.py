"""Chat templates: what transformers makes of them, and none of what a hostile one does to this process."""

import shutil
import subprocess
import time

import pytest

from rungwise.core.errors import ModelError
from rungwise.core.records import Base
from rungwise.model import chat_template
from rungwise.model.chat_template import Rendered, render
from rungwise.model.language_model import load_reader

TURNS = ({"role": "user", "content": "Grüße <b> 包"}, {"role": "assistant", "content": "two\nlines"})
CHATML = """{%- for m in messages %}
  {{- '<|im_start|>' + m['role'] + '\\n' }}
  {% generation %}{{ m.content | trim }}{% set inner = 1 %}{% endgeneration %}
  {{ '<|im_end|>' if not inner is defined }}
{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""
OTHERS = """{% set ns = namespace(n=0) %}{% for m in messages %}
    {%- if m.role == 'system' %}{% continue %}{% endif %}
    {% set ns.n = ns.n + 1 %}{{ ns.n }} {{ m | tojson(indent=1) }} {{ dict(a=1) | tojson }} {{ eos_token }}
    {% if loop.index > 1 %}{% break %}{% endif %}
{% endfor %}{{ strftime_now('%Y')[:2] }}{{ tools is none }}{{ documents }}{{ nothing }}"""


@pytest.fixture
def tokenizer(base_folder):
    return load_reader(Base(str(base_folder)), base_folder).tokenizer


def rendered(tokenizer, template, *, opens=True):
    tokenizer.chat_template = template
    return render(tokenizer, TURNS, opens=opens, where="ladder: base x")


@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize("template", [CHATML, OTHERS, {"default": CHATML, "tool_use": OTHERS}, "", "plain"])
def test_the_text_is_that_of_transformers(tokenizer, template, opens):
    result = rendered(tokenizer, template, opens=opens)
    assert result == Rendered(tokenizer.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=opens))


USER = "{% for m in messages %}<u>{{ m.content }}</u>{% endfor %}"
OPENED = "{% if add_generation_prompt %}<a>{{ open }}{% endif %}"


@pytest.mark.parametrize(
    ("opened", "end"),
    [
        ("<think>\\n", "<a><think>\n\n</think>\n\n"),
        ("<think>", "<a><think>\n\n</think>\n\n"),
        ("<think>\\n\\n</think>\\n\\n", "<a><think>\n\n</think>\n\n"),
        ("<seed:think>", "<a><seed:think>\n\n</seed:think>\n\n"),
        ("<THINK>\\n", "<a><THINK>\n\n</THINK>\n\n"),
        ("<reason>", "<a><reason>\n\n</reason>\n\n"),
        ("<thoughts>", "<a><thoughts>\n\n</thoughts>\n\n"),
        ("[THINK]", "<a>[THINK][/THINK]"),
        ("[THINK][/THINK]", "<a>[THINK][/THINK]"),
        ("<|START_THINKING|>", "<a><|START_THINKING|><|END_THINKING|>"),
        ("<|begin_of_thought|>\\n\\n", "<a><|begin_of_thought|>\n\n<|end_of_thought|>\n\n"),
        ("<|think|>", "<a><|think|><|/think|>"),
        ("◁think▷", "<a>◁think▷◁/think▷"),
    ],
)
def test_a_reasoning_block_before_the_answer_is_left_empty_and_closed(tokenizer, opened, end):
    result = rendered(tokenizer, USER + OPENED.replace("{{ open }}", "{{ '" + opened + "' }}"))
    assert result.text.endswith(end) and opened.startswith(result.reasoning) and result.reasoning
    closed = rendered(tokenizer, USER + OPENED.replace("{{ open }}", "{{ '" + opened + "' }}"), opens=False)
    assert closed.text.endswith("</u>") and not closed.reasoning


@pytest.mark.parametrize(
    "opened", ["<think|>", "<|think>", "[think>", "<rethink>", "<|channel|>analysis<|message|>", "<a>"]
)
def test_what_is_not_a_reasoning_block_is_left_alone(tokenizer, opened):
    result = rendered(tokenizer, USER + OPENED.replace("{{ open }}", "{{ '" + opened + "' }}"))
    assert result.text.endswith("<a>" + opened) and not result.reasoning


def test_instructions_about_thinking_do_not_open_a_block(tokenizer):
    system = "Think between [THINK] and its end. <think>" + USER + "{% if add_generation_prompt %}<a>{% endif %}"
    result = rendered(tokenizer, system)
    assert result.text.endswith("</u><a>") and not result.reasoning


def test_a_template_is_asked_not_to_reason_and_thoughts_of_earlier_turns_are_left_alone(tokenizer):
    asked = (
        USER
        + "{% if add_generation_prompt %}<a>{% if enable_thinking is false %}ok{% else %}<think>{% endif %}{% endif %}"
    )
    assert rendered(tokenizer, asked).text.endswith("<a>ok")
    earlier = USER.replace("<u>", "<u><think>x</think>") + "{% if add_generation_prompt %}<a>{% endif %}"
    result = rendered(tokenizer, earlier)
    assert result.text.endswith("</u><a>") and not result.reasoning


def test_a_base_that_would_reason_answers_after_the_closed_block(tmp_path, base_folder, capsys):
    folder = tmp_path / "thinker"
    shutil.copytree(base_folder, folder)
    (folder / "chat_template.jinja").write_text(USER + "{% if add_generation_prompt %}<a><think>\n{% endif %}")
    lm = load_reader(Base(str(folder)), folder, template="chat")
    assert lm.tokenizer.decode(lm.suffix).endswith("<think>\n\n</think>\n\n")
    assert "has a reasoning block (<think>) before the answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("{{ raise_exception('roles must alternate') }}", "TemplateError: roles must alternate"),
        ("{% for m in messages %}", "TemplateSyntaxError: Unexpected end of template"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError: access to attribute '__class__'"),
        ("{% set ns = namespace() %}{% set ns._x = 1 %}", "SecurityError: a namespace can't have the attribute '_x'"),
        ("{{ messages.append(1) }}", "SecurityError: "),
        ("{{ messages[0].nothing.more }}", "UndefinedError: "),
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError: "),
        ("{% include 'x' %}", "TypeError: no loader"),
        ({"a": "x", "b": "y"}, "This model has multiple chat templates"),
    ],
)
def test_what_a_template_throws_is_one_line(tokenizer, template, fault):
    result = rendered(tokenizer, template)
    assert result.fault.startswith(fault) and not result.text and "\n" not in result.fault


LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}"
CALLS = "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"
DOUBLES = "{% set ns = namespace(x='a') %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
ITEMS = "{% set ns = namespace(x=[1]) %}{% for i in range(40) %}{% set ns.x = ns.x + ns.x %}{% endfor %}"


@pytest.mark.parametrize("template", [LOOPS, CALLS, "{{ 7 ** (7 ** 12) }}"], ids=["loops", "calls", "power"])
def test_a_template_that_does_not_end_is_refused(tokenizer, monkeypatch, template):
    monkeypatch.setattr(chat_template, "SECONDS", 1)
    with pytest.raises(
        ModelError, match=r"(?s)a chat template exceeds its limits.*base x.*processor time.*template: plain"
    ):
        rendered(tokenizer, template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 9000000000 }}",
        "{{ 'a'.center(9000000000) }}",
        "{{ '%9000000000d' % 1 }}",
        DOUBLES,
        ITEMS,
        "{{ 'a' * 2000000 }}",
    ],
)
def test_a_template_that_fills_the_memory_is_refused(tokenizer, template):
    with pytest.raises(ModelError, match=r"(?s)a chat template exceeds its limits.*of memory"):
        rendered(tokenizer, template)


def test_memory_has_a_limit_where_the_system_has_none(tokenizer, monkeypatch):
    monkeypatch.setattr(chat_template, "_HAS_ADDRESS_LIMIT", False)
    monkeypatch.setattr(chat_template, "BYTES", 96 * 2**20)
    grows = (
        "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = ns.x + ['a' * 10000 ~ i] %}{% endfor %}"
    )
    with pytest.raises(ModelError, match=r"(?s)exceeds its limits.*96 MB of memory"):
        rendered(tokenizer, grows)


def test_a_template_is_rendered_once(tokenizer, monkeypatch):
    first = rendered(tokenizer, CHATML)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("rendered again"))
    assert rendered(tokenizer, CHATML) == first


def test_a_template_that_hangs_only_on_an_answer_is_refused_when_the_base_is_read(tmp_path, base_folder, monkeypatch):
    monkeypatch.setattr(chat_template, "SECONDS", 1)
    folder = shutil.copytree(base_folder, tmp_path / "able")
    turn = "{% for m in messages %}{{ m.content }}{% endfor %}{% if messages | length > 1 %}" + LOOPS + "{% endif %}"
    (folder / "chat_template.jinja").write_text(turn)
    started = time.process_time()
    with pytest.raises(ModelError, match="exceeds its limits"):
        load_reader(Base("able"), tmp_path, template="chat")
    assert time.process_time() - started < 20


def test_a_long_template_is_read_as_a_whole(tokenizer):
    tokenizer.chat_template = "{# " + "x" * 200_000 + " #}{{ messages[0].content }}"
    assert render(tokenizer, [{"role": "user", "content": "a"}], opens=False, where="base x").text == "a"


def test_half_of_a_surrogate_pair_is_a_fault(tokenizer):
    tokenizer.chat_template = r"{{ '\ud800' }}"
    rendered = render(tokenizer, [{"role": "user", "content": "a"}], opens=False, where="base x")
    assert rendered == Rendered("", "the text has half of a surrogate pair, which is not a character")
    tokenizer.chat_template = r"{{ '\ud83d\ude00' }}"  # joined by JSON
    assert render(tokenizer, [{"role": "user", "content": "a"}], opens=False, where="base x").text == "\U0001f600"
