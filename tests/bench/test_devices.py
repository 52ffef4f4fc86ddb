import pytest

from autogaze.errors import InputError
from bench.devices import CPU, Device, find_devices, select

H100 = Device("cuda:0", "NVIDIA H100 80GB HBM3", "0000:01:00.0", 132, 80 * 2**30)
RTX = Device("cuda:1", "NVIDIA GeForce RTX 3090", "0000:02:00.0", 82, 24 * 2**30)
FOUND = (H100, RTX, CPU)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("auto", (H100,)),
        ("cpu", (CPU,)),
        ("h100", (H100,)),
        ("H100", (H100,)),
        ("rtx3090", (RTX,)),
        ("RTX-3090", (RTX,)),
        ("cuda:1", (RTX,)),
        ("rtx 3090, h100", (RTX, H100)),
        ("h100,cuda:0", (H100,)),
    ],
)
def test_names_mean_devices(names: str, expected: tuple[Device, ...]) -> None:
    assert select(names, FOUND) == expected


def test_auto_is_the_cpu_where_there_is_nothing_else() -> None:
    assert select("auto", (CPU,)) == (CPU,)


def test_auto_is_the_cpu_where_torch_cannot_use_the_gpu() -> None:
    assert select("auto", FOUND, torch_has_cuda=False) == (CPU,)


def test_a_gpu_that_torch_cannot_use_is_refused() -> None:
    with pytest.raises(InputError, match="torch is built without CUDA: install a CUDA build"):
        select("h100", FOUND, torch_has_cuda=False)


@pytest.mark.parametrize("name", ["b200", "", "cuda:7", "h100,b200"])
def test_a_name_that_fits_nothing_is_refused_with_the_devices_found(name: str) -> None:
    with pytest.raises(InputError, match=r"found cuda:0 \(NVIDIA H100 80GB HBM3\), cuda:1 .*, cpu"):
        select(name, FOUND)


def test_slugs_are_fit_for_folders() -> None:
    assert (H100.slug, RTX.slug, CPU.slug) == ("h100-80gb-hbm3", "rtx-3090", "cpu")


def test_the_cpu_is_always_found_and_comes_last() -> None:
    assert find_devices()[-1] == CPU
