"""Train a student as a config says."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from crld_zoo.engine.checkpoints import check_fits
from crld_zoo.engine.loops import EpochBasedTrainLoop
from crld_zoo.engine.preemption import stopping_in_order
from crld_zoo.errors import InputError

from .checks import check_run, load_student_weights
from .config import check_data, load_config, prepare, use_bf16
from .options import ConfigOptions
from .processes import leave_group, on_main
from .work_dir import occupied


def run_train(
    config: str | Path,
    work_dir: str | Path | None = None,
    resume: bool | str = False,
    amp: bool = False,
    launcher: str = 'none',
    cfg_options: Mapping | None = None,
    seed: int | None = None,
    auto_scale_lr: bool = False,
    allow_other_classes: bool = False,
) -> None:
    """Train as a config says.

    Args:
        config: The config file.
        work_dir: Where everything is written; None takes the config's, or ``work_dirs/<name of the config>``.
        resume: True or 'auto' goes on from the newest intact checkpoint of the work directory (starts where there is
            none), a path from that checkpoint.
        amp: Run the forward pass under bfloat16 autocast.
        launcher: ``'none'``, ``'pytorch'`` (torchrun), ``'slurm'`` or ``'mpi'``.
        cfg_options: Values that replace the config's, by dotted key.
        seed: The run's seed; None takes the config's. A resumed run keeps its own.
        auto_scale_lr: Scale the learning rate from the config's ``auto_scale_lr.base_batch_size`` to the batch in use.
        allow_other_classes: Go on where the class names of data, checkpoint and teachers differ.

    Raises:
        InputError: The config is missing or asks for what cannot be done; the work directory is in use or holds another
            run; a checkpoint is damaged or does not fit.
        SystemExit: With :data:`~crld_zoo.engine.preemption.PREEMPTED` where the process was told to stop.
    """
    with stopping_in_order(), ExitStack() as held:
        cfg = load_config(config, work_dir, cfg_options)
        check_data(cfg, 'train_dataloader', 'val_dataloader')
        prepare(cfg, launcher)
        cfg.allow_other_classes = allow_other_classes or cfg.get('allow_other_classes', False)
        if amp:
            use_bf16(cfg)
        if auto_scale_lr:
            if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
                raise InputError(f'{config} has no auto_scale_lr.base_batch_size to scale the learning rate from.')
            cfg.auto_scale_lr.enable = True
        if isinstance(cfg.get('resume'), str):
            raise InputError(
                f'resume={cfg.resume!r} is no truth value: say --resume {cfg.resume}, or name it in load_from.'
            )
        resume = resume or (cfg.get('resume', False) and (cfg.get('load_from') or True))
        checkpoint, own_seed = on_main(lambda: held.enter_context(occupied(cfg.work_dir, resume)))
        _choose_seed(cfg, (cfg_options or {}).get('randomness.seed') if seed is None else seed, own_seed)
        cfg.resume = checkpoint is not None
        if checkpoint is not None:
            cfg.load_from = checkpoint
        _train(cfg, checkpoint, resume)
    leave_group()


def _say_where(runner: Runner) -> None:
    """What is written outside of the work directory is meant, but should be seen."""
    places = [getattr(hook, 'out_dir', None) for hook in runner.hooks]
    places += [getattr(backend, '_save_dir', None) for backend in runner.visualizer._vis_backends.values()]
    for place in {str(place) for place in places if place and '://' not in str(place)}:
        if not Path(place).resolve().is_relative_to(Path(runner.work_dir).resolve()):
            runner.logger.info(f'{place} is written to, outside of the work directory {runner.work_dir}')


class _StartFrom(Hook):
    """Loads the student's weights when all are initialized: MMEngine's own way leaves out what does not fit."""

    priority = 'VERY_HIGH'

    def __init__(self, path: str | Path) -> None:
        self.path = path

    def before_train(self, runner: Runner) -> None:
        load_student_weights(runner, self.path)


def _train(cfg: Config, checkpoint: str | None, resume: bool | str) -> None:
    runner = Runner.from_cfg(cfg)
    _say_where(runner)
    from crld_zoo.networks.weights import locate  # models are looked up by name everywhere else in this room

    start = None if cfg.resume or not cfg.get('load_from') else locate(cfg.load_from)
    check_run(runner, ['train', 'val'], checkpoint or start)
    if start is not None:
        runner._load_from = None
        runner.register_hook(_StartFrom(start))
    if checkpoint is not None:
        check_fits(runner.model, checkpoint)
        runner.logger.info(f'going on from {checkpoint}')
        if cfg.train_cfg.type != EpochBasedTrainLoop.__name__:
            runner.logger.warning(f'{cfg.train_cfg.type} resumes as it can: only EpochBasedTrainLoop does so exactly')
    elif resume:
        runner.logger.info(f'{cfg.work_dir} has no checkpoint to go on from: the run starts from the beginning')
    runner.train()


def _choose_seed(cfg: Config, seed: int | None, of_checkpoint: int | None) -> None:
    if seed is not None and not (type(seed) is int and 0 <= seed < 2**32):
        raise InputError(f'the seed must be a whole number from 0 to {2**32 - 1}, not {seed}.')
    if None not in (seed, of_checkpoint) and seed != of_checkpoint:
        raise InputError(
            f'the run to resume has the seed {of_checkpoint}, not {seed}: leave the seed out, or start a '
            'new run in another work directory.'
        )
    for chosen in (of_checkpoint, seed):
        if chosen is not None:
            cfg.merge_from_dict({'randomness.seed': chosen})
            return


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``train``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='a file under configs/, or one of your own')
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/<name of the config>)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from the newest intact checkpoint of the work directory, or from this one',
    )
    parser.add_argument(
        '--allow-other-classes',
        action='store_true',
        help='go on where the class names of data, checkpoint and teachers differ',
    )
    parser.add_argument('--amp', action='store_true', help='bf16 autocast; the losses stay in fp32')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch of all processes over auto_scale_lr.base_batch_size',
    )
    parser.add_argument('--seed', type=int, help="seed of everything random (default: the config's)")
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='override options of the config: model.distiller.temperature=2 train_cfg.max_epochs=10',
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='who started the processes'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    run_train(
        args.config,
        work_dir=args.work_dir,
        resume=args.resume,
        amp=args.amp,
        launcher=args.launcher,
        cfg_options=args.cfg_options,
        seed=args.seed,
        auto_scale_lr=args.auto_scale_lr,
        allow_other_classes=args.allow_other_classes,
    )
