"""Where mlbroker keeps its state on this machine."""

import os
from collections.abc import Mapping
from pathlib import Path

# The user's guardrails, found upward from the job file.
POLICY_NAME = "mlbroker-policy.yaml"


def home() -> Path:
    """`MLBROKER_HOME`, else the platform's data folder for mlbroker. Created by its writers."""
    chosen = os.environ.get("MLBROKER_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs  # imported only when needed: most test and CI calls set the variable

    return Path(platformdirs.user_data_dir("mlbroker", appauthor=False))


def named_file(usual: Path, variable: str, environ: Mapping[str, str]) -> Path | None:
    """The file that a variable names, which must exist, else `usual` where there is one."""
    if environ.get(variable):
        return Path(environ[variable]).expanduser()
    return usual if usual.exists() else None


def policy_path(job_path: Path, option: Path | None = None) -> Path | None:
    """The policy file of `--policy`, else the nearest one upward from the job; None without."""
    if option is not None:
        return option
    candidates = (folder / POLICY_NAME for folder in job_path.absolute().parents)
    return next((path for path in candidates if path.exists()), None)
