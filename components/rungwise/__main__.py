"""`python -m rungwise`: the `rungwise` command."""

import sys

from rungwise.cli.main import main

sys.exit(main())
