"""Entry point: `python3 -m mlbroker_load`."""

import sys

from .loader import main

sys.exit(main())
