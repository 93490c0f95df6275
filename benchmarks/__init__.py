"""Benchmarks: one module for each claim, run as `python -m benchmarks.NAME`. `python -m benchmarks` lists them.

All share one interface, which `benchmarks.report` defines: `--quick`, `--write`, `--source FOLDER` where public data is
needed, and one JSON object as the last printed line. Recorded results are in `benchmarks/results`.
"""
