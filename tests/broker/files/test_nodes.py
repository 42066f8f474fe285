"""The user's own machines: reading the file, deriving the price, refusing what is wrong."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.node_slurm import SlurmPlace
from mlbroker.broker.files.nodes import Node, load_nodes, nodes_file
from mlbroker.pricing.offer import Gpu

FULL = """
nodes:
  - name: gpu-box
    host: 10.0.0.5
    port: 2222
    user: ml
    identity_file: keys/id_ed25519
    host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB root@gpu-box
    count: 2
    hardware: {vcpus: 32, memory_gib: 128, cpu: Ice Lake, gpu: L4, gpu_count: 2, network_gbps: 10}
    cost: {purchase_usd: 8766, amortisation_years: 2, utilisation: 0.5, power_w: 1000,
           power_usd_per_kwh: 0.2, pue: 1.5, upkeep_usd_per_year: 438.3}
  - name: here
    hardware: {vcpus: 2, memory_gib: 7.5, arch: arm64}
    price_per_hour_usd: 0.05
"""
L4 = Gpu("L4", 24.0, 30.3, 121.0, 300.0, 72.0)
SMALL = "hardware: {vcpus: 1, memory_gib: 1}, price_per_hour_usd: 1"


def read(tmp_path: Path, text: str) -> list[Node]:
    path = tmp_path / "nodes.yaml"
    path.write_text(text)
    return load_nodes(path, {"L4": L4})


@pytest.mark.parametrize(
    ("named", "model"),
    [
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("l40", "L40"),
        ("V100", "V100-16GB"),
        ("Mine", "Mine"),
    ],
)
def test_gpus_bear_the_names_that_jobs_ask_for(tmp_path: Path, named: str, model: str) -> None:
    hardware = f"{{vcpus: 1, memory_gib: 1, gpu: {named}, gpu_memory_gib: 24}}"
    text = f"nodes:\n  - {{name: a, hardware: {hardware}, price_per_hour_usd: 1}}\n"
    (node,) = read(tmp_path, text)
    assert node.hardware.gpu == Gpu(model, 24)


def test_a_node_behind_ssh_and_this_machine(tmp_path: Path) -> None:
    box, here = read(tmp_path, FULL)
    assert (box.cloud, box.host, box.port, box.user, box.count) == (
        "ssh", "10.0.0.5", 2222, "ml", 2,
    )  # fmt: skip
    assert box.identity_file == tmp_path / "keys/id_ed25519"
    assert box.host_key == "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB"
    assert box.hardware.gpu is L4
    assert box.hardware.gpu_memory_gib == 48
    assert (here.cloud, here.host, here.hardware.arch) == ("local", None, "arm64")
    assert here.price_per_hour_usd == Decimal("0.05")
    assert "stated" in here.how


def test_a_place_of_a_cluster_under_slurm(tmp_path: Path) -> None:
    text = """
nodes:
  - name: big
    slurm: {partition: gpu, account: lab, qos: high, constraint: "a100&ib", gres: "gpu:a100",
            folder: shared/runs}
    hardware: {vcpus: 8, memory_gib: 64, gpu: L4, gpu_count: 2}
    price_per_hour_usd: 2
  - {name: plain, slurm: {}, hardware: {vcpus: 1, memory_gib: 1}, price_per_hour_usd: 1}
