import json

import pytest

from autogaze.datasets.labels import (
    GazeLabels,
    append_labels,
    check_scales,
    gazing_info,
    read_clip_labels,
    read_label_lines,
    read_labels,
    settings_note,
    write_labels,
)
from autogaze.errors import InputError

ONE = GazeLabels(gazing_pos=((3, 264), (0,)), task_losses=((0.9, 0.75), (0.5,)))
TWO = GazeLabels(gazing_pos=((7,), (8,)), task_losses=((0.25,), (0.125,)))


def test_labels_are_read_as_they_were_written(tmp_path):
    write_labels(tmp_path / "new" / "gazing_labels.json", {"set/train/a.mp4": ONE, "set/train/b.mp4": TWO})
    labels = read_labels(str(tmp_path / "new" / "gazing_labels.json"))
    assert labels == {"set/train/a.mp4": ONE, "set/train/b.mp4": TWO}
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["gazing_labels.json"]


def test_the_file_has_the_released_format(tmp_path):
    write_labels(tmp_path / "labels.json", {"/data/set/train/a.mp4": ONE})
    assert json.loads((tmp_path / "labels.json").read_text()) == {
        "set/train/a.mp4": {"gazing_pos": [[3, 264], [0]], "task_losses": [[0.9, 0.75], [0.5]]}
    }


def test_several_files_and_wildcards_are_joined_and_later_ones_count(tmp_path):
    write_labels(tmp_path / "part_1.json", {"s/train/a.mp4": ONE, "s/train/b.mp4": ONE})
    write_labels(tmp_path / "part_2.json", {"s/train/b.mp4": TWO})
    write_labels(tmp_path / "more.json", {"s/train/c.mp4": TWO})
    labels = read_labels(f"{tmp_path}/part_*.json, {tmp_path}/more.json")
    assert labels == {"s/train/a.mp4": ONE, "s/train/b.mp4": TWO, "s/train/c.mp4": TWO}


def test_videos_are_known_by_the_last_three_parts_of_their_path(tmp_path):
    write_labels(tmp_path / "labels.json", {"/elsewhere/s/train/b.mp4": TWO})
    videos = ["/here/s/train/a.mp4", "/here/s/train/b.mp4"]
    assert read_clip_labels(str(tmp_path / "labels.json"), videos, 2) == {"/here/s/train/b.mp4": TWO}


def test_items_hold_labels_as_lists():
    assert gazing_info(TWO) == {"gazing_pos": [[7], [8]], "task_losses": [[0.25], [0.125]]}


def test_labels_that_fit_no_video_are_refused(tmp_path):
    write_labels(tmp_path / "labels.json", {"s/train/a.mp4": ONE})
    with pytest.raises(InputError, match=r"none of 1 videos, 's/val/a.mp4' the first, is among the 1"):
        read_clip_labels(str(tmp_path / "labels.json"), ["s/val/a.mp4"], 2)


def test_videos_that_label_files_cannot_tell_apart_are_refused(tmp_path):
    write_labels(tmp_path / "labels.json", {"s/train/a.mp4": GazeLabels(((1,),), ((0.5,),))})
    paths = ["/x/s/train/a.mp4", "/x/s/train/a.mp4", "/y/s/train/a.mp4"]
    assert read_clip_labels(str(tmp_path / "labels.json"), paths[:2], 1).keys() == {paths[0]}
    with pytest.raises(InputError, match=r"'/x/s/train/a.mp4' and '/y/s/train/a.mp4' are both"):
        read_clip_labels(str(tmp_path / "labels.json"), paths, 1)


def test_a_label_file_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written: .* name another file"):
        write_labels(tmp_path / "file" / "labels.json", {})


def test_lines_are_added_to_and_a_torn_last_one_is_dropped(tmp_path):
    lines = tmp_path / "labels.jsonl"
    append_labels(lines, {"/data/s/train/a.mp4": ONE})
    with lines.open("a") as file:
        file.write('{"s/train/b.mp4": {"gazing_pos": [[7')
    assert read_label_lines(lines) == {"s/train/a.mp4": ONE}
    append_labels(lines, {"s/train/b.mp4": TWO})
    assert read_label_lines(lines) == {"s/train/a.mp4": ONE, "s/train/b.mp4": TWO}


