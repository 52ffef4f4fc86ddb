import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from autogaze.datasets.video_utils import transform_video_for_pytorch
from autogaze.errors import InputError
from autogaze.models.autogaze.image_processing_autogaze import CONFIG_NAME, AutoGazeImageProcessor

CASES = json.loads((Path(__file__).parents[2] / "reference" / "image_processor.json").read_text())
RELEASED = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": False,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "AutoGazeImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "offset": True,
    "resample": 2,
    "rescale_factor": 0.00784313725490196,
    "size": {"shortest_edge": 224},
}


def noise(*shape, seed=0):
    return np.random.RandomState(seed).randint(0, 256, shape, np.uint8)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["size"]))
def test_pixel_values_are_those_of_the_released_processor(case):
    frames = np.random.RandomState(case["frames_seed"]).randint(0, 256, case["frames_shape"]).astype(np.uint8)
    processor = AutoGazeImageProcessor(**{**RELEASED, "size": case["size"]})
    values = transform_video_for_pytorch(frames, processor)
    stats, sampled = case["stats"], case["pixel_values"]
    assert list(values.shape) == stats["shape"]
    tolerance = 1e-4 * stats["std"]
    np.testing.assert_allclose(values.flatten()[sampled["index"]], sampled["value"], rtol=0, atol=tolerance)
    assert values.double().mean().item() == pytest.approx(stats["mean"], abs=tolerance)
    assert values.double().std().item() == pytest.approx(stats["std"], abs=tolerance)
    assert values.double().abs().sum().item() == pytest.approx(stats["abs_sum"], rel=1e-6)


def test_a_video_for_the_model_is_one_clip_of_square_frames():
    video = transform_video_for_pytorch(noise(16, 448, 448, 3), AutoGazeImageProcessor.of_checkpoint(224))[
        None
    ]
    assert video.shape == (1, 16, 3, 224, 224)
    assert video.dtype == torch.float32


def test_without_tensors_it_returns_a_list_of_frames_for_each_video():
    output = AutoGazeImageProcessor(size=(8, 8))(list(noise(3, 10, 10, 3)))
    assert len(output["pixel_values"]) == 1
    assert [frame.shape for frame in output.pixel_values[0]] == [(3, 8, 8)] * 3
    assert output.pixel_values[0][0].dtype == np.float32


@pytest.mark.parametrize(
    "same",
    [
        lambda frames: list(frames),
        lambda frames: [Image.fromarray(frame) for frame in frames],
        lambda frames: torch.from_numpy(frames),
        lambda frames: [list(frames)],
        lambda frames: [frames],
        lambda frames: frames[None],
        lambda frames: frames.transpose(0, 3, 1, 2),
        lambda frames: [torch.from_numpy(frame).permute(2, 0, 1) for frame in frames],
        lambda frames: frames.astype(np.float32),
    ],
    ids=[
        "frames", "pictures", "tensor", "batch of frames", "batch of arrays", "batch array",
        "channels first", "tensors, channels first", "whole numbers in floats",
    ],
)  # fmt: skip
def test_every_way_to_hand_in_a_video_gives_the_same(same):
    frames, processor = noise(2, 12, 10, 3), AutoGazeImageProcessor(size=8)
    expected = processor(frames, return_tensors="np").pixel_values
    assert np.array_equal(processor(same(frames), return_tensors="np").pixel_values, expected)


def test_without_arguments_it_is_what_the_released_one_is_without_arguments():
    processor = AutoGazeImageProcessor()
    assert processor.size == {"shortest_edge": 256}
    assert processor.image_mean == processor.image_std == [0.5, 0.5, 0.5]
    assert AutoGazeImageProcessor.of_checkpoint(224).to_dict() == RELEASED


@pytest.mark.parametrize("name", ["videos", "images"])
@pytest.mark.parametrize("call", ["__call__", "preprocess"])
def test_frames_are_handed_in_by_either_name(name, call):
    frames, processor = noise(2, 12, 10, 3), AutoGazeImageProcessor(size=8)
    given = getattr(processor, call)(**{name: list(frames)}, return_tensors="np").pixel_values
    assert np.array_equal(given, processor(frames, return_tensors="np").pixel_values)
    with pytest.raises(InputError, match="both or neither"):
        processor(frames, **{"images": frames})


