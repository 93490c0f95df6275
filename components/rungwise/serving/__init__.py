"""Answers from a stored attempt: what is served is what was scored. It never imports training."""
