"""Prefect flows around public functions of `rungwise`; they hold no logic of their own.

Importing this package sets the environment of the libraries first, because Prefect reads it on import.
"""

from rungwise.workspace.process import prepare_environment

prepare_environment()
