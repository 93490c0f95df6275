"""Values, errors and tables that everything else is built on: the standard library and pydantic alone."""
