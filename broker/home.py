"""Where mlbroker keeps its state on this machine."""

import os
from pathlib import Path


def home() -> Path:
    """`MLBROKER_HOME`, else the platform's data folder for mlbroker. Created by its writers."""
    chosen = os.environ.get("MLBROKER_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs  # imported only when needed: most test and CI calls set the variable

    return Path(platformdirs.user_data_dir("mlbroker", appauthor=False))
