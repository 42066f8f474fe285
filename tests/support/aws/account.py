"""Sets the loopback account up as its owner would: with the template that mlbroker writes."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from moto.ec2.models import amis
from tests.support.aws.ec2 import ENABLED

from mlbroker.broker.clouds.aws.images import WITH_DRIVER
from mlbroker.broker.clouds.aws.setup import cloudformation

ACCOUNT = "123456789012"
_template = cache(cloudformation)
_recorded = amis.load_resource


def _without_ecs(name: str) -> Any:
    """Nine of ten images that moto makes in each region are of ECS, which nothing here asks for."""
    return [] if "/ecs/" in name else _recorded(name)


amis.load_resource = _without_ecs


def reset() -> None:
    """Forget all that moto knows."""
    from moto.core.base_backend import BackendDict

    BackendDict.reset()


def set_up(url: str, regions: tuple[str, ...] = ENABLED) -> None:
    """Bucket, roles, queue and groups in each region, and the images of its parameters."""
    for region in regions:
        client = client_of("cloudformation", region, url)
        client.create_stack(
            StackName="mlbroker",
            TemplateBody=_template(region),
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        for arch in ("x86_64", "arm64"):
            _publish(region, arch)


def client_of(service: str, region: str, url: str, key: str = "owner") -> Any:
    """A client of somebody else than the launcher."""
    import boto3

    return boto3.client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key="loopback",
    )


def _publish(region: str, arch: str) -> None:
    """The Deep Learning image, which moto's recording of AWS's parameters does not have."""
    from moto.ec2.models import ec2_backends
    from moto.ssm.models import Parameter, ssm_backends

    ec2: Any = ec2_backends[ACCOUNT][region]
    image = ec2.register_image(f"Deep Learning Base AMI with OSS NVIDIA Driver {arch}", "")
    image.architecture = arch
    image.root_device_name = "/dev/xvda"
    name_ = WITH_DRIVER.format(arch=arch)
    kind: Any = Parameter
    ssm: Any = ssm_backends[ACCOUNT][region]
    ssm._parameters[name_].append(
        kind(
            account_id=ACCOUNT,
            name=name_,
            value=image.id,
            parameter_type="String",
            description="",
            allowed_pattern=None,
            keyid=None,
            last_modified_date=datetime.now(UTC),
            version=1,
            data_type="text",
        )
    )
