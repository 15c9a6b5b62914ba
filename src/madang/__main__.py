"""``python -m madang`` is the `madang` command."""

import sys

from .cli.main import main

sys.exit(main())