"""
    big, plain = read(tmp_path, text)
    assert (big.cloud, big.host, plain.cloud) == ("slurm", None, "slurm")
    assert big.slurm == SlurmPlace(
        "gpu", "lab", "high", "a100&ib", "gpu:a100", tmp_path / "shared/runs"
    )
    assert plain.slurm == SlurmPlace()


def test_the_derived_price_is_the_sum_it_explains(tmp_path: Path) -> None:
    box, _ = read(tmp_path, FULL)
    # 8766 USD over 2 years of 8766 h, half of them in use: 1 USD/h; upkeep 0.1; power 0.3.
    assert box.price_per_hour_usd == Decimal("1.4")
    for part in ("8766 USD", "2 years", "4383.0 h", "1.000000", "0.100000", "0.300000", "1.400000"):
        assert part in box.how


@given(st.integers(1, 10**6), st.integers(1, 20), st.integers(1, 100), st.integers(1, 5000))
def test_idle_machines_and_dear_power_never_make_an_hour_cheaper(
    tmp_path_factory: pytest.TempPathFactory, usd: int, years: int, percent: int, watts: int
) -> None:
    def price(share: Decimal, power: str) -> Decimal:
        (node,) = read(
            tmp_path_factory.mktemp("n"),
            "nodes:\n- {name: a, hardware: {vcpus: 1, memory_gib: 1}, cost: {purchase_usd: "
            f"{usd}, amortisation_years: {years}, utilisation: {share}{power}}}}}\n",
        )
        return node.price_per_hour_usd

    share = Decimal(percent) / 100
    plain = price(share, "")
    assert price(Decimal(1), "") <= plain
    assert price(share, f", power_w: {watts}, power_usd_per_kwh: 0.3") >= plain


def test_a_machine_of_one_s_own_may_be_free(tmp_path: Path) -> None:
    (node,) = read(tmp_path, f"nodes:\n- {{name: a, {SMALL.replace('usd: 1', 'usd: 0')}}}\n")
    assert node.price_per_hour_usd == 0


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "must hold one document"),
        ("nodes:\n", "nodes: is missing"),
        ("nodes: 3\n", "must be a list"),
        ("node:\n- a\n", "unknown key 'node'"),
        ("nodes:\n- 3\n", r"nodes\[0\]: must be a mapping"),
        (f"nodes:\n- {{{SMALL}}}\n", "name: is missing"),
        (f"nodes:\n- {{name: a, {SMALL}}}\n- {{name: a, {SMALL}}}\n", "is taken"),
        (f"nodes:\n- {{name: a b, {SMALL}}}\n", "is not a name"),
        (f"nodes:\n- {{name: a, host: -oProxyCommand=x, {SMALL}}}\n", "is not a host name"),
        (f"nodes:\n- {{name: a, host: h, user: -l, {SMALL}}}\n", "is not a user name"),
        (f"nodes:\n- {{name: a, host: h, port: 99999, {SMALL}}}\n", "not between 1 and 65535"),
        (f"nodes:\n- {{name: a, host: h, host_key: secret, {SMALL}}}\n", "not a public host key"),
        (f"nodes:\n- {{name: a, user: me, {SMALL}}}\n", "only for a node with a host"),
        (f"nodes:\n- {{name: a, slurm: , {SMALL}}}\n", "slurm: is empty"),
        (f"nodes:\n- {{name: a, slurm: 3, {SMALL}}}\n", "must be a mapping"),
        (f"nodes:\n- {{name: a, slurm: {{}}, count: 2, {SMALL}}}\n", "count: is not for a node"),
        (f"nodes:\n- {{name: a, slurm: {{}}, host: h, {SMALL}}}\n", "host: is not for a node"),
        (f"nodes:\n- {{name: a, slurm: {{partiton: b}}, {SMALL}}}\n", "unknown key 'partiton'"),
        (f"nodes:\n- {{name: a, slurm: {{qos: -x}}, {SMALL}}}\n", "is not a name"),
        (f"nodes:\n- {{name: a, slurm: {{account: 'a b'}}, {SMALL}}}\n", "is not a name"),
        (f"nodes:\n- {{name: a, hosst: h, {SMALL}}}\n", "unknown key 'hosst'"),
        ("nodes:\n- {name: a, price_per_hour_usd: 1}\n", "hardware: is missing"),
        ("nodes:\n- {name: a, hardware: {vcpus: 1, memory_gib: 1}}\n", "either price_per_hour"),
        (f"nodes:\n- {{name: a, {SMALL}, cost: {{purchase_usd: 1}}}}\n", "either price_per_hour"),
        (f"nodes:\n- {{name: a, {SMALL.replace(': 1}', ': 0}')}}}\n", "more than zero"),
        (f"nodes:\n- {{name: a, {SMALL.replace('usd: 1', 'usd: -1')}}}\n", "not an amount"),
        (f"nodes:\n- {{name: a, {SMALL.replace('usd: 1', 'usd: 1 EUR')}}}\n", "not in US dollars"),
        (f"nodes:\n- {{name: a, {SMALL.replace('1}', '1, gpu: X9}')}}}\n", "gpu_memory_gib"),
        (f"nodes:\n- {{name: a, {SMALL.replace('1}', '1, gpu_count: 2}')}}}\n", "needs gpu"),
        (f"nodes:\n- {{name: a, {SMALL.replace('1}', '1, arch: mips}')}}}\n", "x86_64 or arm64"),
    ],
)
def test_a_wrong_file_is_refused_with_place_and_key(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as refused:
        read(tmp_path, text)
    assert str(tmp_path / "nodes.yaml") in str(refused.value)


@pytest.mark.parametrize(
    ("cost", "what"),
    [
        ("{}", "purchase_usd: is missing"),
        ("{purchase_usd: 100}", "amortisation_years: is missing"),
        ("{purchase_usd: 100, amortisation_years: 0}", "more than zero"),
        ("{purchase_usd: 100, amortisation_years: 3, utilisation: 1.5}", "between 0 and 1"),
        ("{purchase_usd: 100, amortisation_years: 3, utilisation: 0}", "more than zero"),
        ("{purchase_usd: 100, amortisation_years: 3, pue: 0.9}", "1 or more"),
        ("{purchase_usd: 100, amortisation_years: 3, power_w: 300}", "power_usd_per_kwh"),
        ("{purchase_usd: 100, amortisation_years: 3, power_usd_per_kwh: 1}", "power_w"),
        ("{purchase_usd: 100, amortisation_yers: 3}", "did you mean 'amortisation_years'"),
    ],
)
def test_a_wrong_cost_block_is_refused(tmp_path: Path, cost: str, what: str) -> None:
    text = f"nodes:\n- {{name: a, hardware: {{vcpus: 1, memory_gib: 1}}, cost: {cost}}}\n"
    with pytest.raises(InputError, match=what):
        read(tmp_path, text)


def test_which_file_is_in_use(tmp_path: Path) -> None:
    assert nodes_file(tmp_path, environ={}) is None
    (tmp_path / "nodes.yaml").write_text(FULL)
    assert nodes_file(tmp_path, environ={}) == tmp_path / "nodes.yaml"
    chosen = {"MLBROKER_NODES": "/etc/mine.yaml"}
    assert nodes_file(tmp_path, environ=chosen) == Path("/etc/mine.yaml")
    assert nodes_file(tmp_path, Path("other.yaml"), environ=chosen) == Path("other.yaml")


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_nodes(tmp_path / "absent.yaml")


def in_a_cluster(tmp_path: Path, more: str, hardware: str = "{vcpus: 2, memory_gib: 4}") -> Path:
    path = tmp_path / "nodes.yaml"
    path.write_text(
        "nodes:\n- name: lab\n  kubernetes:\n"
        + "".join(f"    {line}\n" for line in more.split("\n"))
        + f"  hardware: {hardware}\n  price_per_hour_usd: 0.3\n"
    )
    return path


def test_a_place_in_a_cluster(tmp_path: Path) -> None:
    path = in_a_cluster(
        tmp_path,
        "image: python:3.12\nvolume: {claim: c, mounted_at: mnt, sub_path: a/b}\n"
        "node_selector: {pool: gpu}\nqueue: team\nmax_wait: 10m\nkubeconfig: k",
    )
    (node,) = load_nodes(path)
    assert (node.cloud, node.here) == ("kubernetes", False)
    assert node.cluster is not None
    assert node.cluster.folder == str(tmp_path / "mnt")
    assert node.cluster.kubeconfig == str(tmp_path / "k")
    assert (node.cluster.node_selector, node.cluster.max_wait_s) == ((("pool", "gpu"),), 600)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("image: i", "kubernetes.volume: is missing"),
        ("volume: {claim: c, mounted_at: /m}", "kubernetes.image: is missing"),
        ("image: i\nvolume: {claim: C_1, mounted_at: /m}", "volume.claim"),
        ("image: i\nvolume: {claim: c}", "mounted_at: is missing"),
        ("image: i\nvolume: {claim: c, mounted_at: /m, sub_path: ../x}", "sub_path"),
        ("image: i\nvolume: {claim: c, mounted_at: /m}\nnode_selector: {'a b': c}", "a b"),
        ("image: i\nvolume: {claim: c, mounted_at: /m}\nnamspace: x", "did you mean 'namespace'"),
        ("image: i\nvolume: {claim: c, mounted_at: /m}\nrun_as_user: 0", "root"),
        ("image: i\nvolume: {claim: c, mounted_at: /m}\nmax_wait: soon", "not a duration"),
        ("image: '--privileged'\nvolume: {claim: c, mounted_at: /m}", "image"),
    ],
)
def test_what_is_wrong_with_a_place_is_said_with_its_line(
    more: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        load_nodes(in_a_cluster(tmp_path, more))
    assert says in str(refused.value)
    assert "nodes.yaml:" in str(refused.value)


def test_a_place_in_a_cluster_has_no_host(tmp_path: Path) -> None:
    path = in_a_cluster(tmp_path, "image: i\nvolume: {claim: c, mounted_at: /m}")
    path.write_text(path.read_text() + "  host: h\n")
    with pytest.raises(InputError, match="knows its machines itself"):
        load_nodes(path)
