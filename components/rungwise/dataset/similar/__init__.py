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

from rungwise.dataset.similar.across import copies
from rungwise.dataset.similar.pairs import Pair
from rungwise.dataset.similar.text import normalised, plain, unwrapped
from rungwise.dataset.similar.within import near_pairs

__all__ = ["Pair", "copies", "near_pairs", "normalised", "plain", "unwrapped"]