@pytest.mark.parametrize(
    "settings",
    [
        {"size": {"height": 6, "width": 7}},
        {"do_resize": False},
        {"do_center_crop": True, "crop_size": 4},
        {"image_mean": 0.2, "image_std": [0.1, 0.2, 0.3]},
        {"do_normalize": False, "do_rescale": False, "offset": False},
        {"size": None},
    ],
)
def test_settings_of_a_call_are_of_that_call_alone(settings):
    frames, processor = noise(2, 12, 10, 3), AutoGazeImageProcessor(size=8)
    once = processor(frames, return_tensors="np", **settings).pixel_values
    expected = AutoGazeImageProcessor(**{"size": 8, **{k: v for k, v in settings.items() if v is not None}})
    assert np.array_equal(once, expected(frames, return_tensors="np").pixel_values)
    assert processor.to_dict() == AutoGazeImageProcessor(size=8).to_dict()


def test_channels_come_out_last_if_asked_for_and_are_where_they_are_said_to_be():
    frames, processor = noise(2, 3, 5, 3), AutoGazeImageProcessor(do_resize=False)
    first = processor(frames, return_tensors="np", input_data_format="channels_last").pixel_values
    assert first.shape == (1, 2, 3, 3, 5)
    last = processor(
        frames, return_tensors="np", input_data_format="channels_last", data_format="channels_last"
    ).pixel_values
    assert np.array_equal(last.transpose(0, 1, 4, 2, 3), first)
    with pytest.raises(InputError, match="unknown data_format 'last'"):
        processor(frames, data_format="last")


@pytest.mark.parametrize(
    ("misused", "words"),
    [
        (lambda p, v: p(v, sizes=8), "did you mean 'size'"),
        (lambda p, v: p.preprocess(v, do_resise=False), "did you mean 'do_resize'"),
        (lambda p, v: AutoGazeImageProcessor(image_means=0.5), "did you mean 'image_mean'"),
        (lambda p, v: AutoGazeImageProcessor.from_dict({}, sizes=8), "did you mean 'size'"),
        (lambda p, v: p(v, do_rescale=False), "offset"),
        (lambda p, v: p.save_pretrained("folder", push_to_hub=True), "push_to_hub"),
    ],
)
def test_unknown_and_unusable_settings_are_refused_by_name(misused, words):
    with pytest.raises(InputError, match=words):
        misused(AutoGazeImageProcessor(size=8), noise(1, 8, 8, 3))


@pytest.mark.parametrize("picture", [Image.new("L", (6, 6), 128), np.full((6, 6, 3), 128, np.uint8)])
def test_a_single_picture_is_a_video_of_one_frame(picture):
    values = AutoGazeImageProcessor(do_resize=False)(picture, return_tensors="pt").pixel_values
    assert values.shape == (1, 1, 3, 6, 6)
    assert values[0, 0, 0, 0, 0].item() == pytest.approx((128 / 127.5 - 1 - 0.5) / 0.5, abs=1e-6)


def test_videos_of_a_batch_stay_apart():
    one, two = noise(2, 9, 9, 3, seed=1), noise(2, 9, 9, 3, seed=2)
    processor = AutoGazeImageProcessor(size=8)
    batch = processor([one, two], return_tensors="pt").pixel_values
    assert batch.shape == (2, 2, 3, 8, 8)
    assert torch.equal(batch[1], processor(two, return_tensors="pt").pixel_values[0])


def test_cropping_follows_the_resize():
    frames = noise(1, 20, 40, 3)
    uncropped = AutoGazeImageProcessor(size=10)(frames, return_tensors="np").pixel_values
    cropped = AutoGazeImageProcessor(size=10, do_center_crop=True, crop_size=10)(frames, return_tensors="np")
    assert np.array_equal(cropped.pixel_values, uncropped[..., 5:15])


