"""Prefect flows around the functions of `components`; no logic of their own.

Importing this sets the environment of its libraries, and must: Prefect reads it when it is imported.
"""

from rungwise.workspace.process import prepare_environment

prepare_environment()
