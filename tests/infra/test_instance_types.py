"""The catalogue of instance types."""

import pytest

from infra.instance_types import CATALOGUE, is_arm64


def test_every_row_is_whole() -> None:
    """A type has processors and memory; a type with a GPU says which and how much memory, one without says none."""
    for name, item in CATALOGUE.items():
        assert item.name == name
        assert item.architecture == "x86_64"
        assert not is_arm64(name)
        assert item.vcpus > 0
        assert item.memory_gib > 0
        assert bool(item.gpus) == bool(item.gpu) == bool(item.gpu_memory_gib)
        assert item.usd_per_hour is None or 0.05 < item.usd_per_hour < 40


@pytest.mark.parametrize(("name", "usd"), [("g5.xlarge", 1.006), ("g6.2xlarge", 0.9776), ("c7i.2xlarge", 0.357)])
def test_prices_of_the_documentation(name: str, usd: float) -> None:
    """CPU families (by arithmetic) and GPU rows have the hourly prices that the documentation reckons with."""
    assert CATALOGUE[name].usd_per_hour == usd


@pytest.mark.parametrize(
    "name",
    [
        "a1.large",
        "c7g.large",
        "m7gd.large",
        "t4g.micro",
        "im4gn.large",
        "g5g.xlarge",
        "x2gd.large",
        "hpc7g.4xlarge",
        "p6e-gb200.36xlarge",
    ],
)
def test_arm64_is_known_by_its_name(name: str) -> None:
    """Graviton and Grace types are recognised without being in the catalogue."""
    assert is_arm64(name)


@pytest.mark.parametrize(
    "name",
    [
        "g4dn.xlarge",
        "g4ad.xlarge",
        "g6f.large",
        "m7i-flex.large",
        "p6-b200.48xlarge",
        "dl1.24xlarge",
    ],
)
def test_x86_is_not_taken_for_arm64(name: str) -> None:
    """A g in front of the generation is the family of GPU instances, not the letter for Graviton."""
    assert not is_arm64(name)
