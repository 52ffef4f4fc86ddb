"""Labels for a whole data set, which survive being cut off."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autogaze.datasets.labels import append_labels, read_labels
from autogaze.datasets.synthetic import SyntheticVideos
from autogaze.errors import InputError
from autogaze.labelling import maker
from autogaze.labelling.maker import LabelSettings, Shard, draw_budgets, make_labels
from tests.labelling.examples import PATCHES, small_task

SETTINGS = LabelSettings(candidates=2)
CLIPS = SyntheticVideos(clip_len=2, size=64, length=5)
NAMES = [CLIPS.path(number) for number in range(5)]


class Power:
    """Clips that are there until the power fails."""

    clip_len, frame_sample_rate = CLIPS.clip_len, CLIPS.frame_sample_rate

    def __init__(self, lasts: int) -> None:
        self.lasts = lasts
        self.read: list[int] = []

    def __getitem__(self, index: int) -> dict[str, Any]:
        if len(self.read) == self.lasts:
            raise KeyboardInterrupt
        self.read.append(index)
        return CLIPS[index]


def test_every_clip_is_labelled_in_the_released_format(tmp_path: Path) -> None:
    labels = make_labels(small_task(), CLIPS, NAMES, tmp_path / "labels.json", SETTINGS)
    assert sorted(labels) == NAMES
    assert read_labels(str(tmp_path / "labels.json")) == labels
    for name, label in labels.items():
        budgets = draw_budgets(name, 2, SETTINGS, PATCHES)
        assert tuple(map(len, label.gazing_pos)) == budgets


def test_a_run_that_was_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    task, out = small_task(), tmp_path / "labels.json"
    cut_off, resumed = Power(lasts=3), Power(lasts=5)
    with pytest.raises(KeyboardInterrupt):
        make_labels(task, cut_off, NAMES, out, SETTINGS, batch_size=2)
    assert sorted(read_labels(str(out))) == NAMES[:2]
    labels = make_labels(task, resumed, NAMES, out, SETTINGS, batch_size=2)
    assert resumed.read == [2, 3, 4]
    assert labels == make_labels(task, CLIPS, NAMES, tmp_path / "other.json", SETTINGS, batch_size=2)


@pytest.mark.parametrize("torn", ["", '{"synthetic_mixed_0/train/00000002.mp4": {"gazing_'])
def test_a_run_that_was_killed_goes_on_from_the_lines_it_left(tmp_path: Path, torn: str) -> None:
    task, out, lines = small_task(), tmp_path / "labels.json", tmp_path / "labels.json.partial.jsonl"
    whole = make_labels(task, CLIPS, NAMES, out, SETTINGS)
    out.unlink()
    append_labels(lines, {name: whole[name] for name in NAMES[:2]})
    with lines.open("a") as file:
        file.write(torn)
    resumed = Power(lasts=5)
    make_labels(task, resumed, NAMES, out, SETTINGS)
    assert resumed.read == [2, 3, 4]
    assert read_labels(str(out)).keys() == whole.keys()
    assert not lines.exists()


def test_the_label_file_is_written_once_however_many_batches_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    monkeypatch.setattr(maker, "write_labels", lambda file, labels: written.append(len(labels)))
    make_labels(small_task(), CLIPS, NAMES, tmp_path / "labels.json", SETTINGS, batch_size=1)
    assert written == [5]


def test_lines_that_were_made_otherwise_are_not_continued(tmp_path: Path) -> None:
    out = tmp_path / "labels.json"
    make_labels(small_task(), CLIPS, NAMES[:1], out, SETTINGS)
    append_labels(tmp_path / "labels.json.partial.jsonl", read_labels(str(out)))
    out.unlink()
    with pytest.raises(InputError, match="seed 0, not 1"):
        make_labels(small_task(), CLIPS, NAMES, out, replace(SETTINGS, seed=1))


def test_labels_do_not_depend_on_the_batch_a_clip_is_in(tmp_path: Path) -> None:
    task = small_task()
    one = make_labels(task, CLIPS, NAMES, tmp_path / "one.json", SETTINGS, batch_size=1)
    three = make_labels(task, CLIPS, NAMES, tmp_path / "three.json", SETTINGS, batch_size=3)
    assert [one[name].gazing_pos for name in NAMES] == [three[name].gazing_pos for name in NAMES]


def test_shards_share_the_clips_and_write_files_that_are_read_together(tmp_path: Path) -> None:
    task, out = small_task(), tmp_path / "labels.json"
    first = make_labels(task, CLIPS, NAMES, out, SETTINGS, Shard.parse("0/2"))
    second = make_labels(task, CLIPS, NAMES, out, SETTINGS, Shard.parse("1/2"))
    assert sorted(first) == NAMES[::2]
    assert sorted(second) == NAMES[1::2]
    assert read_labels(str(tmp_path / "labels.*.json")) == first | second


def test_progress_reaches_the_number_of_clips(tmp_path: Path) -> None:
    told: list[tuple[float, int]] = []
    make_labels(
        small_task(),
        CLIPS,
        NAMES[:3],
        tmp_path / "labels.json",
        SETTINGS,
        batch_size=2,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 3), (2, 3), (2.5, 3), (3, 3), (3, 3)]


class Unreadable(Power):
    """Clips of which the second gives the third in its place."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        return super().__getitem__(2 if index == 1 else index)


