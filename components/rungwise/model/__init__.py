"""Base models, their adapters and what can be asked of them."""
