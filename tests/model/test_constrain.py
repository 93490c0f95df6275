"""What a constraint allows equals what brute force allows, and untrained models write only valid answers."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rungwise.core.errors import ModelError
from rungwise.core.prompts import list_text, object_text, parse_list, parse_object
from rungwise.core.records import AnswerForm, AttemptSpec, Base, Example
from rungwise.model import constrain
from rungwise.model.answers import write_answers
from rungwise.model.constrain import Guide, choose, constraint_of
from rungwise.model.language_model import encode_answers, encode_prompts, load
from rungwise.model.predict import Prompted
from tests.conftest import planted_rows

pytest.importorskip("llguidance")

LABELS = ("a", "ab", "a b", 'say "x"', "back\\slash", "two\nlines", "中文", "😀")
FORM = AnswerForm(
    "json",
    keys=("queue", "items", "reply"),
    fields={"items": AnswerForm("list"), "queue": AnswerForm("label", LABELS), "reply": AnswerForm("text")},
)
CLOSED = AnswerForm("list", ("a", "a b", "ab", "中文", "(x)"))
ANSWERS = [
    object_text({"queue": queue, "items": items, "reply": reply})
    for queue, items, reply in zip(
        itertools.cycle(LABELS),
        itertools.cycle([["one"], ["one", "two words"], [], ["中文", '"'], ["\\", "\t"]]),
        ["Hello, Eve", "", "two\nlines", "您好，谢谢", "😀👍🏽", 'a "quote" \\ and / and \x01', "\u2028 \x7f", "Grüße"],
        strict=False,
    )
]


@pytest.fixture(scope="module")
def lm(base_folder):
    return load(Base(str(base_folder)), base_folder)


@pytest.fixture(scope="module")
def sentencepiece(shared):
    """A model with a tokenizer of sentencepiece's kind, with byte fallback."""
    return load(Base(str(shared / "models" / "stories260k")), Path("."))


@pytest.fixture(scope="module", params=["byte-level", "byte-level, chat", "sentencepiece"])
def any_lm(request, lm):
    if request.param == "sentencepiece":
        return request.getfixturevalue("sentencepiece")
    return replace(lm, template="chat", suffix=(5, 6)) if "chat" in request.param else lm


class Noise:
    """A model whose next token is random, also any special token, and the same in any batch."""

    def __init__(self, inner, seed, liked=(), strength=0.0):
        self.inner, self.seed, self.liked, self.strength = inner, seed, list(liked), strength
        self.config = inner.config

    def __call__(self, **inputs):
        out = self.inner(**inputs)
        places = inputs["position_ids"][:, -1].tolist()
        for row, place in enumerate(places):
            draw = torch.Generator().manual_seed(1000 * self.seed + place)
            out.logits[row, -1] = torch.randn(out.logits.shape[-1], generator=draw)
            out.logits[row, -1, self.liked] += self.strength
        return out


def written_by(lm, form, n_prompts=20, max_tokens=60, *, model):
    prompts = [[5] * n for n in range(1, n_prompts + 1)]
    return write_answers(replace(lm, model=model), prompts, max_tokens, constraint=constraint_of(lm, form))


def is_valid(text):
    values = parse_object(FORM, text)
    return values is not None and values["queue"] in LABELS and object_text(values) == text


def test_a_random_model_writes_only_valid_objects(any_lm):
    noisy = Noise(any_lm.model, 1)
    free = write_answers(replace(any_lm, model=noisy), [[5] * n for n in range(1, 21)], 60)
    assert not any(is_valid(w.text) for w in free)
    actual = written_by(any_lm, FORM, model=noisy)
    assert all(is_valid(w.text) for w in actual)
    assert len({w.text for w in actual}) > 10


def test_an_untrained_model_writes_only_valid_objects(lm):
    constraint = constraint_of(lm, FORM)
    prompts = encode_prompts(lm, [text + "\nQueue:" for text, _ in planted_rows(12)])
    actual = write_answers(lm, prompts, 40, constraint=constraint)
    assert all(is_valid(w.text) for w in actual)
    one_by_one = [write_answers(lm, [prompt], 40, constraint=constraint)[0] for prompt in prompts]
    assert [w.text for w in one_by_one] == [w.text for w in actual]


