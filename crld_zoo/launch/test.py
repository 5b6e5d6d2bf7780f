"""Evaluate a checkpoint as a config says. The teacher and its weights are not needed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import ConfigDict
from mmengine.runner import Runner

from crld_zoo.errors import InputError

from .checks import check_run, load_student_weights
from .config import check_data, load_config, prepare, student_alone
from .options import ConfigOptions
from .processes import leave_group


def run_test(
    config: str | Path,
    checkpoint: str | Path,
    work_dir: str | Path | None = None,
    launcher: str = 'none',
    cfg_options: Mapping | None = None,
    allow_other_classes: bool = False,
) -> dict[str, float]:
    """Test a checkpoint as a config says, without its teacher or the teacher's files.

    Args:
        config: The config file.
        checkpoint: Of the student, from :func:`run_train` or of any layout of :mod:`crld_zoo.networks.weights`.
        work_dir: Where logs are written; None takes the folder ``test`` in the work directory of the training, whose
            record of the config stays as it is.
        launcher: As in :func:`run_train`.
        cfg_options: As in :func:`run_train`.
        allow_other_classes: Go on where the data and the checkpoint name other classes.

    Returns:
        The metrics by name.

    Raises:
        InputError: The config or the checkpoint is missing or damaged, or one does not fit the other.
    """
    from crld_zoo.networks.weights import locate  # models are looked up by name everywhere else in this room

    cfg = load_config(config, work_dir, cfg_options)
    if work_dir is None:
        cfg.work_dir = str(Path(cfg.work_dir, 'test'))
    if cfg.get('test_dataloader') is None:
        raise InputError(f'{config} has no test_dataloader, test_cfg and test_evaluator to test with.')
    check_data(cfg, 'test_dataloader')
    prepare(cfg, launcher)
    cfg.allow_other_classes = allow_other_classes or cfg.get('allow_other_classes', False)
    cfg.model = ConfigDict(student_alone(cfg.model.to_dict()))
    cfg.load_from, cfg.resume = None, False
    runner = Runner.from_cfg(cfg)
    path = locate(checkpoint)
    check_run(runner, ['test'], path)
    load_student_weights(runner, path)
    metrics = runner.test()
    del runner
    leave_group()
    return metrics


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``test``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='the config that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='a file that tools/train.py wrote, or any checkpoint of the plain student')
    parser.add_argument(
        '--allow-other-classes', action='store_true', help='go on where the data and the checkpoint name other classes'
    )
    parser.add_argument('--work-dir', help='where the log goes (default: work_dirs/<name of the config>/test)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE', help='override options of the config'
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='who started the processes'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    run_test(
        args.config,
        args.checkpoint,
        work_dir=args.work_dir,
        launcher=args.launcher,
        cfg_options=args.cfg_options,
        allow_other_classes=args.allow_other_classes,
    )
