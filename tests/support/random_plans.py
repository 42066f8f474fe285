"""Small random books and jobs, for tests of what holds for any of them."""

import itertools
from datetime import timedelta
from decimal import Decimal

from hypothesis import strategies as st
from tests.support.books import SmallBook
from tests.support.moments import NOW

from mlbroker.pricing.book import Amount, Requirements
from mlbroker.pricing.offer import Gpu, Hardware, InstanceType, Market
from mlbroker.pricing.region import Region
from mlbroker.profiles.job import (
    Checkpoint,
    Data,
    DataLocation,
    Deadline,
    Job,
    Objective,
    ObjectiveKind,
    ResourceOption,
    StatedTime,
    Work,
)

REGIONS = [
    Region("aws", "a", "us", None, Decimal("0.08"), Decimal("0.005"), Decimal("0.09"),
           Decimal("0.02"), Decimal("0.05"), 0.4, "x", 1.1),
    Region("aws", "b", "eu", None, Decimal("0.30"), Decimal("0.005"), Decimal("0.20"),
           Decimal("0.02"), Decimal("0.05"), 0.05, "x", 1.1),
    Region("azure", "c", "us", None, Decimal("0.15"), Decimal("0.004"), Decimal("0.08"),
           Decimal("0.02"), Decimal("0.05"), 0.3, "x", 1.2),
    Region("gcp", "d", "us"),
]  # fmt: skip
T4 = Gpu("T4", 16, 8.1, 65.0, 320.0, 70.0)
KINDS = [
    InstanceType(
        cloud,
        f"{cloud}.{vcpus:g}{'g' if gpu else ''}",
        Hardware(vcpus, 4.0 * vcpus, "x86_64", gpu=gpu, gpu_count=float(gpu is not None)),
        retired=vcpus == 32 and cloud == "gcp",
    )
    for cloud, vcpus, gpu in itertools.product(
        ("aws", "azure", "gcp"), (2.0, 4.0, 8.0, 32.0), (None, T4)
    )
]
OFFERED = [
    (kind, place, market)
    for kind, place, market in itertools.product(range(len(KINDS)), range(len(REGIONS)), Market)
    if KINDS[kind].cloud == REGIONS[place].cloud
]
books = st.builds(
    SmallBook,
    st.just(KINDS),
    st.just(REGIONS),
    st.dictionaries(
        st.sampled_from(OFFERED), st.decimals("0.001", "3", places=4).map(str), min_size=8
    ),
    st.dictionaries(
        st.sampled_from([offered[:2] for offered in OFFERED]), st.sampled_from([0.02, 0.1, 0.25])
    ),
)
options = st.sampled_from(
    [
        (ResourceOption(),),
        (ResourceOption(Requirements(vcpus=Amount(8)), disk_gb=500),),
        (ResourceOption(Requirements(gpu_model="T4")), ResourceOption(cloud="azure")),
        (ResourceOption(market=Market.SPOT),),
        (ResourceOption(cloud="aws", region="b", max_price_per_hour_usd=Decimal(1)),),
        (ResourceOption(instance_type="gcp.32"),),
    ]
)
jobs = st.builds(
    Job,
    name=st.just("j"),
    command=st.sampled_from(["true", "python train.py"]),
    num_nodes=st.sampled_from([1, 3]),
    resources=options,
    work=st.sampled_from([None, Work(1000), Work(100_000)]),
    takes=st.sampled_from(
        [None, StatedTime(250, "aws.4"), StatedTime(25_000, "aws.4"), StatedTime(3600, "azure.8g")]
    ),
    deadline=st.none()
    | st.builds(Deadline, st.floats(600, 40_000))
    | st.just(Deadline(at=NOW - timedelta(days=1))),
    budget_usd=st.none() | st.decimals("0.01", "9", places=2),
    checkpoint=st.none() | st.just(Checkpoint("c/", 600)),
    data=st.builds(
        Data,
        st.sampled_from([Decimal(0), Decimal(50)]),
        st.sampled_from([Decimal(0), Decimal(9)]),
        st.sampled_from(
            [
                None,
                DataLocation("aws", "b"),
                DataLocation("gcp"),
                DataLocation("azure", "elsewhere"),
            ]
        ),
        st.sampled_from([None, Decimal(3)]),
    ),
    objective=st.sampled_from(ObjectiveKind).map(lambda kind: Objective(kind, Decimal("0.5"))),
)
