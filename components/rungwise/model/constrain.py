"""Answers that follow their form while they are written: which token may come next, by the library llguidance.

A constraint is one grammar for one tokenizer. Each row has a guide, which takes the model's likeliest token if the
grammar allows it, and otherwise the likeliest token that it allows. A guide also keeps enough tokens to complete the
answer: an answer that reaches its token limit is closed at its shortest, and still counts as cut.
llguidance: https://github.com/guidance-ai/llguidance (MIT).

Shape letters: B rows, R rows whose likeliest token is refused, V vocabulary.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from rungwise.core.errors import ModelError, Problem
from rungwise.core.grammar import Fixed, Grammar, grammar_of
from rungwise.core.records import AnswerForm
from rungwise.core.texts import number_of
from rungwise.model.language_model import LanguageModel, encode_answers


def is_installed() -> bool:
    """Whether this machine has the library that constrained answers require."""
    return find_spec("llguidance") is not None


@dataclass(frozen=True)
class Constraint:
    """A grammar for one base's tokenizer."""

    grammar: Grammar
    """What may be written after the prompt, with the white space before the answer."""
    tokenizer: Any
    """llguidance's tokenizer."""
    start: Any
    """The matcher of an empty answer; it is copied and never changes."""
    ends: frozenset[int]
    """The tokens that end an answer; allowed where the grammar is complete."""

    @functools.cached_property
    def min_tokens(self) -> int:
        """Number of tokens of the shortest answer, with its end token."""
        return len(self.closing(b"")) + 1

    @functools.cached_property
    def longest_closing(self) -> int:
        """Upper bound of the tokens that close an answer: a token has at least one byte."""
        return self.grammar.longest_closing

    def closing(self, written: bytes) -> list[int]:
        """Returns the tokens that complete an answer at its shortest."""
        rest = self.grammar.closing(written)
        return list(self.tokenizer.tokenize_bytes(rest)) if rest else []

    def bytes_of(self, tokens: Sequence[int]) -> bytes:
        """Returns the bytes that tokens write."""
        return bytes(self.tokenizer.decode_bytes(list(tokens)))

    def accepts(self, tokens: Sequence[int]) -> bool:
        """Whether these tokens, the last of which ends the answer, are an answer that the grammar allows."""
        matcher, written = self.start.deep_copy(), list(tokens[:-1])
        return (
            tokens[-1] in self.ends
            and matcher.try_consume_tokens(written) == len(written)
            and bool(matcher.is_accepting())
        )


class Guide:
    """The state of one answer while it is written: it knows which tokens may come next, and how many are left."""

    def __init__(self, constraint: Constraint, max_tokens: int) -> None:
        """Begins an answer of at most `max_tokens` tokens, which must be at least `constraint.min_tokens`."""
        self._constraint, self._left = constraint, max_tokens
        self._matcher: Any = constraint.start.deep_copy()
        self._written = b""
        self._closing: list[int] = []
        self.is_closing = False
        """Whether the answer reached its limit and only the tokens that close it follow."""

    @property
    def is_closed(self) -> bool:
        """Whether the answer reached its limit and is complete."""
        return self.is_closing and not self._closing

    def mask(self) -> bytes:
        """Returns a bit for each token, the least significant first: whether it may come next.

        Raises:
            ModelError: the library gave up.
        """
        bits = bytes(self._matcher.compute_bitmask())
        if self._matcher.is_error():
            raise ModelError(
                Problem(
                    "an answer can't be constrained any further",
                    where=f"after {number_of(len(self._written), 'byte')} of the answer",
                    found="an error of llguidance",
                    do="set the answer's `constrained: false`, or use fewer labels",
                )
            )
        return bits

    def allows(self, token: int) -> bool:
        """Whether the token may come next."""
        if token in self._constraint.ends:
            return bool(self._matcher.is_accepting())
        return token < self._constraint.tokenizer.vocab_size and bool(self._matcher.validate_tokens([token]))

    def take(self, token: int) -> int | None:
        """Adds an allowed token to the answer, or the next of the tokens that close it if there is no room for more.

        Returns:
            The token that was added; None if the answer is complete and there is room for none.
        """
        self._left -= 1
        if not self.is_closing and token not in self._constraint.ends:
            written = self._written + self._constraint.bytes_of([token])
            if self._fits(written):
                self._matcher.consume_token(token)
                self._written = written
                return token
            self.is_closing = True
            self._closing = self._constraint.closing(self._written)
        if self.is_closing:
            return self._closing.pop(0) if self._closing else None
        return token

    def _fits(self, written: bytes) -> bool:
        """Whether the tokens that are left can complete the answer after `written`."""
        if self._left >= self._constraint.longest_closing:
            return True
        return len(self._constraint.closing(written)) <= self._left


