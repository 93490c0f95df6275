"""Rungwise: fine-tune the smallest language model that is good enough, and climb only on evidence."""
