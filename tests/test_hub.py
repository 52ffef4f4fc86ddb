"""Checkpoints are found by their names; loading what they hold is tested in test_checkpoints.py."""

import subprocess
import sys
from pathlib import Path

import pytest

from autogaze import checkpoints, hub
from autogaze.errors import InputError


def test_a_folder_stands_for_itself_and_what_is_neither_folder_nor_hub_id_is_refused(tmp_path: Path) -> None:
    assert hub.resolve(tmp_path, None, ()) == tmp_path
    with pytest.raises(InputError, match="does not exist; name a folder, or a hub id"):
        hub.resolve(tmp_path / "nowhere", None, ())


def test_checkpoints_are_found_without_torch() -> None:
    script = "import sys, autogaze.hub, autogaze.embedded; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "False\n"


def test_checkpoints_offers_the_same_under_its_own_name() -> None:
    assert checkpoints.resolve is hub.resolve
    assert checkpoints.PINNED_REVISIONS is hub.PINNED_REVISIONS
