"""What labelling will cost."""

from pathlib import Path

import pytest

from autogaze.datasets.synthetic import SyntheticVideos
from autogaze.labelling.cost import Cost, estimate_cost, roughly
from autogaze.labelling.maker import LabelSettings, Shard, draw_budgets, make_labels
from tests.labelling.examples import small_task


def test_time_is_that_of_a_first_try_for_all_the_patches_that_are_left(tmp_path: Path) -> None:
    task, settings = small_task(), LabelSettings(candidates=1, ratio_min=0.05, ratio_max=0.1)
    clips = SyntheticVideos("train", seed=0, clip_len=2, size=task.config.image_size, length=3)
    names = [clips.path(number) for number in range(3)]
    asked = (task, clips, names, tmp_path / "labels.json", settings, Shard(), 2, "cpu")
    ticks = iter([10.0, 13.0])
    cost = estimate_cost(*asked, clock=lambda: next(ticks))
    budgets = [draw_budgets(name, 2, settings, task.config.grid.patches_per_frame) for name in names]
    tried = sum(min(8, gazes) for budget in budgets[:2] for gazes in budget)
    assert (cost.clips, cost.gazes) == (3, sum(map(sum, budgets)))
    assert cost.seconds == pytest.approx(3.0 * cost.gazes / tried)
    make_labels(task, clips, names[:1], *asked[3:])
    assert estimate_cost(*asked).clips == 2
    make_labels(*asked)
    assert estimate_cost(*asked) == Cost(0, 0, 0.0)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (99, "99 s"), (700, "12 min"), (5999, "100 min"), (12600, "3.5 h")]
)
def test_times_are_rough(seconds: float, said: str) -> None:
    assert roughly(seconds) == said
