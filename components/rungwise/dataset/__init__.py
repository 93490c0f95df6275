"""Rows from files to training sets: ingest, validate, split, augment. No torch here."""