def test_a_clip_in_the_place_of_another_is_labelled_once(tmp_path: Path) -> None:
    out = tmp_path / "labels.json"
    labels = make_labels(small_task(), Unreadable(5), NAMES[:3], out, SETTINGS, batch_size=1)
    assert sorted(labels) == [NAMES[0], NAMES[2]]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"seed": 1}, "seed 0, not 1"),
        ({"candidates": 3}, "candidates 2, not 3"),
        ({"mode": "exact"}, "exact"),
    ],
)
def test_labels_made_otherwise_are_not_continued(tmp_path: Path, change: dict[str, Any], found: str) -> None:
    out = tmp_path / "labels.json"
    make_labels(small_task(), CLIPS, NAMES[:1], out, SETTINGS)
    with pytest.raises(InputError, match=found):
        make_labels(small_task(), CLIPS, NAMES, out, replace(SETTINGS, **change))


def test_labels_of_another_reconstructor_are_not_continued(tmp_path: Path) -> None:
    out = tmp_path / "labels.json"
    make_labels(small_task(), CLIPS, NAMES[:1], out, SETTINGS)
    with pytest.raises(InputError, match="was made with reconstructor"):
        make_labels(small_task(seed=6), CLIPS, NAMES, out, SETTINGS)


def test_a_file_that_does_not_say_how_it_was_made_is_not_continued(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text("{}")
    with pytest.raises(InputError, match=r"labels.json.settings' is missing"):
        make_labels(small_task(), CLIPS, NAMES, tmp_path / "labels.json", SETTINGS)


def test_settings_may_change_as_long_as_nothing_is_labelled(tmp_path: Path) -> None:
    out = tmp_path / "labels.json"
    with pytest.raises(KeyboardInterrupt):
        make_labels(small_task(), Power(lasts=0), NAMES, out, SETTINGS)
    assert make_labels(small_task(), CLIPS, NAMES[:1], out, replace(SETTINGS, seed=1))


def test_a_note_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text("{}")
    (tmp_path / "labels.json.settings").write_text("{")
    with pytest.raises(InputError, match="not a JSON file"):
        make_labels(small_task(), CLIPS, NAMES, tmp_path / "labels.json", SETTINGS)


def test_a_file_whose_path_would_be_read_as_two_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="comma in its path"):
        make_labels(small_task(), CLIPS, NAMES, tmp_path / "a,b.json", SETTINGS)


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written beside"):
        make_labels(small_task(), CLIPS, NAMES, tmp_path / "file" / "labels.json", SETTINGS)


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder: name a file, such as '.*/labels\.json'"):
        make_labels(small_task(), CLIPS, NAMES, tmp_path, SETTINGS)


def test_a_file_in_a_folder_that_may_not_be_searched_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", denied)
    with pytest.raises(InputError, match=r"labels\.json' cannot be looked for \(Permission denied\): permit"):
        make_labels(small_task(), CLIPS, NAMES, tmp_path / "labels.json", SETTINGS)


def test_clips_that_label_files_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    names = [f"/{disk}/set/train/a.mp4" for disk in "xy"]
    with pytest.raises(InputError, match=r"are both 'set/train/a.mp4' in label files"):
        make_labels(small_task(), CLIPS, names, tmp_path / "labels.json", SETTINGS)