def constraint_of(lm: LanguageModel, form: AnswerForm) -> Constraint:
    """Returns the constraint of a closed form (see `grammar.is_closed`) for a base.

    Raises:
        ModelError: the library is not installed, does not support the base's tokenizer, or the tokenizer can't write
            such answers.
    """
    ends = lm.ends
    tokenizer = _tokenizer(lm.tokenizer, ends)
    grammar = grammar_of(form)
    # what the tokens of every training answer begin with: a space, with some tokenizers another one
    before = bytes(tokenizer.decode_bytes(encode_answers(lm, ["x"])[0][:-1])).removesuffix(b"x").decode()
    grammar = Grammar((Fixed(before), *grammar.parts))
    constraint = Constraint(grammar, tokenizer, _matcher(tokenizer, grammar.regex), ends)
    if constraint.start.is_error() or not constraint.accepts([*constraint.closing(b""), lm.end]):
        raise ModelError(
            Problem(
                "a base's tokenizer can't write answers of this form",
                where=f"ladder: base {lm.base}",
                found="the shortest answer is not accepted" if not constraint.start.is_error() else "too many labels",
                wanted="tokens for every byte",
                do="set the answer's `constrained: false`, or choose another base",
            )
        )
    return constraint


def choose(guides: Sequence[Guide], logits_BV: torch.Tensor, likeliest: Sequence[int]) -> list[int | None]:
    """Returns the next token of each row: the likeliest that its guide allows; None if the answer is complete.

    Args:
        guides: one for each row; they move on.
        logits_BV: logits of the next token.
        likeliest: each row's likeliest token. In a trained model it is nearly always allowed, so that the masks of
            whole vocabularies are computed for few rows.
    """
    tokens = list(likeliest)
    rows = [b for b, (guide, token) in enumerate(zip(guides, tokens, strict=True)) if not guide.is_closing]
    if refused := [b for b in rows if not guides[b].allows(tokens[b])]:
        allowed_RV = _unpacked([guides[b].mask() for b in refused], logits_BV.shape[1], logits_BV.device)
        best_R = logits_BV[refused].masked_fill(~allowed_RV, -math.inf).max(-1)
        if best_R.values.isneginf().any():
            raise ModelError(
                Problem(
                    "no token can continue an answer",
                    wanted="a tokenizer with a token for every byte",
                    do="set the answer's `constrained: false`, or choose another base",
                )
            )
        for b, token in zip(refused, best_R.indices.tolist(), strict=True):
            tokens[b] = token
    return [guide.take(token) for guide, token in zip(guides, tokens, strict=True)]


def _unpacked(masks: Sequence[bytes], vocabulary: int, device: torch.device) -> torch.Tensor:
    """Returns the masks' bits as booleans, shape (masks, vocabulary); tokens that a mask does not have are False."""
    bytes_RM = torch.frombuffer(bytearray(b"".join(masks)), dtype=torch.uint8).view(len(masks), -1).to(device)
    bits_RV = ((bytes_RM[:, :, None] >> torch.arange(8, device=device)) & 1).bool().flatten(1)
    missing = vocabulary - bits_RV.shape[1]
    return torch.nn.functional.pad(bits_RV, (0, missing)) if missing > 0 else bits_RV[:, :vocabulary]


@functools.lru_cache(maxsize=4)
def _tokenizer(tokenizer: Any, ends: frozenset[int]) -> Any:
    """Returns llguidance's view of a tokenizer; half a second, hence cached."""
    if not is_installed():
        raise ModelError(
            Problem(
                "constrained answers require a package that is not installed",
                where="this machine's Python environment",
                found="no package llguidance",
                do="`pip install llguidance`, or set the answer's `constrained: false` in params.yaml",
            )
        )
    from llguidance.hf import from_tokenizer

    try:
        return from_tokenizer(tokenizer, eos_token=sorted(ends))
    except Exception as error:  # the Rust library raises several kinds
        raise ModelError(
            Problem(
                "answers can't be constrained with this base's tokenizer",
                where=f"tokenizer {type(tokenizer).__name__}",
                found=" ".join(str(error).split())[:160],
                wanted="a fast tokenizer: byte-level, or with byte fallback",
                do="set the answer's `constrained: false`, or choose another base",
            )
        ) from None


def _matcher(tokenizer: Any, regex: str) -> Any:
    """Returns a matcher of the regular expression; its errors never show what was written."""
    from llguidance import LLMatcher, LLParserLimits

    grammar = LLMatcher.grammar_from_regex(regex)
    return LLMatcher(tokenizer, grammar, log_level=0, limits=LLParserLimits(verbose_errors=False))
