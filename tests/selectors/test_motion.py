"""Motion vectors point at what moves, be they read from a file or from an encoding made for the purpose."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from autogaze.embedded import clip_path
from autogaze.errors import BackendUnavailable, InputError
from autogaze.gaze.grid import PatchGrid
from autogaze.selectors import file_motion_vectors, motion
from autogaze.selectors.coverage import coarse_first
from autogaze.selectors.motion import motion_vectors
from autogaze.video.container import import_av
from autogaze.video.preprocessing import normalize
from autogaze.video.video_file import open_source
from tests.video.odd_videos import set_display_matrix
from tests.video.videos import write_video

GRID = PatchGrid((32, 64), 16)
"""Patches 0 to 3 and 4 to 19."""
BUDGETS = (5, 5, 5, 5)


def texture(seed: int, size: int, low: int, high: int) -> np.ndarray:
    """Smooth in the large and rough in the small, as natural pictures are."""
    pixels = np.random.RandomState(seed).randint(low, high, (size // 8, size // 8, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC), np.float32)
    rough = np.random.RandomState(seed + 1).normal(0, 6, smooth.shape)
    return (smooth + rough).clip(0, 255).astype(np.uint8)


def moving_square() -> np.ndarray:
    """A square that moves right, 3 pixels a frame, in the lower left quarter; all else stands still."""
    frames = np.repeat(texture(0, 64, 60, 150)[None], 4, axis=0)
    for t, frame in enumerate(frames):
        frame[44:60, 2 + 3 * t : 18 + 3 * t] = texture(2, 16, 0, 255)
    return frames


def clip(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(normalize(frames))[None]


def assert_finds_the_square(order: Tensor) -> None:
    for frame in order[0, 1:].tolist():
        assert frame[0] == 2  # the coarse patch over the lower left quarter
        assert frame[1] in {12, 13, 16, 17}  # a fine one below it


@pytest.mark.parametrize("codec", [("libx264", "h264"), ("mpeg4", "mpeg4")])
def test_what_moves_is_looked_at(codec: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion, "_CODECS", [codec])
    assert_finds_the_square(motion_vectors(clip(moving_square()), BUDGETS, GRID))


def test_the_first_frame_and_frames_that_stand_still_are_covered_evenly() -> None:
    still = clip(np.repeat(moving_square()[:1], 4, axis=0))
    assert torch.equal(motion_vectors(still, BUDGETS, GRID), coarse_first(still, BUDGETS, GRID))


def test_content_that_no_motion_explains_counts_as_motion() -> None:
    frames = np.repeat(moving_square()[:1], 4, axis=0)
    frames[2:, 16:32, 32:48] = np.random.RandomState(1).randint(0, 255, (16, 16, 3))
    order = motion_vectors(clip(frames), BUDGETS, GRID)
    assert order[0, 2, :2].tolist() == [1, 10]


def test_odd_sides_are_encoded_all_the_same() -> None:
    frames = np.pad(moving_square(), ((0, 0), (0, 1), (0, 1), (0, 0)), mode="edge")
    assert_finds_the_square(motion_vectors(clip(frames), BUDGETS, GRID))


@pytest.mark.parametrize(("height", "width"), [(1, 64), (64, 1), (1, 1)])
def test_sides_of_a_single_pixel_are_encoded_too(height: int, width: int) -> None:
    order = motion_vectors(torch.randn(1, 4, 3, height, width), BUDGETS, GRID)
    assert (order.sort().values == torch.arange(20)).all()


@pytest.mark.parametrize(("codec", "b_frames"), [("libx264", 0), ("libx264", 2), ("mpeg4", 0)])
def test_a_file_tells_its_own_vectors(tmp_path: Path, codec: str, b_frames: int) -> None:
    path = write_video(tmp_path / "moving.mp4", 8, codec, b_frames=b_frames)
    source = open_source(path)
    frames = clip(source.read(2, 4).frames)
    order = file_motion_vectors(path, start=2)(frames, BUDGETS, GRID)
    assert order.shape == (1, 4, 20)
    assert (order.sort().values == torch.arange(20)).all()
    assert not torch.equal(order, coarse_first(frames, BUDGETS, GRID))


def painted_block_by_block(picture: Any) -> np.ndarray:
    motion = np.full((-(-picture.height // 4), -(-picture.width // 4)), -1, np.float32)
    vectors = picture.side_data.get("MOTION_VECTORS")
    if vectors is None:
        return np.zeros_like(motion)
    for block in vectors.to_ndarray():
        pixels = np.hypot(block["motion_x"], block["motion_y"])
        pixels = pixels / max(block["motion_scale"], 1)
        top, left = ((int(block[f"dst_{a}"]) - int(block[side]) // 2) // 4 for a, side in ("yh", "xw"))
        rows, columns = slice(max(top, 0), top + block["h"] // 4), slice(max(left, 0), left + block["w"] // 4)
        motion[rows, columns] = np.maximum(motion[rows, columns], pixels)
    motion[motion < 0] = 16
    return motion


@pytest.mark.parametrize("size", [None, 60], ids=["embedded clip", "blocks over the edge"])
def test_blocks_are_painted_as_one_by_one(tmp_path: Path, size: int | None) -> None:
    path = clip_path() if size is None else write_video(tmp_path / "edge.mp4", 8, b_frames=2, size=size)
    with import_av().open(str(path)) as container:
        container.streams.video[0].codec_context.options = {"flags2": "+export_mvs"}
        pictures = list(container.decode(video=0))
    assert any(picture.side_data.get("MOTION_VECTORS") for picture in pictures)
    for number, picture in enumerate(pictures):
        np.testing.assert_array_equal(
            motion._painted(motion._vectors(picture), motion._cells_of(picture)),
            painted_block_by_block(picture),
            f"{number}",
        )


def test_frames_behind_the_end_of_a_file_show_no_motion(tmp_path: Path) -> None:
    path = write_video(tmp_path / "short.mp4", 5)
    video = torch.zeros(1, 4, 3, 64, 64)
    order = file_motion_vectors(path, start=3, geometry="center_crop")(video, BUDGETS, GRID)
    assert torch.equal(order[:, 2:], coarse_first(video, BUDGETS, GRID)[:, 2:])


def test_files_without_vectors_are_refused(tmp_path: Path) -> None:
    video = torch.zeros(1, 4, 3, 64, 64)
    path = write_video(tmp_path / "intra.mp4", 6, "mjpeg", options={"strict": "unofficial"})
    with pytest.raises(InputError, match=r"tells no motion vectors in frames 0 to 3: H\.264"):
        file_motion_vectors(path)(video, BUDGETS, GRID)
    path = write_video(tmp_path / "short.mp4", 3)
    with pytest.raises(InputError, match="ends before frame 7: start earlier"):
        file_motion_vectors(path, start=7)(video, BUDGETS, GRID)
    with pytest.raises(InputError, match="the batch holds 2: give one clip"):
        file_motion_vectors(path)(video.repeat(2, 1, 1, 1, 1), BUDGETS, GRID)
    with pytest.raises(InputError, match="cannot be opened"):
        file_motion_vectors(tmp_path / "missing.mp4")(video, BUDGETS, GRID)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_file_that_is_damaged_in_the_middle_is_refused(tmp_path: Path, codec: str) -> None:
    path = write_video(tmp_path / "damaged.mp4", 12, codec)
    content = path.read_bytes()
    first, last = len(content) * 2 // 5, len(content) // 2
    path.write_bytes(content[:first] + bytes(last - first) + content[last:])
    with pytest.raises(InputError, match=r"damaged\.mp4' is damaged before frame 12 \("):
        file_motion_vectors(path)(torch.zeros(1, 12, 3, 64, 64), (5,) * 12, GRID)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"start": -1}, r"start of the motion vectors of clip\.mp4 is -1: frames count from 0"),
        ({"geometry": "centre_crop"}, "unknown geometry 'centre_crop': did you mean 'center_crop'"),
    ],
)
def test_requests_of_a_file_that_make_no_sense_are_refused(arguments: dict[str, Any], found: str) -> None:
    with pytest.raises(InputError, match=found):
        file_motion_vectors(Path("clip.mp4"), **arguments)


def test_without_an_encoder_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare:
        codecs_available: frozenset[str] = frozenset()

        def __getattr__(self, name: str) -> Any:
            return getattr(import_av(), name)

    monkeypatch.setattr(motion, "import_av", Bare)
    with pytest.raises(BackendUnavailable, match="without libx264 and mpeg4: install PyAV's own wheel"):
        motion_vectors(clip(moving_square()), BUDGETS, GRID)


def write_pan(path: Path, codec: str, options: dict[str, str], frames: int = 24) -> Path:
    """A picture that moves left as a whole, 4 pixels a frame, with three B-frames between two others."""
    av = import_av()
    scenery = np.random.RandomState(0).randint(0, 255, (20, 100, 3), np.uint8)
    scenery = np.asarray(Image.fromarray(scenery).resize((800, 160), Image.Resampling.BICUBIC))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        stream.bit_rate = 2_000_000
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 12, 3
        for number in range(frames):
            view = np.ascontiguousarray(scenery[:128, 4 * number : 4 * number + 160])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode(None))
    return path


PANS = {
    "H.264": ("libx264", {"x264-params": "b-adapt=0:b-pyramid=none:ref=1:scenecut=0"}),
    "H.264 with B-frames that others refer to": (
        "libx264",
        {"x264-params": "b-adapt=0:b-pyramid=normal:ref=2:scenecut=0"},
    ),
    "MPEG-4": ("mpeg4", {"b_strategy": "0", "sc_threshold": "1000000000"}),
}


@pytest.mark.parametrize("name", PANS)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_motion_is_that_of_one_frame_however_far_a_picture_refers(
    tmp_path: Path, name: str, suffix: str
) -> None:
    path = write_pan(tmp_path / f"pan.{suffix}", *PANS[name])
    moves = [float(np.median(frame)) for frame in motion._file_motion(path, 0, 24)]
    # Pictures coded without others show none: the first of each group, and in MPEG-4 the last of all.
    assert [number for number, pixels in enumerate(moves) if pixels == 0][:2] == [0, 12]
    assert moves[1:12] + moves[13:23] == pytest.approx([4] * 21, abs=0.3)


@pytest.mark.parametrize("start", [1, 5, 13])
def test_motion_does_not_depend_on_where_a_clip_begins(tmp_path: Path, start: int) -> None:
    path = write_pan(tmp_path / "pan.mp4", *PANS["H.264"])
    whole = motion._file_motion(path, 0, 24)
    for found, expected in zip(motion._file_motion(path, start, 4), whole[start:], strict=False):
        np.testing.assert_array_equal(found, expected)


def test_motion_is_turned_with_the_pictures(tmp_path: Path) -> None:
    path = write_video(tmp_path / "moving.mp4", 4)
    stored = motion._file_motion(path, 0, 4)
    set_display_matrix(path, (0, 1, -1, 0))
    for turned, straight in zip(motion._file_motion(path, 0, 4), stored, strict=True):
        np.testing.assert_array_equal(turned, np.rot90(straight, -1))
