"""A DAG file is Python that Airflow's own templating and a shell turn back into the arguments.

Airflow itself is too heavy for the gate: the file is held to the published signature of
BashOperator by its syntax tree.
"""

import ast
import shlex

import jinja2
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.broker.files.airflow_dag import airflow_dag

# Of airflow.providers.standard.operators.bash.BashOperator and of BaseOperator.
KEYWORDS = {"task_id", "bash_command", "cwd", "append_env", "retries"}
TEMPLATES = ["{{ x }}", "{% raw %}", "{#", "{{{", "a'{{'b"]
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def calls(text: str) -> dict[str, dict[str, ast.expr]]:
    """The arguments of each call in the file by its name."""
    return {
        node.func.id: {keyword.arg or "**": keyword.value for keyword in node.keywords}
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def command_of(text: str) -> str:
    return str(ast.literal_eval(calls(text)["BashOperator"]["bash_command"]))


@given(st.lists(texts | st.sampled_from(TEMPLATES), max_size=4))
def test_a_task_runs_just_these_arguments(arguments: list[str]) -> None:
    command = command_of(airflow_dag("n", ".", [*arguments, "--yes"]))
    rendered = jinja2.Environment(keep_trailing_newline=True).from_string(command).render()
    assert rendered == command or "\r" in command  # Jinja makes one kind of line end of all
    assert shlex.split(command) == ["mlbroker", "run", *arguments, "--yes"]


@given(texts, texts)
def test_any_name_and_folder_is_python_and_an_id(name: str, folder: str) -> None:
    found = calls(airflow_dag(name, folder, ["job.yaml", "--yes"]))
    assert set(found["BashOperator"]) == KEYWORDS
    dag_id = ast.literal_eval(found["DAG"]["dag_id"])
    assert all(letter.isascii() and (letter.isalnum() or letter == "-") for letter in dag_id)
    assert len(dag_id) <= 250
