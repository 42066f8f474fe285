"""How a command that sets PYTHONPATH itself still finds the hook that counts its steps.

`profile` asks it in the agent, and `run` on its machine: the guest's folder holds this same file
by a link. Python 3.8, standard library.
"""

import re
import shlex

# An assignment as the shell knows it, where a command may begin: not a word in a text.
_ASSIGNMENT = re.compile(
    r"((?:^|[;&|({]|\b(?:then|do|else|export|env|exec|time|nohup)\s)[ \t]*"
    r"(?:[A-Za-z_]\w*=[^\s;&|'\"$`]*[ \t]+)*PYTHONPATH=)(?=[^\s])",
    re.MULTILINE,
)


def with_probe(script: str, probe: str) -> str:
    """The script, in which a PYTHONPATH that it sets itself begins with the probe's folder.

    Of a script that holds texts of its own (`<<`) nothing is touched.
    """
    if "<<" in script:
        return script
    return _ASSIGNMENT.sub(lambda found: found.group(1) + shlex.quote(probe) + ":", script)
