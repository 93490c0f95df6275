"""From predictions to scores, intervals and evidence: numbers in, numbers out, no torch."""
