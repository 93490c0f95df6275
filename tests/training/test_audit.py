from dataclasses import replace
from typing import get_args

import pytest
import torch

from rungwise.core.errors import TrainingError
from rungwise.core.faults import LIMITS, Fault
from rungwise.core.records import Base
from rungwise.model.language_model import load
from rungwise.training.audit import MEANINGS, audit, check
from rungwise.training.batches import encode
from tests.conftest import examples

PROMPT = "Mail:\n{body}\nQueue:"


@pytest.fixture
def lm(base_folder):
    return load(Base(str(base_folder)), base_folder)


@pytest.fixture
def rows(lm):
    return encode(lm, PROMPT, examples(40))


def test_clean_rows_have_no_faults(lm, rows):
    actual = audit(lm, rows)
    assert not actual.faults and actual.rows == 40
    assert actual.loss_share == pytest.approx(sum(len(r.targets) for r in rows) / actual.tokens, abs=1e-6)


def test_an_empty_answer_that_is_meant_is_not_a_fault(lm, rows):
    empty = replace(rows[0], answer="", targets=[lm.end])
    assert "empty_answer" not in audit(lm, [empty, *rows]).faults


def test_every_fault_has_a_limit_and_a_meaning():
    assert set(get_args(Fault)) == set(LIMITS) == set(MEANINGS)


def planted(lm, rows, fault):
    """Returns the model and the rows with one fault in the first of them."""
    row, context = rows[0], lm.context_tokens
    changed = {
        "no_target": replace(row, targets=[]),
        "empty_answer": replace(row, targets=[lm.end]),
        "cut_answer": replace(row, answer="billing", targets=[*_tokens(lm, " bil"), lm.end]),
        "no_end": replace(row, targets=row.targets[:-1]),
        "over_context": replace(row, prompt=[5] * (context - 1)),
        "prompt_over_context": replace(row, prompt=[5] * context),
        "lost_newlines": replace(row, prompt=_tokens(lm, row.prompt_text.replace("\n", " "))),
        "lost_characters": replace(row, prompt=_tokens(lm, row.prompt_text.replace("e", "\ufffd"))),
    }
    if fault in changed:
        if fault.endswith("over_context"):
            text = lm.tokenizer.decode(changed[fault].prompt)
            changed[fault] = replace(changed[fault], prompt_text=text)
        return lm, (changed[fault], *rows[1:])
    if fault == "unknown_tokens":
        lm.tokenizer.add_special_tokens({"unk_token": "<|unknown|>"})
        return lm, (replace(row, prompt=[lm.tokenizer.unk_token_id, *row.prompt[1:]]), *rows[1:])
    if fault == "pad_in_text":
        lm.tokenizer.pad_token = lm.tokenizer.convert_ids_to_tokens(int(row.prompt[3]))
        return lm, rows
    if fault == "untrained_end":
        with torch.no_grad():
            lm.model.get_output_embeddings().weight[lm.end] *= 0.001
        return lm, rows
    lm.tokenizer.chat_template = "{% for m in messages %}<u>{{ m['content'] }}{% endfor %}"
    return replace(lm, template="chat"), rows


def _tokens(lm, text):
    return list(lm.tokenizer(text, add_special_tokens=False).input_ids)


@pytest.mark.parametrize("fault", LIMITS)
def test_every_planted_fault_is_found_and_stops_the_run(lm, rows, fault, tmp_path):
    lm, faulty = planted(lm, rows, fault)
    actual = audit(lm, faulty)
    assert fault in actual.faults
    if fault not in ("untrained_end", "no_assistant_part", "pad_in_text"):
        implied = {"over_context"} if fault == "prompt_over_context" else set()
        assert (
            set(actual.faults) == {fault, *implied} and actual.faults[fault] == 1 / 40 and actual.where[fault] == (0,)
        )
    shown = tmp_path / "audit.txt"
    with pytest.raises(TrainingError, match=rf"(?s){fault}, .* of 40 rows.*{fault} at most 0.0%.*{shown}"):
        check(actual, lm, faulty, {name: float(name != fault) - 0.0 for name in LIMITS}, shown)
    assert ">>>" in shown.read_text() and "<<<" in shown.read_text()
    check(actual, lm, faulty, {name: 1.0 for name in LIMITS}, shown)


def test_the_message_has_no_text_of_a_row(lm, rows, tmp_path):
    faulty = (replace(rows[0], targets=[]), *rows[1:])
    with pytest.raises(TrainingError) as caught:
        check(audit(lm, faulty), lm, faulty, {}, tmp_path / "audit.txt")
    assert examples(40)[0].fields["body"] not in str(caught.value)
    assert examples(40)[0].fields["body"] in (tmp_path / "audit.txt").read_text()
