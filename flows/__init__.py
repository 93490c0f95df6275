"""Prefect flows around the functions of `components`; no logic of their own."""
