"""A run: the functions of the DVC stages, and the list of steps that the command and the Prefect flow follow."""
