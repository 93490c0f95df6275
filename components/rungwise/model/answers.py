"""Answers of a language model: the likelihood of every label, or a written text.

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
from rungwise.core.texts import number_of
from rungwise.model import limits
from rungwise.model.constrain import Constraint, Guide, choose
from rungwise.model.kernels.shared_prefix import SharedPrefix, can_share, copied, padded, read_prefix, shared_tokens
from rungwise.model.language_model import LanguageModel, Progress
from rungwise.model.memory import is_out_of_memory

Result = TypeVar("Result")

NEGLIGIBLE = 1e-3
"""Labels that are not read to their end have together at most this share of the likeliest label's likelihood."""


def score_labels(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    *,
    offsets: torch.Tensor | None = None,
    negligible: float = NEGLIGIBLE,
    progress: Progress | None = None,
) -> torch.Tensor:
    """Returns the log-likelihood of every label after every prompt, shape (prompts, labels), fp32, on the CPU.

    The prefix that all prompts share is computed once, then each prompt's own tokens, then the path of likeliest tokens
    to the end of a label. This path bounds every other label: a label is at most as likely as its tokens up to the
    point where it leaves the path. Labels that may matter are read to their end. The others (see `NEGLIGIBLE`) get
    their bound as the result, so that the likeliest label is exact and its share of all labels is correct to 0.001.
    Prompts are processed in order of length; the result has the order of `prompts`. Every prompt and label must fit the
    context (see `fits`).

    Args:
        lm: the model.
        prompts: the tokens of each prompt.
        labels: the tokens of each label.
        offsets: shape (ways, labels); a label is read to its end if it matters after any of these rows is added to the
            log-likelihoods. The result does not contain them. By default one row of zeros.
        negligible: in place of `NEGLIGIBLE`; with 0 all labels are read to their end.
        progress: called after each batch.
    """
    ways_KL = torch.zeros(1, len(labels)) if offsets is None else offsets.float()
    margin = math.log(negligible / len(labels)) if negligible else -math.inf
    scores_NL = torch.empty(len(prompts), len(labels))
    longest_label = max(len(label) for label in labels)

    def score(block: list[Sequence[int]], prefix: SharedPrefix | None) -> torch.Tensor:
        return _score_batch(lm, block, labels, prefix, ways_KL, margin)

    done = 0
    for rows, scores in _in_batches(lm, prompts, lambda n: 4 * (n + longest_label), score, "rows scored", progress):
        done += len(rows)
        _check_finite(lm, scores.amax(1), done, len(prompts))
        scores_NL[rows] = scores
    return scores_NL


@dataclass(frozen=True)
class Written:
    """A written answer."""

    text: str
    probability: float
    """Geometric mean of its tokens' probabilities, 0 to 1.

    These are the model's own probabilities, also where a constraint chose another token than the likeliest: an answer
    that the model would not have written has a small one."""
    is_cut: bool
    """Whether it reached the token limit before its end."""


def write_answers(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    *,
    constraint: Constraint | None = None,
    progress: Progress | None = None,
) -> list[Written]:
    """Returns the greedy answer to each prompt: the likeliest token at each step, up to the end token.

    An answer has at most `max_tokens` tokens, the end token included. Every prompt and answer must fit the context.
    With a constraint, only tokens that it allows are written, and an answer that reaches the limit is closed;
    `max_tokens` must be at least its `min_tokens`. Prompts are processed in order of length; a finished row leaves its
    batch.
    """
    written: list[Written | None] = [None] * len(prompts)
    n = len(prompts)

    def write(block: list[Sequence[int]], prefix: SharedPrefix | None) -> list[tuple[list[int], float, bool]]:
        n_begun = sum(one is not None for one in written) + len(block)
        return _write_batch(lm, block, max_tokens, prefix, constraint, lambda logp: _check_finite(lm, logp, n_begun, n))

    for rows, answers in _in_batches(lm, prompts, lambda n: n + max_tokens, write, "answers written", progress):
        for i, (ids, total, is_cut) in zip(rows, answers, strict=True):
            whole = (
                constraint.bytes_of(ids).decode() if constraint else lm.tokenizer.decode(ids, skip_special_tokens=False)
            )
            text = str(whole).strip()
            written[i] = Written(text, round(math.exp(total / max(1, len(ids) + (not is_cut))), 6), is_cut)
    return [w for w in written if w is not None]


