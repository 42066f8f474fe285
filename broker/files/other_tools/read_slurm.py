"""Slurm's batch scripts.

Options, times and sizes: https://slurm.schedmd.com/sbatch.html (doc/man/man1/sbatch.1 of
SchedMD/slurm); times as time_str2secs of src/common/parse_time.c reads them.
"""

import math
import re
import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.other_tools.carrying import Carrying, plain
from mlbroker.broker.files.values import parse_count
from mlbroker.broker.files.yaml_strict import quoted, refuse_control_characters
from mlbroker.pricing.gpu_names import gpu_model

_SHORT = {
    "a": "array", "A": "account", "b": "begin", "B": "extra-node-info", "c": "cpus-per-task",
    "C": "constraint", "d": "dependency", "D": "chdir", "e": "error", "F": "nodefile",
    "G": "gpus", "H": "hold", "i": "input", "I": "immediate", "J": "job-name", "k": "no-kill",
    "L": "licenses", "m": "distribution", "M": "clusters", "n": "ntasks", "N": "nodes",
    "o": "output", "O": "overcommit", "p": "partition", "q": "qos", "Q": "quiet",
    "s": "oversubscribe", "S": "core-spec", "t": "time", "v": "verbose", "w": "nodelist",
    "W": "wait", "x": "exclude",
}  # fmt: skip
# Other names of the same.
_SAME = {"workdir": "chdir", "tasks-per-node": "ntasks-per-node"}
# Those that never take the next word as their value.
_FLAGS = {
    *("contiguous", "exclusive", "get-user-env", "hold", "ignore-pbs", "immediate"),
    *("nice", "no-kill", "no-requeue", "overcommit", "oversubscribe", "parsable", "quiet"),
    *("reboot", "requeue", "spread-job", "use-min-nodes", "verbose", "wait", "wait-all-nodes"),
}
_WHY = {
    **dict.fromkeys(("output", "error"), "`mlbroker logs` shows what the job prints"),
    **dict.fromkeys(("partition", "qos", "reservation", "nodelist"), "it is your cluster's"),
    **dict.fromkeys(("mail-type", "mail-user"), "mlbroker sends no mail"),
    **dict.fromkeys(("requeue", "no-requeue"), "a job that is taken away goes on elsewhere anyway"),
    "account": "`mlbroker run --project` accounts for runs",
    "exclusive": "a machine is the job's alone in any case",
    "dependency": "jobs are run one by one",
}
# What of a cluster a command rests on, where a command begins.
_OF_A_CLUSTER = re.compile(
    r"(?:^|[;&|(]|\b\w+=\S+\s|\btime\s)\s*(srun|module|ml|scontrol|sbcast|sbatch|mpirun|mpiexec)\s"
    r"|\b(SLURM_\w+)"
)
# With one task on each machine, srun starts its command here.
_PLAIN_SRUN = re.compile(
    r"\bsrun(?:\s+(?:\\\n\s*)?--(?:(?!ntasks|nodes)[\w-]+=\S+|label|unbuffered|exclusive|overlap|exact"
    r"|quiet|pty|ntasks-per-node=1))*\s+(?:\\\n\s*)?[^-\s\\]"
)
_SRUN = 'srun() { while [[ $1 == --* ]]; do shift; done; "$@"; }'
_ARGUMENT = re.compile(r"\$[1-9@]|\$\{[1-9@][^}]*\}")
_UNIT_MIB = {"": 1, "K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
_SHELLS = ("bash", "sh", "dash")


class Option(NamedTuple):
    """One option of a `#SBATCH` line."""

    line: int
    name: str
    value: str

    @property
    def shown(self) -> str:
        """As it is written."""
        return f"--{self.name}={self.value}" if self.value else f"--{self.name}"


def read(text: str, carrying: Carrying) -> None:
    """The script: its options are needs, and the rest of it is the command."""
    refuse_control_characters(text, carrying.source)
    lines = text.replace("\r\n", "\n").split("\n")
    options: dict[str, Option] = {}
    body: list[str] = []
    began = False
    for number, line in enumerate(lines, 1):
        if line.startswith("#SBATCH"):
            if began:
                carrying.leave(number, line.strip(), "it stands after the first command")
                continue
            for option in _options(number, line, carrying):
                if before := options.get(option.name):
                    carrying.leave(before.line, before.shown, f"line {number} says it again")
                options[option.name] = option
        elif number > 1 or not line.startswith("#!"):
            began = began or line.strip()[:1] not in ("", "#")
            body.append(line)
    if not began:
        raise carrying.fail(1, "holds no command after its #SBATCH lines")
    asked = _Asked(options, carrying)
    _command(lines[0], body, carrying)
    _time(asked)
    _place(asked)
    _sizes(asked)
    _environment(asked)
    for option in asked.unread():
        carrying.leave(option.line, option.shown, _WHY.get(option.name))
    _name_what_stays(lines, asked)
    carrying.stand_ins(asked.stand_ins)
    if asked.starts_srun:
        carrying.command = f"{_SRUN}\n{carrying.command}"


def _name_what_stays(lines: list[str], asked: "_Asked") -> None:
    """What of the script only a cluster has; `srun` gets a stand-in where that does the same."""
    carrying, text = asked.carrying, "\n".join(lines)
    starts = len(re.findall(r"\bsrun\b", re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE)))
    asked.starts_srun = 0 < starts == len(_PLAIN_SRUN.findall(text)) and asked.tasks_on_each == 1
    known = {*asked.stand_ins, *carrying.envs, *(["srun"] if asked.starts_srun else [])}
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("#"):
            continue
        if (argument := _ARGUMENT.search(line)) and "awk" not in line:
            carrying.leave(number, argument[0], "a job's command gets no arguments")
        for program, variable in dict.fromkeys(_OF_A_CLUSTER.findall(line)):
            if program == "srun" and asked.starts_srun:
                carrying.say(number, "srun: starts its command, once on each machine")
            elif (program or variable) not in known:
                what = program or f"${variable}"
                carrying.leave(number, what, "only your cluster has it, and the line is as it was")


