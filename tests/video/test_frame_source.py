import numpy as np
import pytest
from PIL import Image

from autogaze.errors import InputError
from autogaze.video.frame_source import ArrayFile, ImageFolder
from autogaze.video.video_file import open_source

FRAMES = np.random.RandomState(0).randint(0, 256, (12, 6, 8, 3), np.uint8)


def image_folder(path, frames=FRAMES):
    path.mkdir(exist_ok=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(path / f"frame{number}.png")
    return path


def npy(path):
    np.save(path / "frames.npy", FRAMES)
    return path / "frames.npy"


def npz(path):
    np.savez(path / "frames.npz", video=FRAMES)
    return path / "frames.npz"


@pytest.mark.parametrize("make", [image_folder, npy, npz])
def test_every_source_reads_clips_by_number(tmp_path, make):
    source = open_source(make(tmp_path))
    assert (source.frames, source.height, source.width, source.fps) == (12, 6, 8, None)
    clip = source.read(9, 3)
    assert np.array_equal(clip.frames, FRAMES[9:])
    assert clip.repeated == 0


@pytest.mark.parametrize("make", [image_folder, npy, npz])
def test_frames_are_read_by_their_numbers(tmp_path, make):
    assert np.array_equal(open_source(make(tmp_path)).frames_at([1, 4, 11]), FRAMES[[1, 4, 11]])


@pytest.mark.parametrize("make", [image_folder, npy, npz])
def test_a_clip_past_the_end_repeats_the_last_frame_and_says_so(tmp_path, make):
    frames, repeated = open_source(make(tmp_path)).read(10, 5)
    assert np.array_equal(frames, FRAMES[[10, 11, 11, 11, 11]])
    assert repeated == 3


@pytest.mark.parametrize("make", [image_folder, npy, npz])
@pytest.mark.parametrize(
    ("start", "count", "found"),
    [(12, 4, "clip start 12 lies outside .* 12 frames"), (-1, 4, "clip start -1"), (0, 0, "clip length 0")],
)
def test_a_clip_that_begins_nowhere_is_refused(tmp_path, make, start, count, found):
    with pytest.raises(InputError, match=found):
        open_source(make(tmp_path)).read(start, count)


def test_what_is_read_can_be_changed_without_changing_the_file(tmp_path):
    source = open_source(npy(tmp_path))
    source.read(0, 2).frames[:] = 0
    assert np.array_equal(source.read(0, 2).frames, FRAMES[:2])


def test_numbers_in_names_count_as_numbers(tmp_path):
    folder = ImageFolder.open(image_folder(tmp_path))
    assert [file.name for file in folder.files][:3] == ["frame0.png", "frame1.png", "frame2.png"]
    assert folder.files[-1].name == "frame11.png"


def test_other_files_in_a_folder_are_passed_over(tmp_path):
    image_folder(tmp_path)
    (tmp_path / "notes.txt").write_text("not a frame")
    assert ImageFolder.open(tmp_path).frames == 12


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no pictures"):
        open_source(tmp_path)


def test_a_damaged_picture_is_refused(tmp_path):
    image_folder(tmp_path)
    (tmp_path / "frame3.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"frame3\.png' cannot be read as a picture"):
        ImageFolder.open(tmp_path).read(0, 5)


def test_pictures_of_16_bits_are_scaled_to_8(tmp_path):
    grey = FRAMES[0, ..., 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "grey.png")
    picture = ImageFolder.open(tmp_path).read(0, 1).frames[0]
    assert np.array_equal(picture, np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pictures_without_a_range_are_refused(tmp_path, kind):
    Image.fromarray(FRAMES[0, ..., 0].astype(kind)).save(tmp_path / "depth.png", format="TIFF")
    with pytest.raises(InputError, match=r"depth\.png' has pixels of 32 bits"):
        ImageFolder.open(tmp_path)


def test_pictures_of_different_sizes_are_refused(tmp_path):
    image_folder(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "frame3.png")
    with pytest.raises(InputError, match=r"frame3\.png' has 4 x 4 pixels"):
        ImageFolder.open(tmp_path).read(0, 5)


def test_an_array_file_of_something_else_is_refused(tmp_path):
    np.save(tmp_path / "wrong.npy", np.zeros((3, 4)))
    with pytest.raises(InputError, match=r"wrong\.npy': frames have shape \(3, 4\)"):
        ArrayFile.open(tmp_path / "wrong.npy")
    np.savez(tmp_path / "two.npz", a=FRAMES, b=FRAMES)
    with pytest.raises(InputError, match="holds 2 arrays"):
        ArrayFile.open(tmp_path / "two.npz")
    (tmp_path / "text.npz").write_text("no array")
    with pytest.raises(InputError, match="is not an array file"):
        ArrayFile.open(tmp_path / "text.npz")
    (tmp_path / "cut.npz").write_bytes(npz(tmp_path).read_bytes()[:200])
    with pytest.raises(InputError, match="is not an array file"):
        ArrayFile.open(tmp_path / "cut.npz")
