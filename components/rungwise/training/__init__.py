"""One attempt's training: batches and the loop."""
