"""Prefect flows around public functions of `rungwise`; they hold no logic of their own.

Importing this package sets the environment of its libraries, because Prefect reads it when it is imported.
"""

from rungwise.workspace.process import prepare_environment

prepare_environment()
