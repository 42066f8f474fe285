"""A job's `envs` and `secrets`: values that stand in the file, and names read at launch."""

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.env_flags import VARIABLE, EnvFlags
from mlbroker.broker.files.remarks import Remarks
from mlbroker.broker.files.skypilot_keys import env_text
from mlbroker.broker.files.yaml_fields import Fields
from mlbroker.broker.files.yaml_strict import quoted

# How SkyPilot names a secret that its server keeps, and whose it is.
_KEPT = "secrets:"
_SCOPES = ("personal.", "workspace.", "global.")


def read_secrets(fields: Fields, remarks: Remarks) -> list[str]:
    """Names of the secrets, SkyPilot's kept ones too; a value in the file is never read."""
    named: dict[str, None] = {}
    node = fields.node("secrets")
    if node is not None and node.items is not None:
        for item in node.items:
            if not (item.text or "").startswith(_KEPT):
                what = "must be a mapping of names, without values"
                fields.fail("secrets", what, "{HF_TOKEN: null}")
            named[_variable(fields, "secrets", item.text or "")] = None
    elif (section := fields.section("secrets")) is not None:
        for key in section:
            name = _variable(section, key, key)
            named[name] = None
            if section.text(key) is not None:
                remarks.ignored.append(f"the value of secrets.{name}")
    return [*named, *(name for name in _managed(fields, remarks) if name not in named)]


def _managed(fields: Fields, remarks: Remarks) -> list[str]:
    node = fields.node("managed_secrets")
    if node is None:
        return []
    if node.items is None:
        fields.fail("managed_secrets", f"must be a list of names, not {node.kind}")
    named: list[str] = []
    for item in node.items:
        names = list(item.fields or {}) or [item.text or ""]
        named += [_variable(fields, "managed_secrets", name) for name in names]
        if item.fields:
            remarks.not_run.append("managed_secrets: mlbroker puts no secrets into files")
    return named


def _variable(fields: Fields, key: str, text: str) -> str:
    """The variable of `HF_TOKEN`, `secrets:HF_TOKEN` or `secrets:workspace.HF_TOKEN`."""
    name = text.removeprefix(_KEPT)
    scope = next((scope for scope in _SCOPES if name.startswith(scope)), "")
    name = name.removeprefix(scope)
    if VARIABLE.fullmatch(name) is None:
        what = f"{quoted(name)} is not the name of an environment variable"
        fields.fail(key[:60], what, "letters, digits and underscore only")
    return name


def read_envs(
    fields: Fields, env: EnvFlags, secrets: list[str], remarks: Remarks, *, ours: bool
) -> tuple[dict[str, str], list[str]]:
    """Variables with their values, those of the call first; those without one are read from the
    environment at launch. In a file of `ours` they are as written, else as SkyPilot sets them.
    """
    for name in env.values:
        if name in secrets:
            raise InputError(
                f"{name} is a secret of the job: its value is read from the environment",
                where="--env",
                hint=f"export {name}, and leave the flag out",
            )
    envs: dict[str, str | None] = {}
    if (section := fields.section("envs")) is not None:
        for key in section:
            text, node = section.text(_variable(section, key, key)), section.node(key)
            envs[key] = text if ours or node is None else env_text(node)
    envs |= env.values
    unset = [name for name, value in envs.items() if value is None and name not in env.taken]
    remarks.said.extend(
        f"envs.{name} has no value: a run takes it from your environment, or from"
        f" --env {name}=VALUE."
        for name in unset
    )
    given = {k: value for k, value in envs.items() if value is not None and k not in env.taken}
    return given, [*unset, *env.taken]