def _options(number: int, line: str, carrying: Carrying) -> Iterator[Option]:
    rest = line.removeprefix("#SBATCH")
    if rest.strip() and not rest[0].isspace():
        return  # a word of its own: a comment
    try:
        words = shlex.split(rest, comments=True)
    except ValueError as error:
        raise carrying.fail(number, f"{quoted(line)}: {error}") from None
    while words:
        word = words.pop(0)
        if word in ("hetjob", "packjob"):
            raise carrying.fail(
                number, "a job of several different parts", "put each into a script of its own"
            )
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            if not word.startswith("-") or _SHORT.get(word[1:2]) is None:
                raise carrying.fail(number, f"{quoted(word)} is no option of sbatch")
            name, value = _SHORT[word[1]], word[2:].removeprefix("=")
        if not value and not equals and name not in _FLAGS and words and words[0][:1] != "-":
            value = words.pop(0)
        yield Option(number, _SAME.get(name, name), value)


class _Asked:
    """The options by name; those that nobody asked for are left."""

    def __init__(self, options: dict[str, Option], carrying: Carrying) -> None:
        self._options = options
        self._read: set[str] = set()
        self.carrying = carrying
        self.tasks_on_each = 1
        self.starts_srun = False
        self.stand_ins: dict[str, str] = {
            "SLURM_JOB_ID": '"$MLBROKER_RUN_ID"',
            "SLURM_JOBID": '"$MLBROKER_RUN_ID"',
            "SLURM_JOB_NAME": '"$MLBROKER_JOB"',
            "SLURM_SUBMIT_DIR": '"$PWD"',
            "SLURM_NODEID": '"${MLBROKER_NODE_RANK:-0}"',
            "SLURM_NNODES": '"${MLBROKER_NODES:-1}"',
            "SLURM_JOB_NUM_NODES": '"${MLBROKER_NODES:-1}"',
        }

    def __getitem__(self, name: str) -> Option | None:
        self._read.add(name)
        option = self._options.get(name)
        return option if option and option.value else None

    def count(self, name: str) -> int | None:
        """A whole number above zero."""
        option = self[name]
        return None if option is None else _count(option, option.value, self.carrying)

    def unread(self) -> list[Option]:
        """In the order of the file."""
        left = [option for name, option in self._options.items() if name not in self._read]
        return sorted(left, key=lambda option: option.line)