@pytest.mark.parametrize("extra", [0, 1, 2, 3, 5, 9, 20])
def test_an_answer_that_reaches_its_limit_is_closed_and_counts_as_cut(any_lm, extra):
    constraint, limit = constraint_of(any_lm, FORM), constraint_of(any_lm, FORM).min_tokens + extra
    for seed in range(6):
        # tokens of several bytes, parts of characters and escapes are likely, the end of a string is not
        liked = [i for i in range(len(any_lm.tokenizer)) if b'"' not in constraint.bytes_of([i])]
        model = replace(any_lm, model=Noise(any_lm.model, seed, liked, strength=3.0 * (seed % 3)))
        prompts = [[5] * n for n in range(1, 9)]
        for w in write_answers(model, prompts, limit, constraint=constraint):
            assert is_valid(w.text)
            assert len(encode_answers(any_lm, [w.text])[0]) <= limit + 8  # the tokenizer's own split may be longer


def test_a_model_that_never_ends_is_cut(lm):
    never = Noise(lm.model, 3, [lm.tokenizer.encode("a")[0]], strength=100.0)
    actual = written_by(lm, FORM, model=never, n_prompts=3, max_tokens=60)
    assert all(w.is_cut and is_valid(w.text) for w in actual)
    values = parse_object(FORM, actual[0].text)
    assert str(values["queue"]).startswith("a")
    ending = Noise(lm.model, 3, encode_answers(lm, ['"}'])[0], strength=100.0)
    actual = written_by(lm, FORM, model=ending, n_prompts=3, max_tokens=200)
    assert not any(w.is_cut for w in actual)


def test_the_limit_is_kept_to_the_token(lm):
    """The number of forward passes is the number of tokens."""
    constraint = constraint_of(lm, FORM)
    for limit in range(constraint.min_tokens, constraint.min_tokens + 12):
        calls: list[int] = []
        noisy = Noise(lm.model, limit, [lm.tokenizer.encode("a")[0]], strength=100.0)
        model = replace(lm, model=lambda noisy=noisy, calls=calls, **inputs: calls.append(1) or noisy(**inputs))
        (w,) = write_answers(model, [[5, 6]], limit, constraint=constraint)
        assert len(calls) <= limit and is_valid(w.text) and w.is_cut


def test_too_low_a_limit_is_raised_to_the_shortest_answer(lm):
    spec = AttemptSpec(base=lm.base, method="prompt", prompt="{body}", form=FORM, constrained=True)
    (prediction,) = Prompted(lm, spec, 1).predict([Example("1", {"body": "x"}, "", "s", 1, "g")])
    assert is_valid(prediction.answer) and prediction.is_cut
    free = replace(spec, constrained=False)
    (prediction,) = Prompted(lm, free, 1).predict([Example("1", {"body": "x"}, "", "s", 1, "g")])
    assert not is_valid(prediction.answer)


def test_closed_lists(any_lm):
    actual = written_by(any_lm, CLOSED, max_tokens=12, model=Noise(any_lm.model, 4))
    for w in actual:
        assert set(parse_list(w.text, ";")) <= set(CLOSED.labels)
        assert "; ".join(parse_list(w.text, ";")) == w.text or len(set(w.text.split("; "))) < len(w.text.split("; "))
    assert len({w.text for w in actual}) > 3


def test_training_answers_are_accepted_token_by_token(any_lm):
    constraint = constraint_of(any_lm, FORM)
    for answer, tokens in zip(ANSWERS, encode_answers(any_lm, ANSWERS), strict=True):
        assert constraint.accepts(tokens), answer
        assert not constraint.accepts(tokens[:-1]) and not constraint.accepts(tokens[:-2] + tokens[-1:])
    others = ['{"queue":"a", "items": [], "reply": ""}', '{"queue": "b", "items": [], "reply": ""}', ""]
    assert not any(constraint.accepts(tokens) for tokens in encode_answers(any_lm, others))
    lists = [list_text(items, ";") for items in itertools.permutations(CLOSED.labels, 3)]
    assert all(constraint_of(any_lm, CLOSED).accepts(tokens) for tokens in encode_answers(any_lm, lists))


