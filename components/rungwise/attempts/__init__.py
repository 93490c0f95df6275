"""Attempts: one base, training set, setting and seed; stored by content, run, scored, carried elsewhere."""
