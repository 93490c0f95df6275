"""Turns rows from files into training sets: ingest, validate, split, augment. Imports no torch."""
