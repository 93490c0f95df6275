"""Faster ways to compute what transformers and PEFT compute: equal results up to rounding, less time or memory."""
