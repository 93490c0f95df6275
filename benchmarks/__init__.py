"""One script a claim: `python -m benchmarks.NAME [--quick]`, figures to benchmarks/results/."""
