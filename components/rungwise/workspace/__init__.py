"""A workspace: its paths, its lock, its processes, DVC, and the files that come with the package."""
