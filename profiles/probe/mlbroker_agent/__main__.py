"""Entry point: `python3 -m mlbroker_agent`."""

import sys

from .agent import main

sys.exit(main())
