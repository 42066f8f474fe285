"""Draw the terminal picture of README: `mlbroker plan` as a terminal of 118 columns shows it.

    python scripts/picture.py docs/plan.svg plan examples/sentiment/job.yaml

The command runs in a pseudo-terminal, so colours and layout are what a person gets.
"""

import contextlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 118


def terminal_output(argv: list[str]) -> str:
    """What `mlbroker argv` writes to a terminal, escape sequences included."""
    ours, theirs = pty.openpty()
    terminal = {"COLUMNS": str(COLUMNS), "LINES": "60", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("mlbroker")), *argv],
        stdout=theirs,
        stderr=theirs,
        env=os.environ | terminal,
    )
    os.close(theirs)
    chunks: list[bytes] = []
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while chunk := os.read(ours, 65536):
            chunks.append(chunk)
    process.wait()
    return b"".join(chunks).decode().replace("\r\n", "\n")


def self_contained(svg: str) -> str:
    """The picture without its links to fonts on other servers."""
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code", "DejaVu Sans Mono")


def main() -> None:
    """Run the command and write the SVG."""
    target, *argv = sys.argv[1:]
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"))  # noqa: SIM115  # lives as long as the script
    console.print(Text.from_ansi(f"$ mlbroker {' '.join(argv)}"))
    console.print(Text.from_ansi(terminal_output(argv)))
    Path(target).write_text(self_contained(console.export_svg(title="mlbroker")))


if __name__ == "__main__":
    main()
