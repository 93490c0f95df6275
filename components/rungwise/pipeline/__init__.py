"""The run: DVC's stages, and the one list of steps that the command and the flow walk."""
