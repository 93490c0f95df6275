"""What a language model answers: the likelihood of every label, or the text that it writes.

Shape letters: B rows, L labels, P pairs of a row and a label, S prompt tokens, T label tokens, V vocabulary.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch.nn.functional import log_softmax

from rungwise.core.errors import ModelError, Problem
from rungwise.core.progress import say
from rungwise.model import limits
from rungwise.model.language_model import LanguageModel, Progress
from rungwise.model.memory import is_out_of_memory
from rungwise.model.shared_prefix import SharedPrefix, can_share, copied, padded, read_prefix, shared_tokens

Found = TypeVar("Found")

NEGLIGIBLE = 1e-3
"""The labels that are not read to their end have together at most this share of the likelihood of one that is."""


def score_labels(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    *,
    progress: Progress | None = None,
) -> torch.Tensor:
    """Returns the log-likelihood of every label after every prompt, shape (prompts, labels), fp32, on the CPU.

    What all prompts begin with is read once, then each prompt's own tokens, then the label that its likeliest tokens
    lead to. That bounds all others: a label is no likelier than its tokens up to where it leaves that path. Those that
    might matter are read to their end; those that can't (`NEGLIGIBLE`) stand at their bound, so that the likeliest
    label is exact and its share of all labels is right to one in a thousand. Prompts go through in order of length;
    the result's order is that of `prompts`. Everything must fit the context (see `fits`).
    """
    scores_NL = torch.empty(len(prompts), len(labels))
    longest_label = max(len(label) for label in labels)

    def score(some: list[Sequence[int]], prefix: SharedPrefix | None) -> torch.Tensor:
        return _score_batch(lm, some, labels, prefix)

    for rows, scores in _in_batches(lm, prompts, lambda n: 4 * (n + longest_label), score, "rows scored", progress):
        scores_NL[rows] = scores
    return scores_NL


@dataclass(frozen=True)
class Written:
    """An answer that a model wrote."""

    text: str
    probability: float
    """Geometric mean of its tokens' probabilities, 0 to 1."""
    is_cut: bool
    """Whether it reached the limit of tokens before its end."""


def write_answers(
    lm: LanguageModel, prompts: Sequence[Sequence[int]], max_tokens: int, *, progress: Progress | None = None
) -> list[Written]:
    """Returns what the model writes after each prompt, taking the likeliest token each time, to the end token.

    At most `max_tokens` tokens an answer, the end token among them; everything must fit the context (see `fits`).
    Prompts go through in order of length; a row that ended leaves its batch.
    """
    written: list[Written | None] = [None] * len(prompts)

    def write(some: list[Sequence[int]], prefix: SharedPrefix | None) -> list[tuple[list[int], float, bool]]:
        return _write_batch(lm, some, max_tokens, prefix)

    for rows, found in _in_batches(lm, prompts, lambda n: n + max_tokens, write, "answers written", progress):
        for i, (ids, total, is_cut) in zip(rows, found, strict=True):
            text = str(lm.tokenizer.decode(ids, skip_special_tokens=False)).strip()
            written[i] = Written(text, round(math.exp(total / max(1, len(ids) + (not is_cut))), 6), is_cut)
    return [w for w in written if w is not None]


