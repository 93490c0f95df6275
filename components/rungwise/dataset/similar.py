"""Which texts are copies of one another: exact, near, or one inside the other. Texts in, pairs of row numbers out.

Candidates come from hashes of many rows at once (numpy), and every one is verified on the two texts themselves, so
that hashing decides how much is looked at and never what is said.

- near duplicates of one collection: MinHash of character 5-grams, then their true Jaccard similarity.
- copies across two collections: bags of words of which up to two are left out, MinHash for longer texts, and the
  rarest runs of words for texts inside others; then edit distance, shared words weighed by rarity, and containment.

MinHash: Broder, "On the resemblance and containment of documents" (1997), by rensa
(https://github.com/beowolx/rensa). Edit distance with exchanged neighbours by RapidFuzz
(https://rapidfuzz.github.io/RapidFuzz/).
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]

SHINGLE: Final = 5
"""Characters of a shingle: long enough that unrelated sentences of one field share few."""
BANDS: Final = (16, 6)
"""Bands of a MinHash signature and numbers a band: 99 of 100 pairs at Jaccard 0.8 meet, 1 of 1,000 at 0.2."""
LOOSE_BANDS: Final = (28, 5)
"""For candidates that edit distance and words will judge: 97 of 100 pairs at Jaccard 0.65 meet."""
AT_ONCE: Final = 50_000
"""Rows whose hashes are held at once."""
CHARACTERS_AT_ONCE: Final = 1_000_000
"""Characters of pairs of texts that are compared at once."""
MOST_HASHES: Final = 200_000_000
"""Of more 5-grams, or runs of words, than this only some are looked at, the same in every text."""
FULL_BUCKET: Final = 32
"""Of rows with one hash so many are paired with each other; of more, each with its neighbours alone."""
LEFT_OUT_WORDS: Final = 16
"""Up to so many words a text is also looked for with two of them left out; beyond, MinHash finds it."""
RUN: Final = 4
"""Words of a run by which a text is looked for inside others, and the fewest that count as contained."""
LONG_ENOUGH: Final = 10
"""From so many words on a text inside another is no commonplace, wherever it stands. Of 23,700 questions to an
assistant 70 stand inside some question to a bank, most as a mere phrase (`i don't know`)."""
MOST: Final = 0.8
"""A text that makes up so much of another says what it says."""
SENTENCE: Final = 0.1
"""And so does a shorter one that is a sentence of its own there, or several."""
MIN_CHARACTERS: Final = 8
"""Shorter texts are copies only where they are equal: one letter makes another word."""
EDIT_CHARACTERS: Final = 20
"""A letter more, less, changed or exchanged with its neighbour is a slip once in so many characters."""
SHARED_WEIGHT: Final = 0.86
"""Texts of as many words that share so much of their words' weight are one text in other words."""
_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_SENTENCE: Final = re.compile(r"[.!?;:,()\[\]\"\n\u2026\u3002\uff01\uff1f]+")