def triage(rows):
    """The demonstration's triage task: its form, and its answers as ingest writes them."""
    rows = [row for row in rows if all(row[key] for key in ("queue", "keywords", "reply"))]
    queues = tuple(sorted({row["queue"] for row in rows}))
    fields = {"queue": AnswerForm("label", queues), "keywords": AnswerForm("list"), "reply": AnswerForm("text")}
    answers = [
        object_text({"queue": r["queue"], "keywords": parse_list(r["keywords"], ";"), "reply": r["reply"]})
        for r in rows
    ]
    return AnswerForm("json", fields=fields, keys=tuple(fields)), answers


def test_every_answer_of_the_demonstrations_triage_is_accepted(lm, request):
    import csv

    from tests.conftest import REPOSITORY

    with (REPOSITORY / "infra" / "demo" / "tickets.csv").open(encoding="utf-8", newline="") as stream:
        form, answers = triage(list(csv.DictReader(stream)))
    answers = sorted(set(answers))
    assert len(answers) > 500
    pocket = load(Base(str(REPOSITORY / "infra" / "demo" / "models" / "pocket-s")), REPOSITORY)
    for model in (lm, pocket):
        constraint = constraint_of(model, form)
        assert all(constraint.accepts(tokens) for tokens in encode_answers(model, answers))


