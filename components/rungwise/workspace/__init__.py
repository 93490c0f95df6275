"""Where things are in a workspace, who holds it, and the processes and DVC around it."""
