"""What a rung needs before it runs: memory by part, time and cost; and the largest that fits a machine.

- A model: `shape` (its sizes), `model_config` (read from config.json).
- A job: `job` (what is done with a model), `trainable` (its trainable parameters), `microbatch` (rows that pass
  together), `obstacles` (what makes it impossible).
- Its memory: `need` (bytes by part), `activations`, `training_memory`, `scoring_memory`, `memory` (the higher of both).
- Its time: `operations`, or `probe` and `measure` (real steps on this machine).
- Machines: `machines` (the table), `largest`, `remedies`.
- Plans: `rows` (lengths of the prepared rows), `fit` (one job on one machine), `plan` (a ladder), `check` (before a
  climb), `precision` (fp32 or bf16).
"""