def _count(option: Option, text: str, carrying: Carrying) -> int:
    try:
        return parse_count(text, 1_000_000)
    except InputError as error:
        raise carrying.fail(option.line, f"--{option.name}: {error.what}") from None


def _command(first: str, body: list[str], carrying: Carrying) -> None:
    carrying.command = "\n".join(body).strip("\n")
    interpreter = shlex.split(first[2:]) if first.startswith("#!") else ["bash"]
    if interpreter and PurePosixPath(interpreter[0]).name == "env":
        del interpreter[0]
    name = PurePosixPath(interpreter[0]).name if interpreter else "bash"
    if name not in _SHELLS:
        script = shlex.quote(carrying.source)
        carrying.command = f"{name} {script}"
        carrying.say(1, f"the script is for {name}, which the job starts it with")
    elif flags := [flag for flag in interpreter[1:] if flag != "-l" and flag != "--login"]:
        carrying.command = f"set {shlex.join(flags)}\n{carrying.command}"
    elif interpreter[1:]:
        carrying.leave(1, interpreter[1], "the job's shell is no login shell")


def _time(asked: _Asked) -> None:
    option = asked["time"]
    if option is None:
        return
    seconds = parse_time_s(option.value)
    if seconds is None:
        hint = "minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS"
        raise asked.carrying.fail(option.line, f"--time: {quoted(option.value)} is no time", hint)
    if seconds == math.inf:
        asked.carrying.leave(option.line, option.shown, "that is no deadline")
    else:
        asked.carrying.deadline(option.line, option.shown, int(seconds))


def parse_time_s(text: str) -> float | None:
    """Seconds of Slurm's forms of a time; infinity for none, None for what is no time."""
    if text.lower() in ("-1", "infinite", "unlimited"):
        return math.inf
    found = re.fullmatch(r"(?:(\d{1,9})-)?(\d{1,9})(?::(\d{1,9}))?(?::(\d{1,9}))?", text)
    if found is None:
        return None
    first, middle, last = (int(found[group] or 0) for group in (2, 3, 4))
    if found[1] is not None:
        seconds = 86400 * int(found[1]) + 3600 * first + 60 * middle + last
    elif found[4] is not None:
        seconds = 3600 * first + 60 * middle + last
    else:
        seconds = 60 * first + middle
    # "A time limit of zero requests that no time limit be imposed."
    return seconds or math.inf


def _place(asked: _Asked) -> None:
    carrying = asked.carrying
    if name := asked["job-name"]:
        carrying.job_name(name.line, name.value)
    carrying.workdir, carrying.workdir_here = ".", True  # a script starts where sbatch is called
    folder = asked["chdir"]
    if folder is not None and PurePosixPath(folder.value).is_absolute():
        carrying.leave(folder.line, folder.shown, "it is your cluster's; name the folder here")
    elif folder is not None:
        carrying.workdir = folder.value
    if nodes := asked["nodes"]:
        least, dash, _ = nodes.value.partition("-")
        carrying.nodes = _count(nodes, least, carrying)
        if dash:
            carrying.say(nodes.line, f"{nodes.shown}: {carrying.nodes} machines, the least of them")
        if carrying.nodes > 1:
            carrying.say(nodes.line, f"{nodes.shown}: each machine runs the script, not one alone")


