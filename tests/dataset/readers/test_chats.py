import json

import pytest

from rungwise.dataset.readers import Row
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


def test_formats_in_csv_and_broken_formats(tmp_path):
    assert read(tmp_path, "instruction,input,output\nSort,b a,a b\n", needed=CHAT) == [
        Row(2, {"prompt": "Sort\n\nb a", "completion": "a b"})
    ]
    broken = ({"messages": "hi"}, {"messages": ["hi"]}, {"messages": [{"role": "cat", "content": ""}]},
              {"messages": [{"role": "user", "content": {"a": 1}}]})  # fmt: skip
    result = read(tmp_path, "\n".join(json.dumps(row) for row in broken), "x.jsonl", CHAT)
    assert [r.reason for r in result] == ["bad_shape"] * 4
