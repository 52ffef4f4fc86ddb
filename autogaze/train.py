"""Train a gaze model or a reconstructor.

``python -m autogaze.train --config-name NAME [group.key=value ...]`` trains in this process, and
``torchrun --nproc-per-node N -m autogaze.train ...`` in N. The configurations are in ``autogaze/configs``;
``--config-dir`` adds a folder of one's own, and ``--show`` prints what would be run.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from autogaze.errors import InputError, unknown_name

CONFIGS = Path(__file__).parent / "configs"


def compose(name: str, overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> dict[str, Any]:
    """Return a configuration by name, with Hydra's overrides (``trainer.lr=1e-4``) applied.

    ``config_dir`` is a folder to look in besides the project's own. Raises ``InputError`` for names and keys
    that there are not.
    """
    try:
        from hydra import compose as hydra_compose
        from hydra import initialize_config_dir
        from hydra.errors import HydraException
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
    except ImportError:
        raise InputError(
            "training needs Hydra, which is not installed; pip install 'autogaze-bench[train]'"
        ) from None
    from autogaze.training.released import check_task, named_run

    check_task([name, *overrides])
    # Of equal names the user's own counts. Hydra looks for the first file in one folder, for groups in all.
    homes = {path.stem: folder for folder in _folders(config_dir) for path in folder.glob("*.yaml")}
    if name not in homes:
        raise unknown_name("training configuration", name, homes)
    _check_syntax(overrides)
    others = ",".join(_quoted(f"file://{other}") for other in _folders(config_dir) if other != homes[name])
    try:
        with initialize_config_dir(str(homes[name]), version_base="1.3"):
            config = hydra_compose(name, [f"hydra.searchpath=[{others}]", *overrides])
        values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise InputError(
            f"training configuration {name} cannot be composed: {_explained(' '.join(str(error).split()))}"
        ) from None
    return named_run(name, values)


def _explained(complaint: str) -> str:
    """Return Hydra's complaint with advice that helps."""
    if (key := re.match(r"Could not override '(.+?)'\.", complaint)) is not None:
        # Hydra proposes +key=value: right for keys that a configuration leaves out, wrong for misspelt ones.
        return f"it has no key {key[1]}; look at --show for its keys, or add one of its own as +{key[1]}=..."
    return complaint


def _check_syntax(overrides: Sequence[str]) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    for override in overrides:
        try:
            parser.parse_override(override)
        except HydraException:
            raise InputError(
                f"{override} is not group.key=value; text with other signs than letters, digits and ._-/ is "
                "quoted twice, as in \"dataset.root='größe, b=1'\""
            ) from None


def _quoted(text: str) -> str:
    """Return ``text`` as a word of Hydra's overrides."""
    return "'" + text.replace("'", "\\'") + "'"


def _folders(config_dir: str | Path | None) -> list[Path]:
    if config_dir is None:
        return [CONFIGS]
    if not Path(config_dir).is_dir():
        raise InputError(f"--config-dir {config_dir} is not a folder; name one that holds configurations")
    return [CONFIGS, Path(config_dir).resolve()]


def train(values: dict[str, Any]) -> bool:
    """Carry out the run that a configuration describes; return whether it reached its end."""
    from transformers.utils.logging import disable_progress_bar

    from autogaze.training.builders import build_dataset, build_objective, check_labels, doubts
    from autogaze.training.distributed import joined_process
    from autogaze.training.released import check_flash_attention
    from autogaze.training.settings import read_settings
    from autogaze.training.trainer import Trainer

    settings = read_settings(values)
    check_labels(settings)
    disable_progress_bar()  # one for each file written would tear the run's own
    with joined_process(settings.trainer.device) as process:
        check_flash_attention(settings, process.device)
        for doubt in doubts(settings) if process.is_first else ():
            print(f"! {doubt}", file=sys.stderr)
        train_data, val_data = (build_dataset(settings.dataset, split) for split in ("train", "val"))
        trainer = Trainer(settings, build_objective(settings), train_data, val_data, process)
        return trainer.run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 done, 2 input that cannot be used, 143 asked to stop, with a checkpoint
    written."""
    parser = argparse.ArgumentParser(prog="python -m autogaze.train", description=__doc__)
    parser.add_argument("--config-name", required=True)
    parser.add_argument("--config-dir", help="a folder of configurations besides the project's own")
    parser.add_argument("--show", action="store_true", help="print the configuration and do nothing")
    parser.add_argument("overrides", nargs="*", help="group.key=value")
    asked = parser.parse_intermixed_args(arguments)
    try:
        values = compose(asked.config_name, asked.overrides, asked.config_dir)
        if asked.show:
            print(yaml.safe_dump(values, sort_keys=False), end="")
            return 0
        return 0 if train(values) else 143
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except PermissionError as error:
        print(f"error: {error.filename} cannot be used: {error.strerror}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