def test_the_settings_are_kept_beside_the_labels(tmp_path: Path) -> None:
    make_labels(small_task(), CLIPS, NAMES[:1], tmp_path / "labels.json", SETTINGS)
    note = json.loads((tmp_path / "labels.json.settings").read_text())
    assert (note["mode"], note["candidates"], note["clip_len"]) == ("accelerated", 2, 2)
    assert note["frame_sample_rate"] == 1
    assert note["scales"] == "32+64"


@pytest.mark.parametrize(("noted", "continued"), [({}, True), ({"scales": "16+64"}, False)])
def test_labels_of_other_scales_are_not_continued(
    tmp_path: Path, noted: dict[str, str], continued: bool
) -> None:
    out, note = tmp_path / "labels.json", tmp_path / "labels.json.settings"
    make_labels(small_task(), CLIPS, NAMES[:1], out, SETTINGS)
    made = json.loads(note.read_text())
    del made["scales"]
    note.write_text(json.dumps(made | noted))
    if continued:
        assert len(make_labels(small_task(), CLIPS, NAMES[:2], out, SETTINGS)) == 2
    else:
        with pytest.raises(InputError, match=r"was made with scales 16\+64, not 32\+64"):
            make_labels(small_task(), CLIPS, NAMES, out, SETTINGS)


def test_a_note_without_a_rate_is_of_labels_of_every_frame(tmp_path: Path) -> None:
    out, note = tmp_path / "labels.json", tmp_path / "labels.json.settings"
    make_labels(small_task(), CLIPS, NAMES[:1], out, SETTINGS)
    made = json.loads(note.read_text())
    note.write_text(json.dumps({name: made[name] for name in made if name != "frame_sample_rate"}))
    assert len(make_labels(small_task(), CLIPS, NAMES[:2], out, SETTINGS)) == 2


def test_labels_of_another_rate_are_not_continued(tmp_path: Path) -> None:
    out, sparse = tmp_path / "labels.json", Power(lasts=5)
    make_labels(small_task(), CLIPS, NAMES[:1], out, SETTINGS)
    sparse.frame_sample_rate = 3
    with pytest.raises(InputError, match="was made with frame_sample_rate 1, not 3"):
        make_labels(small_task(), sparse, NAMES, out, SETTINGS)


def test_budgets_follow_from_the_seed_and_the_last_parts_of_a_path() -> None:
    budgets = draw_budgets("set/train/a.mp4", 16, LabelSettings(), 265)
    assert budgets == draw_budgets("/elsewhere/set/train/a.mp4", 16, LabelSettings(), 265)
    assert budgets != draw_budgets("set/train/b.mp4", 16, LabelSettings(), 265)
    assert budgets != draw_budgets("set/train/a.mp4", 16, LabelSettings(seed=1), 265)


def test_drawing_budgets_leaves_the_random_state_alone() -> None:
    state = torch.random.get_rng_state()
    draw_budgets("set/train/a.mp4", 16, LabelSettings(), 265)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_budgets_keep_to_the_ratios_and_the_first_frame_has_most() -> None:
    drawn = torch.tensor(
        [draw_budgets(f"set/train/{number}.mp4", 16, LabelSettings(), 265) for number in range(200)]
    ).double()
    ratios = drawn.mean(dim=1) / 265
    assert float(ratios.min()) >= 0.015
    assert float(ratios.max()) <= 0.2
    share = drawn.mean(dim=0) / drawn.mean(dim=0).sum()
    # Dirichlet(10, 3, ..., 3) gives the first frame 10 parts of 55.
    assert float(share[0]) == pytest.approx(10 / 55, abs=0.02)
    # Short clips are more frequent than long ones.
    assert float(ratios.median()) < 0.11


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.1), (0.0, 0.1), (0.1, 1.5)])
def test_ratios_that_cannot_be_drawn_are_refused(low: float, high: float) -> None:
    with pytest.raises(InputError, match="cannot be drawn"):
        LabelSettings(ratio_min=low, ratio_max=high)


@pytest.mark.parametrize("text", ["2/2", "-1/2", "0/0"])
def test_shards_that_do_not_exist_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Shard.parse(text)


@pytest.mark.parametrize("text", ["1", "a/b", "1/2/3", ""])
def test_shards_in_another_form_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="not of the form 0/2"):
        Shard.parse(text)
