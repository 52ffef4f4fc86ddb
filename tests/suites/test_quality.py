"""The workload on quality: same clips for every selector, figures from the patches that were really used."""

import types
from pathlib import Path

import numpy as np
import pytest
import torch

from autogaze.datasets.synthetic import paint_clip
from autogaze.errors import BackendUnavailable, InputError
from autogaze.gaze.grid import PatchGrid
from autogaze.gaze.output import gaze_output
from autogaze.labelling import greedy_gaze
from autogaze.selectors import SELECTORS
from suites import judges
from suites.loader import load_suite
from suites.quality import GAZE, SelectorQuality, overlap
from suites.quality import SELECTORS as NAMES
from suites.workload import Inputs

AXES = {name: axis.default for name, axis in SelectorQuality.axes.items()} | {
    "setting": "ratio_0.02",
    "chunk": 2,
    "clips": 3,
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Seven frames of noise: three whole clips of two."""
    path = tmp_path_factory.mktemp("clip") / "clip.npz"
    np.savez(path, frames=np.random.default_rng(0).integers(0, 256, (7, 60, 60, 3), dtype=np.uint8))
    return Inputs(video=str(path))


def test_the_suite_offers_every_selector_there_is() -> None:
    assert set(NAMES) == {GAZE, *SELECTORS}
    planned = {
        dict(point.axes)["selector"] for point in load_suite("quality").points if point.workload != GAZE
    }
    assert planned == set(NAMES)


def test_every_selector_sees_the_same_clips_and_keeps_as_many_patches(clip: Inputs) -> None:
    outputs, flops = {}, {}
    for name in (GAZE, "random", "laplacian"):
        workload = SelectorQuality(AXES | {"selector": name}, clip)
        output = workload.run()
        quality = workload.quality(output)
        outputs[name] = (torch.cat([result.video for result in output]), quality.patch_hash)
        flops[name] = quality.counters["flops"]
        assert quality.counters["selected_patches"] == 6 * 5
        assert [(row["clip"], row["frame"]) for row in quality.frames] == list(np.ndindex(3, 2))
        assert all(row["gazes"] == 5 and row["loss"] > 0 for row in quality.frames)
        assert quality.figures["exhausted"] == 1
    (first, _), *others = outputs.values()
    assert all(torch.equal(first, video) for video, _ in others)
    assert len({patch_hash for _, patch_hash in outputs.values()}) == 3
    assert flops["random"] == flops["laplacian"] < flops[GAZE], "they ran no gaze model"


def test_the_video_is_cut_into_whole_clips_and_no_more_than_there_are(clip: Inputs) -> None:
    assert len(SelectorQuality(AXES | {"clips": 2}, clip).run()) == 2
    assert len(SelectorQuality(AXES | {"clips": 9}, clip).run()) == 3


def test_synthetic_clips_are_those_of_the_validation_split() -> None:
    axes = AXES | {"source": "synthetic:held_out", "selector": "uniform", "clips": 2}
    workload = SelectorQuality(axes, Inputs(seed=3))
    expected = workload.pipeline.preprocess([paint_clip("val", "held_out", 3, 1, 2)])
    assert torch.equal(workload.run()[1].video, expected)


def test_the_greedy_search_tries_patches_on_the_reconstructor_that_judges_them(clip: Inputs) -> None:
    workload = SelectorQuality(AXES | {"selector": "greedy", "clips": 1, "setting": "ratio_0.005"}, clip)
    (result,) = workload.run()
    assert workload.pipeline.task is not None
    (labels,) = greedy_gaze(workload.pipeline.task, result.video, [1, 1])
    patches = workload.pipeline.gaze_model.arch.grid.patches_per_frame
    assert (result.gaze.gazing_pos % patches).tolist() == [[patch for (patch,) in labels.gazing_pos]]


def test_step_positions_reach_the_gaze_model(clip: Inputs) -> None:
    hashes = set()
    for positions in ("released", "sequential"):
        workload = SelectorQuality(AXES | {"positions": positions, "setting": "ratio_0.20", "clips": 1}, clip)
        hashes.add(workload.quality(workload.run()).patch_hash)
    assert len(hashes) == 2


def test_a_clip_of_one_frame_has_no_overlap(clip: Inputs) -> None:
    workload = SelectorQuality(AXES | {"chunk": 1, "clips": 1}, clip)
    assert "overlap" not in workload.quality(workload.run()).figures


def test_overlap_is_the_share_of_common_patches_among_those_of_either_frame() -> None:
    grid = PatchGrid((32,), 16)
    frames = [torch.tensor([patches]) for patches in ([0, 1], [1, 2], [2, 1], [3, 4])]  # 4 is no patch
    assert overlap(gaze_output(frames, grid, None)).tolist() == [[1 / 3, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"setting": "task_0.50"}, "only gaze predicts one"),
        ({"positions": "sequential"}, "only the decoder of gaze has any"),
    ],
)
def test_what_only_the_gaze_model_has_is_not_asked_of_others(
    changes: dict[str, str], message: str, clip: Inputs
) -> None:
    with pytest.raises(InputError, match=message):
        SelectorQuality(AXES | {"selector": "random"} | changes, clip)


def test_a_judge_whose_package_or_weights_are_missing_says_how_to_get_them(
    clip: Inputs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    with pytest.raises(BackendUnavailable, match="hf download facebook/dinov2-with-registers-base"):
        SelectorQuality(AXES | {"judge": "dinov2_reg"}, clip)

    def absent(_: str) -> None:
        raise ImportError

    monkeypatch.setattr(judges.importlib, "import_module", absent)
    with pytest.raises(BackendUnavailable, match=r"pip install 'autogaze-bench\[lpips\]'"):
        SelectorQuality(AXES | {"judge": "lpips"}, clip)
    monkeypatch.setattr(judges.importlib, "import_module", lambda _: types.SimpleNamespace())
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(BackendUnavailable, match=r"AlexNet.*does not exist: fetch them"):
        SelectorQuality(AXES | {"judge": "lpips"}, clip)


def test_lpips_is_given_pixels_from_minus_one_to_one(
    clip: Inputs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Mean(torch.nn.Module):
        def __init__(self, net: str, verbose: bool) -> None:
            super().__init__()

        def forward(self, original: torch.Tensor, painted: torch.Tensor) -> torch.Tensor:
            assert original.min() >= -1
            assert original.max() <= 1
            return (original - painted).abs().mean(dim=(1, 2, 3))[:, None, None, None]

    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / judges._LPIPS_WEIGHTS).touch()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(judges.importlib, "import_module", lambda _: types.SimpleNamespace(LPIPS=Mean))
    workload = SelectorQuality(AXES | {"judge": "lpips"}, clip)
    quality = workload.quality(workload.run())
    # Pixels in [0, 1] differ by the mean absolute error; those in [-1, 1] by twice as much.
    expected = 2 * np.mean([row["mae"] for row in quality.frames])
    assert quality.figures["lpips"] == pytest.approx(expected, rel=1e-5)


def test_feature_weights_are_read_from_the_cache(
    clip: Inputs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    from autogaze.tasks.video_mae_reconstruction import configuration
    from autogaze.tasks.video_mae_reconstruction.backbones import build_backbone

    tiny = {"hidden_size": 8, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 8}
    tiny |= {"image_size": 224, "patch_size": 56}
    monkeypatch.setattr(configuration, "architecture", lambda name: tiny)
    state = {name: tensor.clone() for name, tensor in build_backbone("siglip2", tiny).state_dict().items()}
    save_file(state | {"text_model.head.bias": torch.zeros(2)}, tmp_path / "model.safetensors")
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache", lambda *_, **__: str(tmp_path / "model.safetensors")
    )
    workload = SelectorQuality(AXES | {"judge": "siglip2"}, clip)
    loaded = workload.pipeline.task.mae.get_submodule("siglip2").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    assert workload.quality(workload.run()).figures["siglip2"] > 0
