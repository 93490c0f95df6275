import pytest

from rungwise.core.errors import ModelError
from rungwise.core.records import Base
from rungwise.model.frames import answer_tokens, frames_of, solved_tokens, stop_text, text_tokens, writer
from rungwise.model.language_model import load_reader

CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture
def lm(base_folder):
    """A reader; a test may give its tokenizer a chat template."""
    return load_reader(Base(str(base_folder)), base_folder)


def test_a_plain_prompt_has_an_empty_line_after_each_answer(lm):
    (frame,) = frames_of(lm, "auto")
    (one,) = solved_tokens(lm, frame, ["Hello\nQueue:"], ["billing"])
    assert lm.tokenizer.decode(one) == "Hello\nQueue: billing\n\n"
    (answer,) = answer_tokens(lm, frame, ["billing"])
    assert answer[-1] == frame.end and lm.tokenizer.decode(answer).startswith(" billing\n")
    assert writer(lm, frame).end == frame.end != lm.end


def test_a_chat_has_each_example_as_two_messages(lm):
    lm.tokenizer.chat_template = CHAT
    chat, plain = frames_of(lm, "auto")
    assert (chat.template, plain.template) == ("chat", "plain")
    assert frames_of(lm, "chat") == (chat,) and frames_of(lm, "plain") == (plain,)
    solved = [t for one in solved_tokens(lm, chat, ["Hi", "Ho"], ["a", "b"]) for t in one]
    whole = [*chat.before, *solved, *text_tokens(lm, ["Hm"])[0], *chat.asking]
    turns = [("user", "Hi"), ("assistant", "a"), ("user", "Ho"), ("assistant", "b"), ("user", "Hm")]
    messages = [{"role": role, "content": content} for role, content in turns]
    wanted = lm.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert lm.tokenizer.decode(whole) == wanted
    assert chat.end == lm.tokenizer.convert_tokens_to_ids("<|end|>")


def test_a_row_can_not_end_a_turn(lm):
    assert lm.end not in text_tokens(lm, ["<|end|>"])[0]


@pytest.mark.parametrize(
    "template",
    [
        None,
        "{{ raise_exception('roles must alternate') }}",
        "{% for m in messages %}{{ m['content'] }}{{ m['content'] }}<|end|>{% endfor %}",
        "{{ messages[0]['content'] }}<|end|>",
        "{{ messages[2]['content'] }}{{ messages[1]['content'] }}{{ messages[0]['content'] }}",
        "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    ],
)
def test_a_template_that_takes_no_conversation_is_left_out_or_an_error(lm, template):
    lm.tokenizer.chat_template = template
    assert [frame.template for frame in frames_of(lm, "auto")] == ["plain"]
    with pytest.raises(ModelError, match=r"(?s)can't show solved examples.*template: plain"):
        frames_of(lm, "chat")


def test_a_written_answer_ends_where_the_next_row_would_begin(lm):
    lm.tokenizer.chat_template = CHAT
    chat, plain = frames_of(lm, "auto")
    assert stop_text(plain, "Mail: {body}\nReply:", ["one line", "another\n"]) == "\n"
    assert stop_text(plain, "Mail: {body}\nReply:", ["two\nlines"]) == "\n\nMail:"
    assert stop_text(plain, "{body}\nReply:", ["two\nlines"]) == ""
    assert stop_text(chat, "Mail: {body}\nReply:", ["one line"]) == ""
