"""`mlbroker init --cloud`: writes what an account needs, for its owner to look over and apply."""

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from mlbroker.broker.errors import InputError


class Form(NamedTuple):
    """One way to write a set-up: where the writer is, the file's name, how it is applied."""

    writer: str
    file: str
    apply: str


# (cloud, form) -> how; the writer is a function of the region.
FORMS: dict[tuple[str, str], Form] = {
    ("aws", "cloudformation"): Form(
        "mlbroker.broker.clouds.aws.setup:cloudformation",
        "mlbroker-aws-{region}.json",
        "aws cloudformation deploy --region {region} --stack-name mlbroker "
        "--template-file {file} --capabilities CAPABILITY_NAMED_IAM",
    ),
    ("aws", "terraform"): Form(
        "mlbroker.broker.clouds.aws.setup:terraform",
        "mlbroker-aws-{region}.tf.json",
        "terraform init && terraform apply",
    ),
    ("gcp", "terraform"): Form(
        "mlbroker.broker.clouds.gcp.setup:terraform",
        "mlbroker-gcp-{region}.tf.json",
        "terraform init && terraform apply",
    ),
    ("gcp", "gcloud"): Form(
        "mlbroker.broker.clouds.gcp.setup:gcloud",
        "mlbroker-gcp-{region}.sh",
        "bash {file} user:YOU@example.com",
    ),
    ("azure", "template"): Form(
        "mlbroker.broker.clouds.azure.setup:template",
        "mlbroker-azure-{region}.json",
        "az deployment sub create --location {region} --template-file {file} "
        "--parameters launcher=$(az ad signed-in-user show --query id --output tsv)",
    ),
}
REGIONS = {"aws": "us-east-1", "gcp": "us-central1", "azure": "eastus"}


class Setup(NamedTuple):
    """What to write, and what to do with it."""

    file: str
    text: str
    apply: str


def setup_of(cloud: str, region: str | None, form: str | None) -> Setup:
    """The set-up of a cloud's region, in the wanted form or in the vendor's own."""
    forms = [known for name, known in FORMS if name == cloud]
    if not forms:
        clouds = ", ".join(sorted({name for name, _ in FORMS}))
        raise InputError(
            f"nothing to set up for {cloud!r}", where="--cloud", hint=f"Known: {clouds}."
        )
    if form is not None and form not in forms:
        raise InputError(
            f"no such form: {form!r}", where="--form", hint=f"Known: {', '.join(forms)}."
        )
    chosen = FORMS[cloud, form or forms[0]]
    place = region or REGIONS[cloud]
    if not place.replace("-", "").isalnum() or not place.isascii():
        raise InputError("is no region's name", where="--region")
    module, _, name = chosen.writer.partition(":")
    writer: Callable[[str], str] = getattr(import_module(module), name)
    file = chosen.file.format(region=place)
    return Setup(file, writer(place), chosen.apply.format(region=place, file=file))