def _sizes(asked: _Asked) -> None:
    """Each machine's processors, memory and GPUs."""
    nodes, resources = asked.carrying.nodes, asked.carrying.resources
    tasks, on_each = asked.count("ntasks"), asked.count("ntasks-per-node")
    each = math.ceil(tasks / nodes) if tasks else on_each or 1
    asked.tasks_on_each = each
    if each == 1:
        rank = '"${MLBROKER_NODE_RANK:-0}"'
        asked.stand_ins |= {"SLURM_PROCID": rank, "SLURM_LOCALID": "0"}
    per_task = asked.count("cpus-per-task")
    gpus = _gpus(asked, each)
    cpus = each * (per_task or 1) if tasks or on_each or per_task else None
    if per_gpu := asked.count("cpus-per-gpu"):
        cpus = per_gpu * max(gpus, 1)
    if least := asked.count("mincpus"):
        cpus = max(cpus or 0, least)
    if cpus:
        resources["cpus"] = f"{cpus}+"
    for name, times in (("mem", 1), ("mem-per-cpu", cpus or 1), ("mem-per-gpu", max(gpus, 1))):
        option = asked[name]
        if option is None:
            continue
        mib = _size_mib(option, asked.carrying)
        if mib == 0:
            asked.carrying.leave(option.line, option.shown, "a machine is the job's alone")
        else:
            resources["memory"] = f"{plain(mib * times / 1024)}+"
    values = {"NTASKS": each * nodes, "CPUS_PER_TASK": per_task, "NTASKS_PER_NODE": on_each,
              "CPUS_ON_NODE": cpus, "GPUS_ON_NODE": gpus or None}  # fmt: skip
    asked.stand_ins.update({f"SLURM_{name}": str(n) for name, n in values.items() if n})


def _size_mib(option: Option, carrying: Carrying) -> float:
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([KMGT]?)B?", option.value, re.IGNORECASE)
    if found is None:
        hint = "a number with K, M, G or T; without, of MB"
        raise carrying.fail(
            option.line, f"--{option.name}: {quoted(option.value)} is no size", hint
        )
    return float(found[1]) * _UNIT_MIB[found[2].upper()]


def _gpus(asked: _Asked, tasks_on_each: int) -> int:
    """GPUs of each machine; 0 for none."""
    carrying = asked.carrying
    found: tuple[Option, str | None, int] | None = None
    for name in ("gres", "tres-per-node", "gpus", "gpus-per-node", "gpus-per-task"):
        option = asked[name]
        for entry in option.value.split(",") if option else ():
            assert option is not None
            parts = re.split(r"[:/=]", entry.removeprefix("gres/").removeprefix("gres:"))
            if name in ("gres", "tres-per-node"):
                if parts[0] != "gpu":
                    carrying.leave(option.line, f"--{name}={entry}", "it is your cluster's")
                    continue
                del parts[0]
            elif parts[0].lower() == "gpu":
                del parts[0]
            count = _count(option, parts.pop(), carrying) if parts and parts[-1].isdigit() else 1
            if name == "gpus":
                count = math.ceil(count / carrying.nodes)
            elif name == "gpus-per-task":
                count *= tasks_on_each
            this = (option, ":".join(parts) or None, count)
            if found is not None:
                # Of two that ask for GPUs, the one that names a model.
                dropped, found = (this, found) if found[1] else (found, this)
                carrying.leave(dropped[0].line, dropped[0].shown, f"{found[0].shown} stands")
            else:
                found = this
    features = asked["constraint"]
    words = re.findall(r"[A-Za-z][\w.-]*", features.value) if features else []
    models = [word for word in words if gpu_model(word)]
    if features and not models:
        carrying.leave(features.line, features.shown, "the features of nodes are your cluster's")
    if found is None:
        if models and features:
            carrying.leave(features.line, features.shown, "it asks for no GPU of its own")
        return 0
    option, model, count = found
    if model is None and models and features:
        carrying.say(features.line, f"{features.shown}: taken as the model of the GPUs")
    elif features and models:
        carrying.leave(features.line, features.shown, f"--{option.name} names the model")
    named = [model] if model else models
    carrying.accelerators(option.line, f"--{option.name}", named, count)
    return count


def _environment(asked: _Asked) -> None:
    carrying = asked.carrying
    if export := asked["export"]:
        for word in export.value.split(","):
            name, equals, value = word.partition("=")
            if name in ("ALL", "NONE", "NIL"):
                carrying.leave(export.line, f"--export={name}", "only `envs` reach the machine")
            else:
                carrying.variable(export.line, name, value if equals else None)
    if array := asked["array"]:
        first = re.match(r"\d+", array.value)
        if first is None:
            raise carrying.fail(array.line, f"--array: {quoted(array.value)} is no list of indexes")
        carrying.envs["SLURM_ARRAY_TASK_ID"] = first[0]
        carrying.leave(
            array.line,
            array.shown,
            f"the job is its task {first[0]}; --env SLURM_ARRAY_TASK_ID=N runs another",
        )
