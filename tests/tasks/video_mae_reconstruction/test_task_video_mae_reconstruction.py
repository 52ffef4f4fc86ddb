"""The task gives the released results, sees gazed patches only, and refuses what does not fit."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch

from autogaze.errors import InputError
from autogaze.gaze.output import GazeOutput, gazing_masks
from autogaze.gaze.packed import PackedGaze
from autogaze.stages import observed_by
from autogaze.tasks.video_mae_reconstruction import VideoMAEConfig, VideoMAEReconstruction
from tests.reference.fill import clip, fill
from tests.tasks.video_mae_reconstruction.examples import ALL_LOSSES, REFERENCE, gaze, reconstructor


@pytest.fixture(scope="module")
def video() -> torch.Tensor:
    return clip(3, 2, 3)


def run(
    task: VideoMAEReconstruction, video: torch.Tensor, gazes: Any, *rest: Any, **named: Any
) -> dict[str, Any]:
    with torch.no_grad():
        return task.forward_output({"video_for_task": video}, gazes, *rest, **named)


def reference_task(backend: str = "sdpa") -> VideoMAEReconstruction:
    task = VideoMAEReconstruction(VideoMAEConfig.from_dict(REFERENCE["config"]), attn_implementation=backend)
    fill(task.mae, REFERENCE["weight_seed"])
    return task.eval()


def reference_gaze() -> dict[str, torch.Tensor]:
    values = {name: torch.tensor(value) for name, value in REFERENCE["gaze"].items()}
    return values | {"if_padded_gazing": values["if_padded_gazing"].bool()}


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: f"frames{case['frame_idx']}")
def test_released_reconstructions_are_reproduced(case: dict[str, Any], backend: str) -> None:
    video = clip(REFERENCE["clip_seed"], REFERENCE["batch"], REFERENCE["frames"])
    output = run(reference_task(backend), video, reference_gaze(), case["frame_idx"])
    found, expected, stats = output["reconstruction"], case["reconstruction"], case["reconstruction_stats"]
    assert list(found.shape) == stats["shape"]
    tolerance = 1e-4 * stats["std"]
    sampled = found.flatten()[expected["index"]]
    torch.testing.assert_close(sampled, torch.tensor(expected["value"]), atol=tolerance, rtol=0)
    assert found.mean().item() == pytest.approx(stats["mean"], abs=tolerance)
    assert found.std().item() == pytest.approx(stats["std"], abs=tolerance)
    losses = torch.tensor(case["loss_each_frame"])
    torch.testing.assert_close(
        output["reconstruction_loss_each_reconstruction_frame"], losses, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        output["reconstruction_loss"], torch.tensor(case["loss_mean"]), atol=1e-5, rtol=0
    )


def test_parameters_carry_the_released_names_and_shapes() -> None:
    found = {name: list(tensor.shape) for name, tensor in reference_task().mae.state_dict().items()}
    assert found == REFERENCE["state_dict"]


def test_the_output_has_the_released_keys(video: torch.Tensor) -> None:
    output = run(reconstructor(), video, gaze([3, 2, 2], batch=2), torch.tensor([2, 0]))
    assert output["frame_idx_to_reconstruct"].tolist() == [2, 0]
    assert output["image_mean"] == [0.485, 0.456, 0.406]
    assert output["image_std"] == [0.229, 0.224, 0.225]
    assert output["rescale_factor"] == 1 / 127.5
    assert output["scales"] == [32, 64, 112, 224]


def test_a_gaze_output_and_a_dict_mean_the_same(video: torch.Tensor) -> None:
    gazes, task = gaze([3, 2, 2], batch=2), reconstructor()
    grid = task.config.grid
    positions, padded, slots = gazes.values()
    masks = gazing_masks(positions, padded, 3, grid)
    output = GazeOutput(positions, padded, slots, masks, task.scales, grid.patches_per_frame)
    assert torch.equal(run(task, video, output)["reconstruction"], run(task, video, gazes)["reconstruction"])


def test_frames_come_out_in_the_order_asked_for(video: torch.Tensor) -> None:
    gazes, task = gaze([3, 2, 2], batch=2), reconstructor()
    everything = run(task, video, gazes)["reconstruction"]
    assert torch.equal(run(task, video, gazes, [2, 0, 1])["reconstruction"], everything[:, [2, 0, 1]])


def test_a_video_of_a_batch_is_reconstructed_as_if_alone(video: torch.Tensor) -> None:
    gazes, task = gaze([4, 3, 3], batch=2), reconstructor()
    gazes["if_padded_gazing"][0, [1, 5, 6]] = True
    gazes["if_padded_gazing"][1, 9] = True
    together = run(task, video, gazes, [0, 2])["reconstruction"]
    for index in range(2):
        alone = gazes | {name: gazes[name][index : index + 1] for name in ("gazing_pos", "if_padded_gazing")}
        single = run(task, video[index : index + 1], alone, [0, 2])["reconstruction"]
        torch.testing.assert_close(together[index : index + 1], single, atol=1e-5, rtol=1e-5)


def test_padded_slots_change_nothing(video: torch.Tensor) -> None:
    task, gazes = reconstructor(), gaze([3, 2, 2])
    padded = {
        "gazing_pos": torch.cat(
            [gazes["gazing_pos"][:, :1], torch.tensor([[265]]), gazes["gazing_pos"][:, 1:]], dim=1
        ),
        "if_padded_gazing": torch.tensor([[0, 1, 0, 0, 0, 0, 0, 0]], dtype=torch.bool),
        "num_gazing_each_frame": torch.tensor([4, 2, 2]),
    }
    found, expected = run(task, video[:1], padded, [1]), run(task, video[:1], gazes, [1])
    torch.testing.assert_close(found["reconstruction"], expected["reconstruction"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("frames", [None, [0, 2]])
def test_a_packed_gaze_is_reconstructed_like_the_padded_one(
    video: torch.Tensor, frames: list[int] | None, causal: bool
) -> None:
    task, gazes = reconstructor(causal=causal), gaze([4, 3, 3], batch=2)
    gazes["if_padded_gazing"][0, [1, 5, 6]] = True
    gazes["if_padded_gazing"][1, [0, 2, 3, 4, 5, 6, 8, 9]] = True  # far fewer gazes, a frame without any
    positions, padded, slots = gazes.values()
    packed = PackedGaze.from_padded(positions, padded, slots.tolist(), 265)
    found, expected = run(task, video, packed, frames), run(task, video, gazes, frames)
    torch.testing.assert_close(found["reconstruction"], expected["reconstruction"], atol=1e-5, rtol=1e-5)


def test_later_frames_do_not_change_earlier_reconstructions(video: torch.Tensor) -> None:
    task, gazes = reconstructor(), gaze([3, 2, 2], batch=2)
    changed = video.clone()
    changed[:, 2] = 0
    found = run(task, changed, gazes)["reconstruction"]
    expected = run(task, video, gazes)["reconstruction"]
    torch.testing.assert_close(found[:, :2], expected[:, :2])
    assert not torch.allclose(found[:, 2], expected[:, 2])


def test_only_gazed_patches_are_seen(video: torch.Tensor) -> None:
    gazes = {
        "gazing_pos": torch.tensor([[69]]),  # the upper left patch of the finest scale
        "if_padded_gazing": torch.zeros(1, 1, dtype=torch.bool),
        "num_gazing_each_frame": torch.tensor([1]),
    }
    changed = video[:1, :1].clone()
    changed[..., 16:, :] = 0
    changed[..., :, 16:] = 0
    task = reconstructor()
    assert torch.equal(
        run(task, changed, gazes)["reconstruction"], run(task, video[:1, :1], gazes)["reconstruction"]
    )


def test_without_causal_later_frames_are_seen(video: torch.Tensor) -> None:
    task, gazes = reconstructor(causal=False), gaze([3, 2, 2], batch=2)
    changed = video.clone()
    changed[:, 2] = 0
    found, expected = run(task, changed, gazes), run(task, video, gazes)
    assert not torch.allclose(found["reconstruction"][:, 0], expected["reconstruction"][:, 0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_reconstructs_nearly_the_same(video: torch.Tensor, dtype: torch.dtype) -> None:
    gazes = gaze([3, 2, 2], batch=2)
    gazes["if_padded_gazing"][0, 1] = True
    expected = run(reconstructor(), video, gazes, [0, 1])
    found = run(reconstructor().to(dtype), video.to(dtype), gazes, [0, 1])
    assert found["reconstruction"].dtype == dtype
    assert found["reconstruction_loss"].dtype == torch.float32
    spread = expected["reconstruction"].std()
    assert (found["reconstruction"].float() - expected["reconstruction"]).std() < 0.05 * spread


def test_given_targets_replace_their_computation(video: torch.Tensor) -> None:
    task, gazes = reconstructor(**ALL_LOSSES), gaze([2, 2, 2], batch=2)
    targets = task.target_features({"video_for_task": video}, [1])
    assert sorted(targets) == ["dinov2_reg", "siglip2"]
    expected = run(task, video, gazes, [1])["reconstruction_loss"]
    assert torch.equal(run(task, video, gazes, [1], targets=targets)["reconstruction_loss"], expected)
    moved = {name: features + 1 for name, features in targets.items()}
    assert not torch.allclose(run(task, video, gazes, [1], targets=moved)["reconstruction_loss"], expected)


def test_gradients_reach_every_weight_of_the_model_and_none_of_the_loss_networks(video: torch.Tensor) -> None:
    task = reconstructor(**ALL_LOSSES)
    gazes = gaze([5, 3, 3], batch=1)
    output = task.forward_output({"video_for_task": video[:1]}, gazes, [0, 2])
    output["reconstruction_loss"].sum().backward()
    for name, parameter in task.named_parameters():
        if "dinov2_reg" in name or "siglip2" in name:
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name


class Recorder:
    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, name: str) -> AbstractContextManager[None]:
        @contextmanager
        def recorded() -> Iterator[None]:
            self.stages.append(name)
            yield

        return recorded()

    def count(self, name: str, amount: int) -> None: ...


def test_the_parts_are_marked_as_stages(video: torch.Tensor) -> None:
    recorder = Recorder()
    with observed_by(recorder):
        run(reconstructor(), video, gaze([1, 1, 1], batch=2))
    assert recorder.stages == ["reconstruct.encode", "reconstruct.decode", "reconstruct.loss"]


def test_the_transform_brings_frames_to_the_model() -> None:
    transform = reconstructor().transform
    frames = torch.arange(2 * 40 * 60 * 3).remainder(256).to(torch.uint8).view(2, 40, 60, 3).numpy()
    assert transform(frames, return_tensors="pt")["pixel_values"].shape == (1, 2, 3, 224, 224)
    assert transform.image_mean == [0.485, 0.456, 0.406]
    assert transform.rescale_factor == 1 / 127.5


def test_a_video_of_another_size_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"shape \(1, 2, 3, 112, 112\).*must be.*\(batch, frames, 3, 224, 224\)"
    ):
        run(reconstructor(), torch.zeros(1, 2, 3, 112, 112), gaze([1, 1]))


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(InputError, match="must be a non-empty"):
        run(reconstructor(), torch.zeros(0, 2, 3, 224, 224), gaze([1, 1]))


def test_a_video_of_whole_numbers_is_refused() -> None:
    with pytest.raises(InputError, match="float video"):
        run(reconstructor(), torch.zeros(1, 1, 3, 224, 224, dtype=torch.uint8), gaze([1]))


def test_a_clip_longer_than_the_time_embeddings_is_refused() -> None:
    with pytest.raises(InputError, match="9 frames is longer than the 8"):
        run(reconstructor(), torch.zeros(1, 9, 3, 224, 224), gaze([1] * 9))


def test_a_gaze_of_another_grid_is_refused(video: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"196 patches a frame, the reconstructor 265.*target_scales="):
        run(reconstructor(), video, gaze([1, 1, 1], batch=2) | {"num_vision_tokens_each_frame": 196})


def test_a_gaze_of_another_length_is_refused(video: torch.Tensor) -> None:
    with pytest.raises(InputError, match="covers 2 frames, the video has 3"):
        run(reconstructor(), video, gaze([1, 1], batch=2))


def test_a_gaze_of_another_batch_is_refused(video: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"gazing_pos \(1, 3\).*must have shape \(2, 3\)"):
        run(reconstructor(), video, gaze([1, 1, 1]))


def test_positions_outside_their_frame_are_refused(video: torch.Tensor) -> None:
    gazes = gaze([1, 1, 1], batch=2)
    gazes["gazing_pos"][1, 2] = 3
    with pytest.raises(InputError, match="outside the frame their slot belongs to"):
        run(reconstructor(), video, gazes)


@pytest.mark.parametrize("frames", [[3], [-1], []])
def test_frames_that_are_not_there_are_refused(video: torch.Tensor, frames: list[int]) -> None:
    with pytest.raises(InputError, match="one or more of 0 to 2"):
        run(reconstructor(), video, gaze([1, 1, 1], batch=2), frames)
