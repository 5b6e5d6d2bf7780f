"""What the commands under ``tools/`` do: train and test from a config."""

from __future__ import annotations

import gc
import inspect
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import wraps
from pathlib import Path

import torch
import torch.distributed
from mmengine.config import Config, ConfigDict
from mmengine.dist import barrier, broadcast_object_list, get_rank, init_dist, is_distributed
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing

from crld_zoo.engine.checkpoints import check_fits
from crld_zoo.engine.loops import EpochBasedTrainLoop
from crld_zoo.engine.preemption import stopping_in_order
from crld_zoo.engine.work_dir import occupied
from crld_zoo.errors import InputError, MissingFileError, nearest_names
from crld_zoo.files import NO_ROOM
from crld_zoo.registry import DATASETS

_CONFIGS = Path(__file__).parents[2] / 'configs'
_SAFEGUARDS = dict(
    data_check='DataCheckHook',
    distiller='DistillerHook',
    teacher_accuracy='TeacherAccuracyHook',
    divergence='DivergenceHook',
    preemption='PreemptionHook',
)
_WRITTEN_TO = ('out_dir', 'save_dir', 'out_file_path', 'tmpdir', 'json_trace_path')
_AGAIN = 'then run the command again (a training: with --resume).'


def run_train(
    config: str | Path,
    work_dir: str | Path | None = None,
    resume: bool | str = False,
    amp: bool = False,
    launcher: str = 'none',
    cfg_options: Mapping | None = None,
    seed: int | None = None,
    auto_scale_lr: bool = False,
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

    Raises:
        InputError: The config is missing or asks for what cannot be done; the work directory is in use or holds another
            run; a checkpoint is damaged or does not fit.
        SystemExit: With :data:`~crld_zoo.engine.preemption.PREEMPTED` where the process was told to stop.
    """
    with stopping_in_order(), ExitStack() as held:
        cfg = load_config(config, work_dir, cfg_options)
        _check_data(cfg, 'train_dataloader', 'val_dataloader')
        prepare(cfg, launcher)
        if amp:
            use_bf16(cfg)
        if auto_scale_lr:
            if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
                raise InputError(f'{config} has no auto_scale_lr.base_batch_size to scale the learning rate from.')
            cfg.auto_scale_lr.enable = True
        resume = resume or (cfg.get('resume', False) and (cfg.get('load_from') or True))
        checkpoint, own_seed = _on_main(lambda: held.enter_context(occupied(cfg.work_dir, resume)))
        _choose_seed(cfg, (cfg_options or {}).get('randomness.seed') if seed is None else seed, own_seed)
        cfg.resume = checkpoint is not None
        if checkpoint is not None:
            cfg.load_from = checkpoint
        _train(cfg, checkpoint, resume)
    _leave_group()


def _train(cfg: Config, checkpoint: str | None, resume: bool | str) -> None:
    runner = Runner.from_cfg(cfg)
    if checkpoint is not None:
        check_fits(runner.model, checkpoint)
        runner.logger.info(f'going on from {checkpoint}')
        if cfg.train_cfg.type != EpochBasedTrainLoop.__name__:
            runner.logger.warning(f'{cfg.train_cfg.type} resumes as it can: only EpochBasedTrainLoop does so exactly')
    elif resume:
        runner.logger.info(f'{cfg.work_dir} has no checkpoint to go on from: the run starts from the beginning')
    runner.train()


def run_test(
    config: str | Path,
    checkpoint: str | Path,
    work_dir: str | Path | None = None,
    launcher: str = 'none',
    cfg_options: Mapping | None = None,
) -> dict[str, float]:
    """Test a checkpoint as a config says, without its teacher or the teacher's files.

    Args:
        config: The config file.
        checkpoint: Of the student, from :func:`run_train` or of any layout of :mod:`crld_zoo.networks.weights`.
        work_dir: Where logs are written; None takes the folder ``test`` in the work directory of the training, whose
            record of the config stays as it is.
        launcher: As in :func:`run_train`.
        cfg_options: As in :func:`run_train`.

    Returns:
        The metrics by name.

    Raises:
        InputError: The config or the checkpoint is missing or damaged, or one does not fit the other.
    """
    from crld_zoo.networks.weights import load_weights  # models are looked up by name everywhere else in this room

    cfg = load_config(config, work_dir, cfg_options)
    if work_dir is None:
        cfg.work_dir = str(Path(cfg.work_dir, 'test'))
    if cfg.get('test_dataloader') is None:
        raise InputError(f'{config} has no test_dataloader, test_cfg and test_evaluator to test with.')
    _check_data(cfg, 'test_dataloader')
    prepare(cfg, launcher)
    if 'teacher' in cfg.model:
        cfg.model.teacher = None
    cfg.load_from, cfg.resume = None, False
    runner = Runner.from_cfg(cfg)
    load_weights(getattr(runner.model, 'module', runner.model).student, checkpoint)
    metrics = runner.test()
    del runner
    _leave_group()
    return metrics


def load_config(path: str | Path, work_dir: str | Path | None = None, cfg_options: Mapping | None = None) -> Config:
    """A config with its options and its work directory.

    Raises:
        MissingFileError: There is no such file; the nearest names of ``configs/`` are given.
    """
    path = Path(path)
    if not path.is_file():
        known = {
            file.stem
            for folder in (_CONFIGS, path.parent)
            for file in folder.rglob('*.py')
            if not any(part.startswith(('_', '.')) for part in file.relative_to(folder).parts)
        }
        raise MissingFileError(f'there is no config {path} ({nearest_names(path.stem, known)})')
    try:
        cfg = Config.fromfile(path)
    except MissingFileError:  # says what is missing already
        raise
    except FileNotFoundError as error:
        raise MissingFileError(f'{path} needs {error.filename}, which is not there.') from error
    _merge_options(cfg, cfg_options or {})
    if work_dir is not None:
        cfg.work_dir = str(work_dir)
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs', path.stem))
    return cfg


def _merge_options(cfg: Config, options: Mapping) -> None:
    for key in options:
        if key.split('.')[0] in ('distiller', 'data_preprocessor'):  # variables that the recipes' bases leave behind
            raise InputError(f'the option {key} changes nothing: say model.{key}.')
    try:
        cfg.merge_from_dict(dict(options))
    except (TypeError, KeyError, IndexError) as error:
        raise InputError(f'the options {", ".join(options)} do not fit the config: {error}.') from error


def prepare(cfg: Config, launcher: str = 'none') -> None:
    """Ready a config for this machine: where it writes, the safeguards that every run has, the process group.

    What the config does not say otherwise is added: the loop that resumes exactly, the hooks that stop a diverging or
    a preempted run, loader workers that outlive the signal to stop. Without a GPU, processes talk through gloo.

    Raises:
        InputError: The config writes outside of its work directory, needs a GPU where there is none, or combines what
            does not go together.
    """
    check_written_paths(cfg)
    _check_accumulation(cfg)
    cfg.launcher = launcher
    cfg.setdefault('default_scope', 'crld_zoo')
    hooks = dict(cfg.get('default_hooks') or {})
    for name, kind in _SAFEGUARDS.items():
        options = hooks.pop(name, {})
        if options is not None:  # None turns one off, as it does for MMEngine's default hooks
            hooks[name] = {'type': kind, **options}
    cfg.default_hooks = hooks
    loop = cfg.get('train_cfg')
    if loop is not None and 'type' not in loop:  # MMEngine would take its own loops then
        loop.type = 'EpochBasedTrainLoop' if loop.pop('by_epoch', True) else 'IterBasedTrainLoop'
    elif loop is not None and not loop.pop('by_epoch', True):
        loop.type = 'IterBasedTrainLoop'
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if loader is not None and loader.get('num_workers', 0):
            loader.setdefault('worker_init_fn', ConfigDict(type='obey_only_the_trainer'))
            loader.pop('disable_subprocess_warning', None)  # of the function whose place this one takes
        if loader is not None and (loader.get('num_workers', 0) or loader.get('pin_memory', False)):
            dataset = loader.get('dataset') or {}
            if dataset.get('device') == 'auto':  # neither works with images on a GPU
                dataset.device = 'cpu'
    if launcher != 'none' and not is_distributed():
        _join_group(cfg, launcher)


def _check_data(cfg: Config, *loaders: str) -> None:
    """Miss a folder of images at once, not when everything else is built; what can be downloaded is left alone."""
    for name in loaders:
        dataset = (cfg.get(name) or {}).get('dataset') or {}
        root, kind = dataset.get('data_root'), DATASETS.get(str(dataset.get('type')))
        if not root or kind is None or 'download' in inspect.signature(kind).parameters or Path(root).exists():
            continue
        raise MissingFileError(
            f"{name}.dataset.data_root = '{root}': there is no {Path(root).absolute()}; put the "
            f'images there (`ln -s /where/they/are {root}`), or name their folder: --cfg-options '
            f'{name}.dataset.data_root=… for each loader.'
        )


def check_written_paths(cfg: Config) -> None:
    """Check that all that a config writes lies in its work directory.

    Raises:
        InputError: A path lies elsewhere.
    """
    home = Path(cfg.work_dir).resolve()
    for key, path in _written_paths(cfg.to_dict(), ''):
        if not Path(path).resolve().is_relative_to(home):
            raise InputError(
                f"{key}='{path}' lies outside of the work directory {cfg.work_dir}, and a run writes "
                'nowhere else: leave it out, or choose another work directory.'
            )


def _check_accumulation(cfg: Config) -> None:
    compiled = (cfg.get('model') or {}).get('compile')
    mode = compiled.get('mode') if isinstance(compiled, dict) else None
    if mode is None or (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1) <= 1:
        return
    from crld_zoo.networks.compilation import GRAPH_MODES  # as in run_test

    if mode in GRAPH_MODES:
        raise InputError(
            f"model.compile.mode='{mode}' replays CUDA graphs, and a replay overwrites the gradients of "
            'the one before, so they cannot be accumulated: set optim_wrapper.accumulative_counts=1, or '
            'another mode.'
        )


def main_guard(command: Callable) -> Callable:
    """Decorate a tool's main function: what a user can mend ends in one sentence and exit code 2.

    Everything else is a bug and keeps its traceback. With several processes the sentence names the one it comes from.
    """

    @wraps(command)
    def guarded(*args, **kwargs):
        logging.raiseExceptions = False  # a log file on a full disk is not worth a traceback a line
        try:
            try:
                return command(*args, **kwargs)
            except (ConnectionError, EOFError):
                time.sleep(1)  # if a loader worker broke the connection by dying, the news is on its way
                raise
        except SystemExit as leave:
            code = leave.code
        except KeyboardInterrupt:
            code = _tell('interrupted', code=130)
        except Exception as error:
            sentence = _sentence(error)
            if sentence is None:
                raise
            code = _tell(sentence)
        if is_distributed() and torch.distributed.get_backend() == 'gloo':  # NCCL may wait for a process that died
            _leave_group(together=False)
        raise SystemExit(code)

    return guarded


def _sentence(error: Exception) -> str | None:
    """What to tell the user; None for a bug."""
    for link in _chain(error):  # PyTorch reports a dead worker wherever the program is, and that may wrap the report
        text = str(link)
        if isinstance(link, RuntimeError) and text.startswith('DataLoader worker'):
            return (
                f'{text.splitlines()[0].strip(". ")}: often the machine is out of memory or of shared memory '
                f'(/dev/shm); lower num_workers or the batch size, {_AGAIN}'
            )
    text = str(error).strip()
    from_worker = text.startswith('Caught ') and 'DataLoader worker' in text
    if from_worker:  # its own words are the last line of the traceback it comes with
        text = text.splitlines()[-1].split('Error: ', 1)[-1]
    if isinstance(error, InputError):
        return text
    if isinstance(error, OSError) and (error.filename is not None or from_worker):
        remedy = 'make room' if error.errno in NO_ROOM else 'see to this file or folder'
        return f'{text}: {remedy}, {_AGAIN}'
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _tell(sentence: str, code: int = 2) -> int:
    rank = get_rank()
    print(f'error{f" (process {rank})" if rank else ""}: {sentence}', file=sys.stderr, flush=True)
    return code


def _join_group(cfg: Config, launcher: str) -> None:
    environment = cfg.get('env_cfg', {})
    set_multi_processing(**environment.get('mp_cfg', {}), distributed=True)
    # PyTorch's default for the buffers, not MMEngine's: batch statistics are the main process's in every process, as in
    # the checkpoints, so a resume finds them as they were.
    wrapper = ConfigDict(
        type='MMDistributedDataParallel', find_unused_parameters=cfg.get('find_unused_parameters', False)
    )
    if torch.cuda.is_available():
        init_dist(launcher, **environment.get('dist_cfg', {}))
    elif cfg.get('sync_bn'):
        raise InputError('sync_bn needs GPUs: PyTorch has no batch norm over several processes on CPUs. Leave it out.')
    elif launcher == 'pytorch':
        torch.distributed.init_process_group('gloo')
        wrapper.device_ids = None
    else:
        raise InputError(
            f"launcher '{launcher}' needs GPUs: on CPUs start the processes with torchrun and take the "
            "launcher 'pytorch'."
        )
    cfg.setdefault('model_wrapper_cfg', wrapper)


def _leave_group(together: bool = True) -> None:
    """Close the process group, when nothing refers to it any more: its threads must end before the interpreter does."""
    if is_distributed():
        gc.collect()
        if together:
            barrier()  # the main process may still be writing
        torch.distributed.destroy_process_group()


def _on_main(look: Callable):
    """What the main process finds, or the error it meets, in every process."""
    answer = [None, None]
    if get_rank() == 0:
        try:
            answer[0] = look()
        except InputError as error:
            answer[1] = error
    broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]


def _choose_seed(cfg: Config, seed: int | None, of_checkpoint: int | None) -> None:
    if seed is not None and not 0 <= seed < 2**32:
        raise InputError(f'the seed must be from 0 to {2**32 - 1}, not {seed}.')
    if None not in (seed, of_checkpoint) and seed != of_checkpoint:
        raise InputError(
            f'the run to resume has the seed {of_checkpoint}, not {seed}: leave the seed out, or start a '
            'new run in another work directory.'
        )
    for chosen in (of_checkpoint, seed):
        if chosen is not None:
            cfg.merge_from_dict({'randomness.seed': chosen})
            return


def use_bf16(cfg: Config) -> None:
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'Bf16OptimWrapper'):
        raise InputError(
            f'--amp replaces an OptimWrapper, but the config has a {kind}: set its precision in the config.'
        )
    if kind == 'OptimWrapper':
        cfg.optim_wrapper.type = 'Bf16OptimWrapper'


def _written_paths(part, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(part, dict):
        for name, value in part.items():
            inner = f'{key}.{name}' if key else str(name)
            if name in _WRITTEN_TO and isinstance(value, str) and '://' not in value:
                yield inner, value
            else:
                yield from _written_paths(value, inner)
    elif isinstance(part, list | tuple):
        for number, value in enumerate(part):
            yield from _written_paths(value, f'{key}.{number}')
