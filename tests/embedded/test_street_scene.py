import numpy as np
import pytest

from autogaze.embedded import clip_path
from autogaze.embedded.street_scene import (
    CLIP_SEED,
    FPS,
    FRAMES,
    SIZE,
    STOP,
    Street,
    main,
    pixels_a_metre,
    travelled,
    write_clip,
)
from autogaze.errors import InputError
from autogaze.video.video_file import VideoFile


@pytest.fixture(scope="module")
def clip():
    return VideoFile.open(clip_path())


@pytest.fixture(scope="module")
def street():
    return Street(CLIP_SEED)


def test_the_clip_that_is_checked_in_is_what_the_project_promises(clip):
    assert (clip.frames, clip.height, clip.width, clip.fps) == (64, 448, 448, 25)
    assert clip_path().stat().st_size < 500_000


@pytest.mark.parametrize("number", [0, 45])
def test_the_clip_shows_what_the_program_paints(clip, street, number):
    error = street.frame(number).astype(float) - clip.read(number, 1).frames[0]
    assert np.sqrt((error**2).mean()) < 12


def test_a_seed_always_paints_the_same(street):
    assert np.array_equal(Street(CLIP_SEED).frame(3), street.frame(3))
    assert not np.array_equal(Street(CLIP_SEED + 1).frame(3), street.frame(3))


def test_most_of_the_picture_stands_still_at_the_red_light_and_moves_otherwise(street):
    def changed(first, second):
        return (street.frame(first) != street.frame(second)).any(axis=2).mean()

    assert 0 < changed(STOP.start + 1, STOP.stop - 2) < 0.05
    assert changed(20, 21) > 0.5


def test_the_camera_travels_stops_and_travels_on():
    steps = np.diff(travelled())
    assert (steps[: STOP.start - 6] == 1).all()
    assert (steps[STOP.start : STOP.stop - 1] == 0).all()
    assert (steps[STOP.stop - 1 :] > 0).all()


def test_near_things_are_larger():
    scales = [pixels_a_metre(row) for row in range(246, SIZE)]
    assert scales == sorted(scales)


def test_there_is_detail_at_every_scale(clip):
    luma = clip.read(0, 1).frames[0].mean(axis=2)
    for block in (1, 4, 16, 56):
        means = luma.reshape(SIZE // block, block, SIZE // block, block).mean(axis=(1, 3))
        assert np.abs(np.diff(means, axis=1)).mean() > 4, block


def test_equal_frames_give_an_equal_file(street, tmp_path):
    frames = np.stack([street.frame(number) for number in range(2)])
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, frames)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    written = VideoFile.open(tmp_path / "a.mp4")
    assert (written.frames, written.fps) == (2, FPS)


def test_the_program_writes_where_it_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["street_scene", str(tmp_path / "out.mp4")])
    monkeypatch.setattr(
        "autogaze.embedded.street_scene.paint_clip", lambda: np.zeros((FRAMES, 64, 64, 3), np.uint8)
    )
    main()
    assert VideoFile.open(tmp_path / "out.mp4").frames == FRAMES
    assert "64 frames" in capsys.readouterr().out


def test_a_clip_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_clip(tmp_path / "none" / "out.mp4", np.zeros((1, 64, 64, 3), np.uint8))
