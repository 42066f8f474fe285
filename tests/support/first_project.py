"""A project as a newcomer has it: a script, and a file that names what the script needs."""

import zipfile
from pathlib import Path

# The package is beside the project: nothing is fetched.
WHEEL = "answer-1.0-py3-none-any.whl"
SCRIPT = """\
import os, pathlib, sys, time
import answer
for step in range(1, 21):
    print(f"::mlbroker step={step}/20", flush=True)
    time.sleep(0.05)
pathlib.Path("model.bin").write_text(f"{answer.VALUE}")
pathlib.Path("where").write_text(sys.prefix)
"""


def first_project(folder: Path, name: str = "counts") -> Path:
    """The project's folder, in this one."""
    folder = folder / name
    folder.mkdir()
    (folder / "train.py").write_text(SCRIPT)
    (folder / "requirements.txt").write_text(f"./{WHEEL}\n")
    described = "answer-1.0.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("answer.py", "VALUE = 42\n")
        wheel.writestr(
            f"{described}/METADATA", "Metadata-Version: 2.1\nName: answer\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{described}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(
            f"{described}/RECORD",
            f"answer.py,,\n{described}/METADATA,,\n{described}/WHEEL,,\n{described}/RECORD,,\n",
        )
    return folder