def test_the_released_configuration_loads_and_is_saved_as_it_was(tmp_path):
    (tmp_path / CONFIG_NAME).write_text(json.dumps(RELEASED))
    processor = AutoGazeImageProcessor.from_pretrained(tmp_path)
    assert processor.image_mean == [0.485, 0.456, 0.406]
    processor.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / CONFIG_NAME).read_text()) == RELEASED
    assert [file.name for file in (tmp_path / "saved").iterdir()] == [CONFIG_NAME]


def test_unknown_entries_are_kept(tmp_path):
    (tmp_path / CONFIG_NAME).write_text(json.dumps(RELEASED | {"video_backend": "x", "crop_size": None}))
    saved = AutoGazeImageProcessor.from_pretrained(tmp_path).to_dict()
    assert saved["video_backend"] == "x"
    assert saved["crop_size"] == {"height": 224, "width": 224}


def test_settings_can_be_overridden_while_loading(tmp_path):
    AutoGazeImageProcessor().save_pretrained(tmp_path)
    processor = AutoGazeImageProcessor.from_pretrained(tmp_path, size=(392, 392))
    assert processor.size == {"height": 392, "width": 392}


def test_transformers_finds_it_by_the_name_in_the_file(tmp_path):
    from transformers import AutoImageProcessor, BatchFeature
    from transformers.image_processing_utils import BaseImageProcessor

    AutoGazeImageProcessor.of_checkpoint(224).save_pretrained(tmp_path)
    processor = AutoImageProcessor.from_pretrained(tmp_path, size={"height": 8, "width": 8})
    assert type(processor) is AutoGazeImageProcessor
    assert isinstance(processor, BaseImageProcessor)
    output = processor(noise(1, 8, 8, 3), return_tensors="pt")
    assert type(output) is BatchFeature
    assert output.pixel_values.shape == (1, 1, 3, 8, 8)


def test_a_callers_configuration_is_never_changed():
    size = {"height": 8, "width": 8}
    AutoGazeImageProcessor(size=size).size["height"] = 9
    assert size == {"height": 8, "width": 8}


@pytest.mark.parametrize("size", [0, -1, (8,), (8, 9, 10), {"longest_edge": 8}, {"height": 8}, 8.5, "big"])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(InputError, match="is not a size"):
        AutoGazeImageProcessor(size=size)


def test_a_crop_has_two_sides():
    with pytest.raises(InputError, match=r"crop_size .* is not a size"):
        AutoGazeImageProcessor(crop_size={"shortest_edge": 8})


def test_folders_and_files_without_a_configuration_are_refused(tmp_path):
    with pytest.raises(InputError, match=f"holds no {CONFIG_NAME}"):
        AutoGazeImageProcessor.from_pretrained(tmp_path)
    (tmp_path / CONFIG_NAME).write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        AutoGazeImageProcessor.from_pretrained(tmp_path)
    (tmp_path / CONFIG_NAME).write_text("[]")
    with pytest.raises(InputError, match="holds a list"):
        AutoGazeImageProcessor.from_pretrained(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        AutoGazeImageProcessor().save_pretrained(tmp_path / "file" / "folder")


@pytest.mark.parametrize(
    ("videos", "found"),
    [
        ([], "an empty list"),
        ("clip.mp4", "a str"),
        (noise(2, 8, 8, 3) / 255, "float64"),
        (noise(2, 4, 8, 8), r"shape \(2, 4, 8, 8\)"),
        ([noise(8, 8, 3), noise(9, 8, 3)], r"shapes \(8, 8, 3\) and \(9, 8, 3\)"),
    ],
)
def test_what_is_no_video_is_refused(videos, found):
    with pytest.raises(InputError, match=found):
        AutoGazeImageProcessor(size=8)(videos)


def test_unlike_videos_make_no_tensor_but_a_list():
    processor, videos = AutoGazeImageProcessor(size=8), [noise(2, 8, 8, 3), noise(3, 8, 8, 3)]
    assert [len(video) for video in processor(videos).pixel_values] == [2, 3]
    with pytest.raises(InputError, match="process them one by one"):
        processor(videos, return_tensors="pt")


def test_an_unknown_kind_of_tensor_is_refused():
    with pytest.raises(InputError, match="unknown return_tensors 'tf'"):
        AutoGazeImageProcessor()(noise(1, 8, 8, 3), return_tensors="tf")
