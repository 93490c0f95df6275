"""The loop over rungs, the policy that decides, what each rung is, and comparisons of methods."""
