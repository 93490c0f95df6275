import json

import pytest

from rungwise.dataset.readers import Row, is_conversation
from tests.dataset.conftest import CHAT, read


@pytest.mark.parametrize(
    ("row", "prompt", "completion"),
    [
        ({"prompt": "a", "completion": "b"}, "a", "b"),
        ({"instruction": "Sort", "input": "b a", "output": "a b"}, "Sort\n\nb a", "a b"),
        ({"instruction": "Sing", "input": "", "output": "la"}, "Sing", "la"),
        ({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}, "hi", "ho"),
        (
            {
                "messages": [
                    {"role": "system", "content": "Be kind."},
                    {"role": "user", "content": [{"type": "text", "text": "weather?"}]},
                    {"role": "assistant", "content": None, "tool_calls": [{"name": "w"}]},
                    {"role": "tool", "content": "rain"},
                    {"role": "assistant", "content": "It rains."},
                ]
            },
            'System: Be kind.\nUser: weather?\nAssistant: [{"name": "w"}]\nTool: rain',
            "It rains.",
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "cook"},
                    {"from": "function_call", "value": "{}"},
                    {"from": "observation", "value": "soup"},
                    {"from": "gpt", "value": "Soup!"},
                ]
            },
            "User: cook\nAssistant: {}\nTool: soup",
            "Soup!",
        ),
        (
            {"prompt": [{"role": "user", "content": "hi"}], "completion": [{"role": "assistant", "content": "ho"}]},
            "hi",
            "ho",
        ),
        ({"messages": [{"role": "user", "content": "hi"}]}, "hi", None),
    ],
)
def test_common_formats_become_a_prompt_and_a_completion(tmp_path, row, prompt, completion):
    expected = [Row(1, {"prompt": prompt, "completion": completion})]
    assert read(tmp_path, json.dumps(row) + "\n", "x.jsonl", CHAT) == expected
    assert read(tmp_path, json.dumps([row]), "x.json", CHAT) == expected


ASKED = [{"role": "user", "content": "hi"}]
ANSWERED = [{"role": "assistant", "content": "ho"}]


@pytest.mark.parametrize(
    ("row", "prompt", "completion"),
    [
        ({"prompt": "hi", "chosen": "ho", "rejected": "no"}, "hi", "ho"),
        ({"prompt": ASKED, "chosen": ANSWERED, "rejected": "no"}, "hi", "ho"),
        ({"prompt": "hi", "chosen": [*ASKED, *ANSWERED], "rejected": []}, "hi", "ho"),
        ({"system": "Be kind.", "prompt": "hi", "chosen": "ho", "rejected": ""}, "System: Be kind.\nUser: hi", "ho"),
        (
            {"chosen": "\n\nHuman: hi\n\nAssistant: ho\n\nHuman: why?\n\nAssistant: so", "rejected": "x"},
            "User: hi\nAssistant: ho\nUser: why?",
            "so",
        ),
        ({"prompt": "hi", "prompt_id": "1", "messages": [*ASKED, *ANSWERED]}, "hi", "ho"),
        ({"conversations": ["hi", "ho"]}, "hi", "ho"),
        ({"system": "", "question": "hi", "chosen": "ho", "rejected": "no"}, "hi", "ho"),
        ({"instruction": "hi", "input": "you", "chosen": "ho", "rejected": "no"}, "hi\n\nyou", "ho"),
        (
            {
                "conversations": [{"from": "human", "value": "hi"}],
                "chosen": {"from": "gpt", "value": "ho"},
                "rejected": {},
            },
            "hi",
            "ho",
        ),
        ({"instruction": "hi", "context": "", "response": "ho", "category": "qa"}, "hi", "ho"),
        ({"instruction": "hi", "context": "you", "response": "ho"}, "hi\n\nyou", "ho"),
        ({"system_prompt": "Be kind.", "question": "hi", "response": "ho"}, "System: Be kind.\nUser: hi", "ho"),
        (
            {
                "messages": [*ASKED, *ANSWERED, {"role": "user", "content": "x"}]
                + [{"role": "assistant", "content": "no", "weight": 0}]
            },
            "hi",
            "ho",
        ),
        (
            {"messages": [*ASKED, {"role": "assistant", "content": [{"type": "tool_use", "name": "f"}]}]},
            "hi",
            '{"name": "f", "type": "tool_use"}',
        ),
        ({"messages": [*ASKED, *ANSWERED, {"role": "user", "content": "thanks"}]}, "hi", "ho"),
    ],
)
def test_preferences_texts_in_turn_and_a_prompt_next_to_a_chat(tmp_path, row, prompt, completion):
    expected = [Row(1, {"prompt": prompt, "completion": completion})]
    assert read(tmp_path, json.dumps(row) + "\n", "x.jsonl", CHAT) == expected


@pytest.mark.parametrize(
    ("said", "prompt"),
    [
        ([{"human": "hi", "assistant": "ho"}], "hi"),
        ([{"system": "Be kind.", "input": "hi", "output": "ho"}], "System: Be kind.\nUser: hi"),
        ([{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "ho"}]}], "hi"),
        ("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nho<|im_end|>\n", "hi"),
        (
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nho",
            "System: Be kind.\nUser: hi",
        ),
        (
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nho<|eot_id|>",
            "hi",
        ),
        ("<bos><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\nho<end_of_turn>\n", "hi"),
        ("<|user|>\nhi</s>\n<|assistant|>\nho</s>", "hi"),
        ("<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nhi [/INST] ho </s>", "System: Be kind.\nUser: hi"),
        ("### Human: hi### Assistant: ho", None),
        ("### Human: hi\n### Assistant: ho", "hi"),
        ("### Instruction:\nhi\n\n### Input:\nyou\n\n### Response:\nho", "hi\n\nyou"),
    ],
)
def test_a_column_that_the_source_names_has_conversations(tmp_path, said, prompt):
    expected = [Row(1, {"prompt": prompt, "completion": "ho"})]
    got = read(tmp_path, json.dumps({"talk": said}) + "\n", "x.jsonl", CHAT, chat="talk")
    assert got == expected or (prompt is None and got[0].reason == "bad_shape")


@pytest.mark.parametrize(
    "text",
    [
        "Dear User: hello",
        "a ### Human: b",
        "### Response: a ### Input: b",
        "[INST] only asked",
        "Human: hi Assistant: ho",
    ],
)
def test_a_text_with_words_of_a_template_is_not_a_conversation(text):
    assert not is_conversation(text)


def test_formats_in_csv_and_broken_formats(tmp_path):
    assert read(tmp_path, "instruction,input,output\nSort,b a,a b\n", needed=CHAT) == [
        Row(2, {"prompt": "Sort\n\nb a", "completion": "a b"})
    ]
    broken = ({"messages": "hi"}, {"messages": ["hi"]}, {"messages": [{"role": "cat", "content": ""}]},
              {"messages": [{"role": "user", "content": {"a": 1}}]},
              {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]})  # fmt: skip
    result = read(tmp_path, "\n".join(json.dumps(row) for row in broken), "x.jsonl", CHAT)
    assert [r.reason for r in result] == ["bad_shape"] * 5
