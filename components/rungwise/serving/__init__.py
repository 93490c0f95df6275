"""Answers from a stored attempt: the model that was scored is the model that is served. It never imports training."""
