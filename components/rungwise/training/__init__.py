"""Trains one attempt: rows as tokens, their audit, the loop and its checkpoints."""
