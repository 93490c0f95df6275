"""Attempts: one base, training set, spec and seed each; run, scored, and stored under a digest of all of them."""
