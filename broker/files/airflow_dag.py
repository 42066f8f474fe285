"""A DAG file of Apache Airflow (2.4 or newer) whose one task calls `mlbroker run` under a cap."""

import re
import shlex
from collections.abc import Sequence

from mlbroker.broker.files.other_tools.interface import words_of

_LONGEST_ID = 200
_FILE = """\
# {name} through mlbroker, by mlbroker export. The machine is chosen anew whenever the task runs.
from pathlib import Path

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.operators.bash import BashOperator

with DAG(dag_id={dag_id!r}, schedule=None, catchup=False, max_active_runs=1, tags=["mlbroker"]):
    BashOperator(
        task_id="run",
        bash_command={command!r},
        cwd=str(Path(__file__).absolute().parent / {folder!r}),
        append_env=True,
        retries=0,  # another try would be another run, with a cap of its own
    )
"""


def airflow_dag(name: str, folder: str, arguments: Sequence[str]) -> str:
    """The file for `mlbroker run` with these `arguments`, in the `folder` relative to it."""
    command = shlex.join(["mlbroker", "run", *arguments])
    # Airflow takes a command for a Jinja template: no two characters of it may open one. What has
    # braces is in quotes after `join`, where '' between two characters changes nothing.
    command = re.sub(r"\{(?=[{%#])", "{''", command)
    dag_id = words_of(name, _LONGEST_ID)
    return _FILE.format(name=dag_id, dag_id=dag_id, command=command, folder=folder)
