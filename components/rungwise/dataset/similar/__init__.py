"""Finds texts that are duplicates of each other: equal, near duplicates, or one inside the other.

Reads texts, returns pairs of row numbers. Candidate pairs come from hashes of many rows in numpy arrays. Every
candidate is then verified on the two texts, so hashing decides only which pairs are compared, never the result.

- `near_pairs`: near duplicates within one collection. Candidates by MinHash of character 5-grams, verified by their
  exact Jaccard similarity.
- `copies`: duplicates across two collections. Candidates are texts whose bags of words are equal except for up to two
  words, longer texts that MinHash pairs, and texts that contain another's rarest run of words. They are verified by
  edit distance, by shared words weighted by rarity, and by containment.

Sources: Broder, "On the resemblance and containment of documents" (1997), for MinHash; its implementation rensa
(https://github.com/beowolx/rensa); RapidFuzz (https://rapidfuzz.github.io/RapidFuzz/) for the edit distance with
transpositions.
"""

from rungwise.dataset.similar.across import copies
from rungwise.dataset.similar.pairs import Pair
from rungwise.dataset.similar.text import plain, without_shared_ends
from rungwise.dataset.similar.within import near_pairs

__all__ = ["Pair", "copies", "near_pairs", "plain", "without_shared_ends"]