def normalised(text: str) -> str:
    """Returns text in NFKC, case-folded, with each run of white space as one space: for comparing, not for reading."""
    return " ".join((text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold().split())


def plain(text: str) -> str:
    """Returns the text's normalised words with one space between them, or what there is where it has no word.

    Chinese and Japanese characters, which are written without spaces, are words of their own.
    """
    folded = (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()
    return " ".join(_WORD.findall(folded)) or normalised(text)


def unwrapped(texts: Sequence[str]) -> list[str]:
    """Returns the texts without the words that all of them begin with and all of them end with.

    Rows that come inside one prompt (`Below is an instruction ... ### Response:`) would all be near copies otherwise.
    """
    if len(texts) < 2:
        return list(texts)
    first, last = min(texts), max(texts)
    head = _common(first, last)
    head = max(0, 1 + max(first.rfind(" ", 0, head), first.rfind("\n", 0, head))) if head else 0
    backwards = [text[head:][::-1] for text in texts]
    first, last = min(backwards), max(backwards)
    tail = _common(first, last)
    tail = max(0, 1 + max(first.rfind(" ", 0, tail), first.rfind("\n", 0, tail))) if tail else 0
    return [text[tail:][::-1] for text in backwards]


def _common(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@dataclass(frozen=True)
class Pair:
    """Two rows that are copies of one another."""

    left: int
    right: int
    kind: str
    """`exact` (equal words), `near`, or `contained` (one inside the other)."""
    similarity: float
    """0 to 1; of `near` within one collection the Jaccard similarity of 5-grams."""


def near_pairs(texts: Sequence[str], threshold: float) -> list[Pair]:
    """Returns pairs of `texts`, which are plain, with Jaccard similarity of 5-grams at or above `threshold`.

    The similarity is that of the sets of the 5-grams' hashes of 44 bits, which differs from that of the 5-grams once in
    about 10**9 pairs of short texts. Equal texts are not looked for. Of more than FULL_BUCKET texts that are candidates
    of each other not every pair is made, but each text with some: enough to put them into one cluster. Sorted.
    """
    grams = _Grams(texts)
    pairs_P2 = _minhash_pairs(grams, BANDS)
    if not len(pairs_P2):
        return []
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    chunk_P = np.cumsum(sizes[pairs_P2].sum(axis=1)) // CHARACTERS_AT_ONCE
    found = []
    for some_P2 in np.split(pairs_P2, np.flatnonzero(np.diff(chunk_P)) + 1):
        similarity_P = _jaccard(grams, some_P2)
        for place in np.flatnonzero(similarity_P >= threshold).tolist():
            left, right = some_P2[place].tolist()
            if texts[left] != texts[right]:
                found.append(Pair(left, right, "near", float(similarity_P[place])))
    return found


def _jaccard(grams: "_Grams", pairs_P2: Numbers) -> NDArray[np.float64]:
    """Returns the Jaccard similarity of each pair's sets of 5-grams."""
    rows_R = _distinct(pairs_P2.ravel())
    places_P2 = np.searchsorted(rows_R, pairs_P2)
    hashes, starts = grams.of(rows_R, is_sampled=False)
    ends = starts.astype(np.int64)
    n_R = ends[1:] - ends[:-1]
    row_of = np.repeat(np.arange(len(rows_R), dtype=np.uint64), n_R)
    own = _distinct((row_of << np.uint64(44)) | (hashes >> np.uint64(20)))
    ends_R = np.cumsum(np.bincount((own >> np.uint64(44)).astype(np.int64), minlength=len(rows_R)))
    sizes_R = np.diff(ends_R, prepend=0)
    n_P2: Numbers = sizes_R[places_P2]
    # of every pair the left text's grams, each looked for among the right text's
    n_P = n_P2[:, 0]
    pair_of = np.repeat(np.arange(len(pairs_P2)), n_P)
    first = np.repeat((ends_R - sizes_R)[places_P2[:, 0]] - (np.cumsum(n_P) - n_P), n_P)
    left = own[first + np.arange(len(first))] & np.uint64((1 << 44) - 1)
    wanted = (places_P2[pair_of, 1].astype(np.uint64) << np.uint64(44)) | left
    place = np.minimum(np.searchsorted(own, wanted), len(own) - 1)
    shared_P = np.bincount(pair_of[own[place] == wanted], minlength=len(pairs_P2))
    similarity_P: NDArray[np.float64] = shared_P / (n_P2.sum(axis=1) - shared_P)
    return similarity_P


def _distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Returns the distinct values, sorted (`np.unique` hashes integers, which takes ten times as long)."""
    ordered = np.sort(values)
    is_new = np.ones(len(ordered), dtype=bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    distinct: NDArray[Any] = ordered[is_new]
    return distinct


def copies(left: Sequence[str], right: Sequence[str]) -> list[Pair]:
    """Returns, for each text of `left` of which `right` holds a copy, the pair with the closest; sorted.

    The texts are as people wrote them. See the module's docstring for what a copy is.
    """
    plain_left, plain_right = [plain(t) for t in left], [plain(t) for t in right]
    places: dict[str, int] = {}
    for row, text in enumerate(plain_right):
        places.setdefault(text, row)
    found = {row: Pair(row, places[t], "exact", 1.0) for row, t in enumerate(plain_left) if t in places}
    todo = [row for row in range(len(left)) if row not in found]
    both = _Words([plain_left[row] for row in todo], list(places))
    of_right = list(places.values())
    judge = _Judge([left[row] for row in todo], [right[row] for row in of_right], both)
    for a, b in _cross_candidates(both):
        judge.look(a, b)
    for a, b, kind, similarity in judge.verdict():
        if (old := found.get(todo[a])) is None or old.similarity < similarity:
            found[todo[a]] = Pair(todo[a], of_right[b], kind, similarity)
    return [found[row] for row in sorted(found)]


class _Words:
    """Two collections of plain texts as numbers of words, one after the other: `left`, then `right`."""

    def __init__(self, left: Sequence[str], right: Sequence[str]) -> None:
        self.n_left, self.texts = len(left), [*left, *right]
        numbers: dict[str, int] = {}
        split = [text.split(" ") for text in self.texts]
        self.sizes: Numbers = np.array([len(words) for words in split], dtype=np.int64)
        self.starts: Numbers = np.concatenate([[0], np.cumsum(self.sizes)])
        flat = (numbers.setdefault(word, len(numbers)) for words in split for word in words)
        self.flat: Numbers = np.fromiter(flat, dtype=np.int64, count=int(self.starts[-1]))
        rows = np.repeat(np.arange(len(split)), self.sizes)
        seen = _distinct(rows * len(numbers) + self.flat) % max(1, len(numbers))
        held_by = np.bincount(seen, minlength=len(numbers))
        self.weights = np.log((1 + len(split)) / (1 + held_by)) + 0.1
        """Word -> its inverse document frequency: how much it says that two texts share it."""

    def words(self, row: int) -> Numbers:
        return self.flat[self.starts[row] : self.starts[row + 1]]


def _cross_candidates(both: _Words) -> Iterator[tuple[int, int]]:
    """Yields (row of left, row of right), each once, sorted."""
    if not both.n_left or both.n_left == len(both.texts):
        return
    is_long = both.sizes > LEFT_OUT_WORDS
    long_rows = np.flatnonzero(is_long)
    long_pairs = long_rows[_minhash_pairs(_Grams([both.texts[row] for row in long_rows]), LOOSE_BANDS)]
    met = {(a, b) for a, b in long_pairs.tolist() if a < both.n_left <= b}
    met |= set(_bag_pairs(both)) | set(_run_pairs(both))
    for a, b in sorted(met):
        yield a, b - both.n_left


def _bag_pairs(both: _Words) -> Iterator[tuple[int, int]]:
    """Yields pairs across the collections whose bags of words are equal but for at most two words on each side."""
    index_keys, index_rows = _concatenated(_bags(both, both.n_left, len(both.texts)))
    order = np.argsort(index_keys, kind="stable")
    index_keys, index_rows = index_keys[order], index_rows[order]
    for keys, rows in _bags(both, 0, both.n_left):
        yield from _meetings(keys, rows, index_keys, index_rows)


def _bags(both: _Words, first: int, last: int) -> Iterator[tuple[Hashes, Numbers]]:
    """Yields (hash of a bag, its row), some rows at a time: the whole bag, without a word, without two.

    The hash of a bag is the sum of its words' hashes, so that leaving a word out is a subtraction. At least one word
    stays, and of four or more at least half.
    """
    hashes = _mixed(both.flat.astype(np.uint64))
    for size in np.unique(both.sizes[first:last]):
        rows = first + np.flatnonzero(both.sizes[first:last] == size)
        pairs = np.triu_indices(size, 1) if 4 <= size <= LEFT_OUT_WORDS else (np.array([], int), np.array([], int))
        step = max(1, AT_ONCE * 16 // (1 + size + len(pairs[0])))
        for begin in range(0, len(rows), step):
            some = rows[begin : begin + step]
            h_RW = hashes[both.starts[some][:, None] + np.arange(size)]
            whole_R1 = h_RW.sum(axis=1, keepdims=True)
            bags = [whole_R1, whole_R1 - h_RW if size > 1 else whole_R1[:, :0]]
            bags.append(whole_R1 - h_RW[:, pairs[0]] - h_RW[:, pairs[1]])
            keys_RB = np.concatenate(bags, axis=1)
            yield keys_RB.ravel(), np.repeat(some, keys_RB.shape[1])


def _run_pairs(both: _Words) -> Iterator[tuple[int, int]]:
    """Yields pairs across the collections where one text has the rarest run of words of the other."""
    n = len(both.flat) - RUN + 1
    if n <= 0:
        return
    hashes = _rolling(both.flat.astype(np.uint64), RUN)
    rows = np.repeat(np.arange(len(both.texts)), both.sizes)[:n]
    whole = np.flatnonzero(np.arange(n) + RUN <= both.starts[rows + 1])  # runs that end in the row they begin in
    if (one_of := 1 + len(whole) // MOST_HASHES) > 1:
        whole = whole[hashes[whole] % np.uint64(one_of) == 0]
    hashes, rows = hashes[whole], rows[whole]
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    order = np.lexsort((counts[inverse], rows))  # in each row the rarest run first
    firsts = order[np.flatnonzero(np.diff(rows[order], prepend=-1))]
    is_left = rows < both.n_left
    for of_inner, inner_is_left in ((firsts[is_left[firsts]], True), (firsts[~is_left[firsts]], False)):
        keys = hashes[of_inner]
        by_key = np.argsort(keys, kind="stable")
        outer = np.flatnonzero(is_left != inner_is_left)
        for begin in range(0, len(outer), AT_ONCE * 16):
            some = outer[begin : begin + AT_ONCE * 16]
            for a, b in _meetings(hashes[some], rows[some], keys[by_key], rows[of_inner][by_key]):
                yield (b, a) if inner_is_left else (a, b)


class _Judge:
    """Looks at candidates, text against text, and says which are copies."""

    def __init__(self, left: Sequence[str], right: Sequence[str], both: _Words) -> None:
        from rapidfuzz.distance import OSA

        self._left, self._right, self._both, self._distance = left, right, both, OSA.distance
        self._found: list[tuple[int, int, str, float]] = []
        self._inside: dict[str, list[tuple[int, int, bool, float]]] = defaultdict(list)

    def look(self, left: int, right: int) -> None:
        """Looks at row `left` of left and row `right` of right."""
        a, b = self._both.texts[left], self._both.texts[self._both.n_left + right]
        letters_a, letters_b = a.replace(" ", ""), b.replace(" ", "")  # `can not` is no slip, and some write no spaces
        longer = max(len(letters_a), len(letters_b))
        allowed = max(1, longer // EDIT_CHARACTERS)
        if abs(len(letters_a) - len(letters_b)) <= allowed and longer >= MIN_CHARACTERS:
            distance = self._distance(letters_a, letters_b, score_cutoff=allowed)
            if distance <= allowed:
                self._found.append((left, right, "near", 1 - distance / longer))
                return
        if (shared := self._shared(left, right)) >= SHARED_WEIGHT:
            self._found.append((left, right, "near", shared))
            return
        inner, outer, written = (a, b, self._right[right]) if len(a) < len(b) else (b, a, self._left[left])
        if (n_words := inner.count(" ") + 1) >= RUN and f" {inner} " in f" {outer} ":
            ratio = len(inner) / len(outer)
            if ratio >= SENTENCE and _is_sentences(inner, written):
                self._found.append((left, right, "contained", ratio))
            else:
                self._inside[inner].append((left, right, n_words >= LONG_ENOUGH or ratio >= MOST, ratio))

    def verdict(self) -> Iterator[tuple[int, int, str, float]]:
        """Yields (left, right, kind, similarity) of the candidates looked at that are copies."""
        yield from self._found
        for met in self._inside.values():
            whole = [(left, right, ratio) for left, right, is_whole, ratio in met if is_whole]
            if 2 * len(whole) >= len(met):  # otherwise it is a phrase that longer sentences are made of
                yield from ((left, right, "contained", ratio) for left, right, ratio in whole)

    def _shared(self, left: int, right: int) -> float:
        """Returns the share of the two texts' words that they have in common, each word weighed by its rarity.

        0 where the one has more words than the other: a word more or less says something else more often than a
        word for another.
        """
        words = [self._both.words(row).tolist() for row in (left, self._both.n_left + right)]
        if len(words[0]) != len(words[1]) or len(words[0]) < RUN:
            return 0.0
        weigh = self._both.weights
        total = sum(weigh[w] for bag in words for w in bag)
        return float(2 * sum(weigh[w] * n for w, n in (Counter(words[0]) & Counter(words[1])).items()) / total)


def _is_sentences(inner: str, written: str) -> bool:
    """Whether a plain text begins and ends where sentences of the other, as it was written, do."""
    begins = {0}
    place = 0
    sentences = [plain(part) for part in _SENTENCE.split(written) if _WORD.search(part)]
    for sentence in sentences:
        place += len(sentence) + 1
        begins.add(place)
    text = " ".join(sentences)
    at = f" {text} ".find(f" {inner} ")
    return at in begins and at + len(inner) + 1 in begins


class _Grams:
    """The hashes of texts' 5-grams, made once and kept: 8 bytes a character."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts, self._one_of = texts, 1 + sum(map(len, texts)) // MOST_HASHES
        self.flat, self.starts = _shingle_hashes(texts, self._one_of)

    def of(self, rows: Numbers, *, is_sampled: bool = True) -> tuple[Hashes, Hashes]:
        """Returns the hashes of some rows, and where each row's begin (and the end).

        Where there are more than MOST_HASHES only a sample is kept; without `is_sampled` all are made anew.
        """
        if self._one_of > 1 and not is_sampled:
            return _shingle_hashes([self.texts[row] for row in rows.tolist()])
        begin = self.starts[rows].astype(np.int64)
        sizes = self.starts[rows + 1].astype(np.int64) - begin
        starts = np.concatenate([[0], np.cumsum(sizes)])
        places = np.arange(starts[-1]) + np.repeat(begin - starts[:-1], sizes)
        return self.flat[places], starts.astype(np.uint64)


def _minhash_pairs(grams: _Grams, bands: tuple[int, int]) -> Numbers:
    """Returns the pairs of texts (shape [P, 2]) whose MinHash signatures agree in a whole band, sorted, each once."""
    from rensa import RMinHash, RMinHashLSH

    (n_bands, width), n = bands, len(grams.texts)

    def digests(flat: Hashes, starts: Hashes) -> Any:
        return RMinHash.digest_matrix_from_flat_token_hashes(flat, starts, n_bands * width, 7)

    # rows that share no band with any other are told apart by rensa, before signatures are read as numbers
    index = RMinHashLSH(0.5, n_bands * width, n_bands)
    flags = index.query_duplicate_flags_matrix_one_shot(digests(grams.flat, grams.starts)) if n else []
    met = np.flatnonzero(np.array(flags, dtype=bool))
    keys = np.empty((n_bands, len(met)), dtype=np.uint64)
    for begin in range(0, len(met), AT_ONCE // 4):
        some = met[begin : begin + AT_ONCE // 4]
        signature = np.array(digests(*grams.of(some)).to_rows(), dtype=np.uint64)
        for band in range(n_bands):
            keys[band, begin : begin + len(some)] = _folded(signature[:, band * width : (band + 1) * width])
    codes = _distinct(np.concatenate([_bucket_pairs(keys[band], met, n) for band in range(n_bands)]))
    return np.stack([codes // max(1, n), codes % max(1, n)], axis=1)


def _bucket_pairs(keys: Hashes, rows: Numbers, n: int) -> Numbers:
    """Returns pairs of rows with equal keys, as `left * n + right`; `rows` are sorted."""
    order = np.argsort(keys, kind="stable")
    keys, rows = keys[order], rows[order]
    new = np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)]
    bucket = np.cumsum(new) - 1
    size = np.bincount(bucket, minlength=1)[bucket] if len(keys) else bucket
    reach = np.where(size <= FULL_BUCKET, size, 2)
    found = [np.array([], dtype=np.int64)]
    for step in range(1, min(FULL_BUCKET, len(keys))):
        meets = np.flatnonzero((keys[step:] == keys[:-step]) & (reach[:-step] >= step))
        if not len(meets):
            break
        found.append(rows[meets] * n + rows[meets + step])
    return np.concatenate(found)


def _meetings(keys: Hashes, rows: Numbers, index_keys: Hashes, index_rows: Numbers) -> Iterator[tuple[int, int]]:
    """Yields (row, indexed row) with equal keys; of an indexed key that many rows have, FULL_BUCKET of them."""
    if not len(index_keys):
        return
    order = np.argsort(keys)  # sorted questions walk through the index once
    keys, rows = keys[order], rows[order]
    begin = np.searchsorted(index_keys, keys)
    hit = np.flatnonzero(index_keys[np.minimum(begin, len(index_keys) - 1)] == keys)
    end = np.searchsorted(index_keys, keys[hit], "right")
    for row, first, last in zip(rows[hit].tolist(), begin[hit].tolist(), end.tolist(), strict=True):
        for place in range(first, min(last, first + FULL_BUCKET)):
            yield row, int(index_rows[place])


def _shingle_hashes(texts: Sequence[str], one_of: int = 1) -> tuple[Hashes, Hashes]:
    """Returns the hashes of all texts' 5-grams one after the other, and where each text's begin (and the end).

    `one_of`: of so many 5-grams one is kept, the same ones in every text.
    """
    parts: list[Hashes] = []
    sizes = np.zeros(len(texts) + 1, dtype=np.int64)
    for begin, end in _portions([len(text) for text in texts], CHARACTERS_AT_ONCE):
        padded = [f" {text} ".ljust(SHINGLE) for text in texts[begin:end]]
        codes = np.frombuffer("".join(padded).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
        lengths = np.array([len(text) for text in padded], dtype=np.int64)
        keep = np.ones(len(codes), dtype=bool)
        for back in range(1, SHINGLE):  # the last four characters of a text begin no shingle
            keep[np.cumsum(lengths) - back] = False
        keep = keep[: len(codes) - SHINGLE + 1]
        hashes = _rolling(codes, SHINGLE)
        if one_of > 1:
            keep &= hashes % np.uint64(one_of) == 0
        row_of = np.repeat(np.arange(begin, end), lengths)[: len(keep)]
        sizes[begin + 1 : end + 1] = np.bincount(row_of[keep] - begin, minlength=end - begin)
        parts.append(hashes[keep])
    flat = np.concatenate(parts) if parts else np.array([], dtype=np.uint64)
    return flat, np.cumsum(sizes).astype(np.uint64)


def _portions(sizes: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Yields (begin, end) of portions of rows whose sizes add up to `most` or a little more."""
    begin = total = 0
    for row, size in enumerate(sizes):
        total += size
        if total >= most:
            yield begin, row + 1
            begin, total = row + 1, 0
    if begin < len(sizes):
        yield begin, len(sizes)


def _rolling(values: Hashes, width: int) -> Hashes:
    """Returns a hash for each run of `width` values."""
    n = len(values) - width + 1
    total = np.zeros(max(0, n), dtype=np.uint64)
    for offset in range(width):
        total = total * np.uint64(0x9E3779B97F4A7C15) + values[offset : offset + n] + np.uint64(1)
    return _mixed(total)


def _folded(values_RW: Hashes) -> Hashes:
    """Returns a hash of each row of numbers."""
    total = np.zeros(len(values_RW), dtype=np.uint64)
    for column in values_RW.T:
        total = _mixed(total + column)
    return total


def _mixed(values: Hashes) -> Hashes:
    """Returns each number spread over 64 bits (the finalizer of SplitMix64: Steele, Lea and Flood, 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _concatenated(parts: Iterable[tuple[Hashes, Numbers]]) -> tuple[Hashes, Numbers]:
    keys, rows = [], []
    for some_keys, some_rows in parts:
        keys.append(some_keys)
        rows.append(some_rows)
    if not keys:
        return np.array([], dtype=np.uint64), np.array([], dtype=np.int64)
    return np.concatenate(keys), np.concatenate(rows)