def test_a_mask_equals_brute_force(lm):
    """All valid answers with texts of up to two characters are enumerated from values, by json.dumps alone."""
    alphabet, labels = [*'ab"\\\n\bn中 ,:[]}'], ("a", "ab", '"')
    form = AnswerForm("json", keys=("t", "l"), fields={"l": AnswerForm("list", labels), "t": AnswerForm("text")})
    texts = ["".join(chars) for n in range(3) for chars in itertools.product(alphabet, repeat=n)]
    lists = [list(items) for n in range(3) for items in itertools.product(labels, repeat=n)]

    def begun_by(texts, lists):
        whole = {(" " + json.dumps({"t": t, "l": x}, ensure_ascii=False)).encode() for t in texts for x in lists}
        return whole, {text[:at] for text in whole for at in range(len(text) + 1)}

    valid, begun = begun_by(texts, lists)
    # checked where one more character and one more item are enumerated, too
    _, checked = begun_by([t for t in texts if len(t) <= 1], [x for x in lists if len(x) <= 1])
    constraint = constraint_of(lm, form)
    # tokens that write at most one character of the alphabet, so that an allowed one stays within two characters
    vocabulary = {i: constraint.bytes_of([i]) for i in range(len(lm.tokenizer)) if i not in constraint.ends}
    parts = {json.dumps(c, ensure_ascii=False)[1:-1].encode() for c in alphabet}
    pieces = {part[i:j] for part in parts for i in range(len(part)) for j in range(i + 1, len(part) + 1)}
    tokens = {
        i: text for i, text in vocabulary.items() if text in pieces | {b'"', b", ", b": ", b"[", b"]", b"}", b" "}
    }
    assert len(tokens) > 10
    assert len(checked) > 300
    for text in sorted(checked):
        guide = Guide(constraint, 10_000)
        for token in constraint.tokenizer.tokenize_bytes(text) if text else ():
            assert guide.allows(token) and guide.take(token) == token
        bits = guide.mask()
        allowed = {i for i in tokens if bits[i // 8] >> (i % 8) & 1}
        assert allowed == {i for i in tokens if guide.allows(i)}
        if not text.endswith((b"\xe4", b"\xe4\xb8")):  # other characters begin like this one, too
            assert allowed == {i for i, piece in tokens.items() if text + piece in begun}, text
        assert guide.allows(lm.end) == (text in valid) == bool(bits[lm.end // 8] >> (lm.end % 8) & 1)


def test_a_token_is_the_likeliest_of_those_allowed_and_keeps_the_models_own_probability(lm):
    constraint = constraint_of(lm, CLOSED)
    logp = torch.log_softmax(torch.randn(3, len(lm.tokenizer), generator=torch.Generator().manual_seed(1)), dim=-1)
    best = logp.argmax(1).tolist()
    guides = [Guide(constraint, 50) for _ in best]
    allowed = [[i for i in range(logp.shape[1]) if guide.allows(i)] for guide in guides]
    assert choose(guides, logp, best) == [
        max(can, key=lambda i: float(logp[row, i])) for row, can in enumerate(allowed)
    ]

    noisy = Noise(lm.model, 8)
    (w,) = write_answers(replace(lm, model=noisy), [[5, 6, 7]], 40, constraint=constraint)
    ids = encode_answers(lm, [w.text])[0]
    total, tokens = 0.0, []
    guide, given = Guide(constraint, 40), [5, 6, 7]
    while True:
        place = len(given) - 1
        scores = torch.randn(len(lm.tokenizer), generator=torch.Generator().manual_seed(8000 + place))
        can = [i for i in range(len(scores)) if guide.allows(i)]
        token = guide.take(max(can, key=lambda i: float(scores[i])))
        total += float(scores.log_softmax(-1)[token])
        if token == lm.end:
            break
        tokens.append(token)
        given.append(token)
    assert ids and w.text == constraint.bytes_of(tokens).decode().strip()
    assert w.probability == pytest.approx(math.exp(total / (len(tokens) + 1)), abs=1e-5)


def test_a_model_that_writes_valid_answers_writes_the_same_without_a_constraint(lm):
    """With answers forced token by token, both ways give the same text and probability."""
    answer = encode_answers(lm, [ANSWERS[3]])[0]

    class Knowing(Noise):
        def __call__(self, **inputs):
            out = self.inner(**inputs)
            place = int(inputs["position_ids"][0, -1]) - 2
            out.logits[:, -1, answer[place]] = 50.0
            return out

    model = replace(lm, model=Knowing(lm.model, 0))
    (free,) = write_answers(model, [[5, 6, 7]], len(answer))
    (bound,) = write_answers(model, [[5, 6, 7]], len(answer), constraint=constraint_of(lm, FORM))
    assert free == bound and free.text == ANSWERS[3] and not free.is_cut


def test_logits_wider_or_narrower_than_the_tokenizer(lm):
    constraint = constraint_of(lm, CLOSED)
    for width in (len(lm.tokenizer) + 77, 300):
        logp = torch.zeros(1, width)
        logp[0, -1] = 1.0
        (token,) = choose([Guide(constraint, 50)], logp, [width - 1])
        assert constraint.bytes_of([token]) == b" "


def test_a_machine_without_the_library_gets_a_clear_error(lm, monkeypatch):
    monkeypatch.setattr(constrain, "find_spec", lambda name: None)
    constrain._tokenizer.cache_clear()
    with pytest.raises(ModelError, match=r"(?s)no package llguidance.*constrained: false"):
        constraint_of(lm, FORM)


def test_a_tokenizer_that_is_not_supported_is_an_error(lm):
    class Slow:
        """Not a fast tokenizer."""

    with pytest.raises(ModelError, match=r"(?s)can't be constrained.*Slow.*constrained: false"):
        constraint_of(replace(lm, tokenizer=Slow()), FORM)


def test_a_tokenizer_without_the_required_characters_is_an_error(lm):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = {"<|end|>": 0, "Ġ": 1, "x": 2, "a": 3, "{": 4}
    few = Tokenizer(models.BPE(vocab=known, merges=[]))
    few.pre_tokenizer, few.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=few, eos_token="<|end|>")
    with pytest.raises(ModelError, match=r"(?s)can't write answers of this form.*constrained: false"):
        constraint_of(replace(lm, tokenizer=tokenizer, end=0), FORM)
    # an answer that begins well and can't continue
    constraint = constraint_of(replace(lm, tokenizer=tokenizer, end=0), AnswerForm("list", ("b",)))
    guide = Guide(constraint, 50)
    assert guide.take(1) == 1
    with pytest.raises(ModelError, match="no token can continue"):
        choose([guide], torch.zeros(1, 5).index_fill(1, torch.tensor([0]), -math.inf), [2])


def test_an_error_of_the_library_is_raised(lm):
    guide = Guide(constraint_of(lm, FORM), 50)
    guide._matcher.consume_token(lm.tokenizer.encode("x")[0])
    with pytest.raises(ModelError, match="can't be constrained any further"):
        guide.mask()
