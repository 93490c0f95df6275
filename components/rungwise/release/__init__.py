"""The MLflow registry, the proof that a model reloads exactly, the promotion gate, and the champion's answers."""