def _in_batches(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    tokens_of: Callable[[int], int],
    act: Callable[[list[Sequence[int]], SharedPrefix | None], Result],
    unit: str,
    progress: Progress | None,
) -> Iterator[tuple[list[int], Result]]:
    """Yields the indices of the rows of each batch, in order of length, with the result of `act` for them.

    `tokens_of`: tokens of a prompt in the cache -> its share of SCORING_TOKENS. If a batch is out of memory, later
    batches have half as many rows.

    Raises:
        ModelError: a single row is out of memory.
    """
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    prefix = _prefix(lm, prompts)
    kept_once = prefix.tokens - prefix.copied_tokens if prefix else 0
    done, most = 0, limits.SCORING_ROWS
    while done < len(order):
        longest = len(prompts[order[min(done + most, len(order)) - 1]])
        rows = order[done : done + max(1, min(most, limits.SCORING_TOKENS // tokens_of(longest - kept_once)))]
        try:
            with torch.inference_mode():
                result = act([prompts[i] for i in rows], prefix)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            most = _fewer(len(rows), longest, error)
        else:
            yield rows, result
            done += len(rows)
            if progress:
                progress(done, len(order), unit)
            continue
        torch.cuda.empty_cache()  # its tensors are free now that the error is handled


def _check_finite(lm: LanguageModel, logp_B: torch.Tensor, n_done: int, n_rows: int) -> None:
    """Checks that a model's answers to a batch of rows are numbers.

    Args:
        lm: the model.
        logp_B: a log-probability of each row of the batch.
        n_done: rows that are answered, with this batch; those before it are numbers.
        n_rows: all rows.

    Raises:
        ModelError: a row's are not.
    """
    n = int(logp_B.isnan().sum())
    if not n:
        return
    is_full = lm.model.dtype == torch.float32 and not torch.is_autocast_enabled(lm.device.partition(":")[0])
    raise ModelError(
        Problem(
            "a model's answers are not finite numbers",
            where=f"base {lm.base}",
            found=f"{n} of {n_done} rows so far ({n / n_done:.0%}), of {n_rows} rows",
            wanted="finite log-probabilities: weights may be damaged"
            + ("" if is_full else ", or too large for this precision"),
            do="fetch or convert the base again" + ("" if is_full else ", or set `train.precision: fp32`"),
        )
    )


def _prefix(lm: LanguageModel, prompts: Sequence[Sequence[int]]) -> SharedPrefix | None:
    """Returns the shared prefix of all prompts; None if it is too short or the base does not support it."""
    if not (n := shared_tokens(prompts)) or not can_share(lm.model.config):
        return None
    try:
        with torch.inference_mode():
            return read_prefix(lm.model, prompts[0][:n], lm.device)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None  # the rows are tried without it, and raise if they are out of memory too


def _fewer(n_rows: int, longest: int, error: BaseException) -> int:
    """Returns half the number of rows and writes a message.

    Raises:
        ModelError: a single row was out of memory.
    """
    if n_rows == 1:
        raise ModelError(
            Problem(
                "a single row is out of memory",
                where=f"answer to a prompt of {longest} tokens",
                found=" ".join(str(error).split())[:160],
                wanted="memory for its activations, its cache and its labels",
                do="leave out the longest rows, or use a smaller base or a larger machine",
            )
        ) from None
    say(f"out of memory with {number_of(n_rows, 'row')} per batch; from here on {n_rows // 2}")
    return n_rows // 2


def _write_batch(
    lm: LanguageModel,
    prompts: list[Sequence[int]],
    max_tokens: int,
    prefix: SharedPrefix | None,
    constraint: Constraint | None,
    check: Callable[[torch.Tensor], None] | None = None,
) -> list[tuple[list[int], float, bool]]:
    """Returns for each row its tokens without the end token, their summed log-probability, and whether it was cut.

    `check` raises if a log-probability is not finite.
    """
    given = padded(prompts, prefix, pad=lm.end, device=lm.device)
    rows = list(range(len(prompts)))
    tokens: list[list[int]] = [[] for _ in prompts]
    totals, is_cut = [0.0] * len(prompts), [True] * len(prompts)
    guides = [Guide(constraint, max_tokens) for _ in prompts] if constraint else []
    for _ in range(max_tokens):
        out = lm.model(**given, use_cache=True, logits_to_keep=1)
        logits_BV = out.logits[:, -1]
        best_B = logits_BV.max(-1)
        log_total_B = _log_total(logits_BV, best_B.values)
        if check:
            check(log_total_B)
        chosen = best_B.indices.tolist()
        next_tokens = choose([guides[row] for row in rows], logits_BV, chosen) if guides else chosen
        index_B1 = torch.tensor([token or 0 for token in next_tokens], device=lm.device)[:, None]
        log_shares = (logits_BV.gather(1, index_B1)[:, 0].float() - log_total_B).tolist()
        open_places = []
        for place, (row, token, log_share) in enumerate(zip(rows, next_tokens, log_shares, strict=True)):
            if token is None:
                continue
            totals[row] += log_share
            if token in lm.ends:
                is_cut[row] = False
                continue
            tokens[row].append(token)
            if not (guides and guides[row].is_closed):
                open_places.append(place)
        if not open_places:
            break
        cache = out.past_key_values
        keep = torch.tensor(open_places, device=lm.device)
        if len(open_places) < len(rows):
            cache.batch_select_indices(keep)
            rows = [rows[place] for place in open_places]
        ids = torch.tensor([next_tokens[place] for place in open_places], device=lm.device)[:, None]
        given = {
            "input_ids": ids,
            "attention_mask": torch.cat([given["attention_mask"][keep], torch.ones_like(ids)], dim=1),
            "position_ids": given["position_ids"][keep][:, -1:] + 1,
            "past_key_values": cache,
        }
    return list(zip(tokens, totals, is_cut, strict=True))


def _log_total(logits_BV: torch.Tensor, largest_B: torch.Tensor) -> torch.Tensor:
    """Returns the logarithm of each row's summed exponentials, in fp32; NaN where a logit is NaN or infinite.

    A few rows at a time, so that their fp32 copies stay in a processor's caches: with a large vocabulary the
    log-probabilities of all tokens take longer than a small model. `largest_B`: each row's largest logit.
    """
    most_B1 = largest_B.float()[:, None]
    rows = max(1, 2**18 // logits_BV.shape[1]) if logits_BV.device.type == "cpu" else len(logits_BV)
    totals = [
        (logits.float() - most).exp_().sum(-1)
        for logits, most in zip(logits_BV.split(rows), most_B1.split(rows), strict=True)
    ]
    return torch.cat(totals).log_() + most_B1[:, 0]


def _score_batch(
    lm: LanguageModel,
    prompts: list[Sequence[int]],
    labels: Sequence[Sequence[int]],
    prefix: SharedPrefix | None,
    ways_KL: torch.Tensor,
    margin: float,
) -> torch.Tensor:
    """Returns the log-likelihoods (see `score_labels`); `margin`: a label below the likeliest by more is negligible."""
    given = padded(prompts, prefix, pad=lm.end, device=lm.device)
    mask_BS = given["attention_mask"]
    out = lm.model(**given, use_cache=True, logits_to_keep=1)
    first_BV = log_softmax(out.logits[:, -1].float(), dim=-1)
    cache = out.past_key_values
    scores_BL, is_read_BL = _likeliest_path(lm, copied(cache), mask_BS, first_BV, labels)
    matters_BL = torch.zeros_like(is_read_BL)
    for way_L in ways_KL:
        best_B1 = (scores_BL + way_L).masked_fill(~is_read_BL, -math.inf).amax(1, keepdim=True)
        matters_BL |= ~is_read_BL & (scores_BL + way_L > best_B1 + margin)
    first_BV = first_BV.cpu()
    held = mask_BS.shape[1] - (prefix.tokens - prefix.copied_tokens if prefix else 0)
    for row_and_label in _alike(matters_BL, labels, tokens=held, vocabulary=first_BV.shape[1]):
        rows, chosen = map(list, zip(*row_and_label, strict=True))
        starts = [labels[i][0] for i in chosen]
        rest_P = _rest(lm, copied(cache), mask_BS, rows, [labels[i] for i in chosen])
        scores_BL[rows, chosen] = first_BV[rows, starts] + rest_P
    return scores_BL


def _likeliest_path(
    lm: LanguageModel, cache: Any, mask_BS: torch.Tensor, logp_BV: torch.Tensor, labels: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Follows the likeliest tokens among the labels' tokens from each row's prompt to the end of a label.

    Returns the log-likelihoods, shape (B, L), and which of them cover whole labels; the others cover first tokens.
    """
    n_rows = len(mask_BS)
    scores_BL, is_read_BL = torch.zeros(n_rows, len(labels)), torch.zeros(n_rows, len(labels), dtype=torch.bool)
    rows, paths = list(range(n_rows)), [list(range(len(labels)))] * n_rows
    mask, positions = mask_BS, mask_BS.sum(1, keepdim=True)
    sums = [0.0] * n_rows
    for depth in range(max(len(label) for label in labels)):
        logp = logp_BV.cpu()
        open_places, tokens, next_paths = [], [], []
        for place, (row, path) in enumerate(zip(rows, paths, strict=True)):
            nexts = [labels[i][depth] for i in path]
            totals = logp[place, nexts] + sums[row]
            scores_BL[row, path] = totals
            best = int(totals.argmax())
            is_read_BL[row, [i for i in path if len(labels[i]) == depth + 1]] = True
            same = [i for i, token in zip(path, nexts, strict=True) if token == nexts[best]]
            if longer := [i for i in same if len(labels[i]) > depth + 1]:
                sums[row] = float(totals[best])
                open_places.append(place)
                tokens.append(nexts[best])
                next_paths.append(longer)
        if not open_places:
            break
        keep = torch.tensor(open_places, device=lm.device)
        if len(open_places) < len(rows):
            cache.batch_select_indices(keep)
        rows, paths = [rows[place] for place in open_places], next_paths
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
    """Yields the marked pairs of a row and a label in groups whose labels are equally long and that fit one pass.

    `tokens`: what the cache holds of a row.
    """
    pairs: list[tuple[int, int]] = [(row, label) for row, label in matters_BL.nonzero().tolist()]
    for length in sorted({len(labels[label]) for _, label in pairs}):
        alike = [pair for pair in pairs if len(labels[pair[1]]) == length]
        by_tokens = limits.SCORING_TOKENS * 3 // 4 // (tokens + length)
        most = max(1, min(limits.SCORING_LOGITS // (vocabulary * length), by_tokens))
        yield from (alike[at : at + most] for at in range(0, len(alike), most))


def _rest(
    lm: LanguageModel, cache: Any, mask_BS: torch.Tensor, rows: Sequence[int], labels: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Returns the log-likelihood of the labels' tokens after the first, one label of equal length a row, on the CPU."""
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