def _in_batches(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    tokens_of: Callable[[int], int],
    act: Callable[[list[Sequence[int]], SharedPrefix | None], Found],
    unit: str,
    progress: Progress | None,
) -> Iterator[tuple[list[int], Found]]:
    """Yields the numbers of rows that went through together, in order of length, and what `act` made of them.

    `tokens_of`: the tokens that a prompt of that length takes of SCORING_TOKENS. Where the memory runs out, half as
    many rows go through together from there.

    Raises:
        ModelError: the memory does not hold a row alone.
    """
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    prefix = _prefix(lm, prompts)
    done, most = 0, limits.SCORING_ROWS
    while done < len(order):
        longest = len(prompts[order[min(done + most, len(order)) - 1]])
        rows = order[done : done + max(1, min(most, limits.SCORING_TOKENS // tokens_of(longest)))]
        try:
            with torch.inference_mode():
                found = act([prompts[i] for i in rows], prefix)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            most = _fewer(len(rows), longest, error)
        else:
            yield rows, found
            done += len(rows)
            if progress:
                progress(done, len(order), unit)
            continue
        torch.cuda.empty_cache()  # what the failed pass held is free now that its error is gone


def _prefix(lm: LanguageModel, prompts: Sequence[Sequence[int]]) -> SharedPrefix | None:
    """Returns what all prompts begin with, read once; None where that is too little, or the base can't share it."""
    if not (n := shared_tokens(prompts)) or not can_share(lm.model.config):
        return None
    try:
        with torch.inference_mode():
            return read_prefix(lm.model, prompts[0][:n], lm.device)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None  # rows are tried by themselves, and say what is lacking


def _fewer(n_rows: int, longest: int, error: BaseException) -> int:
    """Returns half as many rows, and says so; raises ModelError where one row alone was too much."""
    if n_rows == 1:
        raise ModelError(
            Problem(
                "the memory does not hold a row alone",
                where=f"answers to a prompt of {longest} tokens",
                found=" ".join(str(error).split())[:160],
                wanted="memory for its activations, its cache and its labels",
                do="leave out the longest rows, or take a smaller base or a larger machine",
            )
        ) from None
    say(f"the memory ran out with {n_rows} rows answered at once; from there {n_rows // 2}")
    return n_rows // 2


def _write_batch(
    lm: LanguageModel, prompts: list[Sequence[int]], max_tokens: int, prefix: SharedPrefix | None
) -> list[tuple[list[int], float, bool]]:
    """Returns each row's tokens without the end token, their summed log-probability, and whether it was cut."""
    given = padded(prompts, prefix, pad=lm.end, device=lm.device)
    rows = list(range(len(prompts)))
    tokens: list[list[int]] = [[] for _ in prompts]
    totals, is_cut = [0.0] * len(prompts), [True] * len(prompts)
    for _ in range(max_tokens):
        out = lm.model(**given, use_cache=True, logits_to_keep=1)
        best_B = log_softmax(out.logits[:, -1].float(), dim=-1).max(-1)
        going = []
        chosen = zip(best_B.indices.tolist(), best_B.values.tolist(), strict=True)
        for place, (row, (token, log_share)) in enumerate(zip(rows, chosen, strict=True)):
            totals[row] += log_share
            if token == lm.end:
                is_cut[row] = False
            else:
                tokens[row].append(token)
                going.append(place)
        if not going:
            break
        cache = out.past_key_values
        keep = torch.tensor(going, device=lm.device)
        if len(going) < len(rows):
            cache.batch_select_indices(keep)
            rows = [rows[place] for place in going]
        ids = best_B.indices[keep][:, None]
        given = {
            "input_ids": ids,
            "attention_mask": torch.cat([given["attention_mask"][keep], torch.ones_like(ids)], dim=1),
            "position_ids": given["position_ids"][keep][:, -1:] + 1,
            "past_key_values": cache,
        }
    return list(zip(tokens, totals, is_cut, strict=True))


def _score_batch(
    lm: LanguageModel, prompts: list[Sequence[int]], labels: Sequence[Sequence[int]], prefix: SharedPrefix | None
) -> torch.Tensor:
    given = padded(prompts, prefix, pad=lm.end, device=lm.device)
    mask_BS = given["attention_mask"]
    out = lm.model(**given, use_cache=True, logits_to_keep=1)
    first_BV = log_softmax(out.logits[:, -1].float(), dim=-1)
    cache = out.past_key_values
    scores_BL, is_read_BL = _likeliest_path(lm, copied(cache), mask_BS, first_BV, labels)
    best_B1 = scores_BL.masked_fill(~is_read_BL, -math.inf).amax(1, keepdim=True)
    matters_BL = ~is_read_BL & (scores_BL > best_B1 + math.log(NEGLIGIBLE / len(labels)))
    first_BV = first_BV.cpu()
    for row_and_label in _alike(matters_BL, labels, tokens=mask_BS.shape[1], vocabulary=first_BV.shape[1]):
        rows, chosen = map(list, zip(*row_and_label, strict=True))
        starts = [labels[i][0] for i in chosen]
        rest_P = _rest(lm, copied(cache), mask_BS, rows, [labels[i] for i in chosen])
        scores_BL[rows, chosen] = first_BV[rows, starts] + rest_P
    return scores_BL


def _likeliest_path(
    lm: LanguageModel, cache: Any, mask_BS: torch.Tensor, logp_BV: torch.Tensor, labels: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Follows the labels' likeliest tokens from each row's prompt to a label's end.

    Returns the log-likelihoods, shape (B, L), and which of them are whole; the others are of a label's first tokens.
    """
    n_rows = len(mask_BS)
    scores_BL, is_read_BL = torch.zeros(n_rows, len(labels)), torch.zeros(n_rows, len(labels), dtype=torch.bool)
    rows, paths = list(range(n_rows)), [list(range(len(labels)))] * n_rows
    mask, positions = mask_BS, mask_BS.sum(1, keepdim=True)
    sums = [0.0] * n_rows
    for depth in range(max(len(label) for label in labels)):
        logp = logp_BV.cpu()
        going, tokens, ahead = [], [], []
        for place, (row, path) in enumerate(zip(rows, paths, strict=True)):
            nexts = [labels[i][depth] for i in path]
            found = logp[place, nexts] + sums[row]
            scores_BL[row, path] = found
            best = int(found.argmax())
            is_read_BL[row, [i for i in path if len(labels[i]) == depth + 1]] = True
            same = [i for i, token in zip(path, nexts, strict=True) if token == nexts[best]]
            if longer := [i for i in same if len(labels[i]) > depth + 1]:
                sums[row] = float(found[best])
                going.append(place)
                tokens.append(nexts[best])
                ahead.append(longer)
        if not going:
            break
        keep = torch.tensor(going, device=lm.device)
        if len(going) < len(rows):
            cache.batch_select_indices(keep)
        rows, paths = [rows[place] for place in going], ahead
        ids = torch.tensor(tokens, device=lm.device)[:, None]
        mask, positions = torch.cat([mask[keep], torch.ones_like(ids)], dim=1), positions[keep]
        out = lm.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        positions = positions + 1
        logp_BV = log_softmax(out.logits[:, -1].float(), dim=-1)
    return scores_BL, is_read_BL


def _alike(
    matters_BL: torch.Tensor, labels: Sequence[Sequence[int]], *, tokens: int, vocabulary: int
) -> Iterator[list[tuple[int, int]]]:
    """Yields the marked pairs of a row and a label in parts whose labels are equally long, as many as fit together."""
    pairs: list[tuple[int, int]] = [(row, label) for row, label in matters_BL.nonzero().tolist()]
    for length in sorted({len(labels[label]) for _, label in pairs}):
        alike = [pair for pair in pairs if len(labels[pair[1]]) == length]
        by_tokens = limits.SCORING_TOKENS * 3 // 4 // (tokens + length)
        most = max(1, min(limits.SCORING_LOGITS // (vocabulary * length), by_tokens))
        yield from (alike[at : at + most] for at in range(0, len(alike), most))


def _rest(
    lm: LanguageModel, cache: Any, mask_BS: torch.Tensor, rows: Sequence[int], labels: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Returns the log-likelihood of equally long labels' tokens after the first, one label a row, on the CPU."""
    labels_PT = torch.tensor(labels, device=lm.device)
    rows_P = torch.tensor(rows, device=lm.device)
    cache.batch_select_indices(rows_P)
    mask_PS = mask_BS[rows_P]
    inputs_PT = labels_PT[:, :-1]
    out = lm.model(
        input_ids=inputs_PT,
        attention_mask=torch.cat([mask_PS, torch.ones_like(inputs_PT)], dim=1),
        position_ids=mask_PS.sum(1, keepdim=True) + torch.arange(inputs_PT.shape[1], device=lm.device),
        past_key_values=cache,
        use_cache=True,
    )
    return log_softmax(out.logits.float(), dim=-1).gather(-1, labels_PT[:, 1:, None])[..., 0].sum(1).cpu()