def test_a_damaged_line_is_refused(tmp_path):
    (tmp_path / "labels.jsonl").write_text('{"s/train/a.mp4"\n{}\n')
    with pytest.raises(InputError, match=r"labels\.jsonl' cannot be read"):
        read_label_lines(tmp_path / "labels.jsonl")


def test_lines_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be written: Is a directory; free space"):
        append_labels(tmp_path, {"s/train/a.mp4": ONE})


def test_labels_of_another_number_of_frames_are_refused(tmp_path):
    write_labels(tmp_path / "labels.json", {"s/train/a.mp4": ONE})
    with pytest.raises(InputError, match="are of 2 frames and clip_len is 16"):
        read_clip_labels(str(tmp_path / "labels.json"), ["s/train/a.mp4"], 16)


def test_labels_of_another_rate_are_refused_where_the_file_tells_it(tmp_path):
    videos = ["s/train/a.mp4"]
    write_labels(tmp_path / "part_1.json", {"s/train/a.mp4": ONE})
    released = read_clip_labels(str(tmp_path / "part_1.json"), videos, 2, frame_sample_rate=3)
    assert released == {"s/train/a.mp4": ONE}
    write_labels(tmp_path / "part_2.json", {"s/train/a.mp4": ONE})
    settings_note(tmp_path / "part_2.json").write_text('{"frame_sample_rate": 2}')
    parts = f"{tmp_path}/part_*.json"
    assert read_clip_labels(parts, videos, 2, frame_sample_rate=2) == released
    with pytest.raises(InputError, match=r"part_2.json' was made with frame_sample_rate 2, .* with 3: set"):
        read_clip_labels(parts, videos, 2, frame_sample_rate=3)


def test_labels_of_other_scales_are_refused_where_the_file_tells_them(tmp_path):
    for part, note in (("1", None), ("2", '{"seed": 0}'), ("3", '{"scales": "32+64"}')):
        write_labels(tmp_path / f"part_{part}.json", {"s/train/a.mp4": ONE})
        if note:
            settings_note(tmp_path / f"part_{part}.json").write_text(note)
    check_scales(f"{tmp_path}/part_1.json,{tmp_path}/part_2.json", "112+224")
    check_scales(f"{tmp_path}/part_*.json", "32 + 64")
    with pytest.raises(InputError, match=r"part_3.json' was made with the scales 32\+64, .* has 112\+224"):
        check_scales(f"{tmp_path}/part_*.json", "112+224")


@pytest.mark.parametrize(
    ("positions", "losses", "found"),
    [
        (((1, 1),), ((0.5, 0.4),), "a patch twice in a frame"),
        (((1, 2),), ((0.5, float("nan")),), "a loss that is no finite number"),
        (((1, 2),), ((0.5,),), r"\[2\] gazes and \[1\] losses"),
        (((1,), (2,)), ((0.5,),), r"\[1, 1\] gazes and \[1\] losses"),
        (((1,), ()), ((0.5,), ()), "at least one in each"),
        ((), (), "at least one in each"),
        (((-1,),), ((0.5,),), "patch index -1"),
    ],
)
def test_labels_that_make_no_sense_are_refused(positions, losses, found):
    with pytest.raises(InputError, match=found):
        GazeLabels(positions, losses)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "cannot be read"),
        ("[]", "holds a list"),
        ('{"s/train/a.mp4": 3}', "no usable entry for 's/train/a.mp4'"),
        ('{"s/train/a.mp4": {"gazing_pos": [[1]]}}', "no usable entry"),
        ('{"s/train/a.mp4": {"gazing_pos": [["x"]], "task_losses": [[1]]}}', "no usable entry"),
        ('{"s/train/a.mp4": {"gazing_pos": [[3.7]], "task_losses": [[1]]}}', "a list of whole numbers"),
        ('{"s/train/a.mp4": {"gazing_pos": [[true]], "task_losses": [[1]]}}', "a list of whole numbers"),
        (
            '{"s/train/a.mp4": {"gazing_pos": [[-4]], "task_losses": [[1]]}}',
            "'s/train/a.mp4': labels hold patch",
        ),
    ],
)
def test_files_of_another_format_are_refused_by_name(tmp_path, text, found):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(InputError, match=found) as refusal:
        read_labels(str(tmp_path / "labels.json"))
    assert "labels.json" in str(refusal.value)


def test_a_label_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none_\*\.json' cannot be read"):
        read_labels(f"{tmp_path}/none_*.json")
