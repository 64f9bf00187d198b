"""`python -m pydl`: the same as the command `pydl`."""

import sys

from pydl.cli import main

sys.exit(main())
