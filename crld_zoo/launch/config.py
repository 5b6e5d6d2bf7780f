"""From a file to a config that is ready to run on this machine."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_distributed
from mmengine.utils import import_modules_from_strings

from crld_zoo.config_files import read_config
from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.registry import DATASETS

from .options import check_names, check_options
from .processes import join_group

_SAFEGUARDS = dict(
    data_check='DataCheckHook',
    distiller='DistillerHook',
    teacher_accuracy='TeacherAccuracyHook',
    teacher_cache='TeacherCacheHook',
    divergence='DivergenceHook',
    preemption='PreemptionHook',
)
# MMEngine adds these by itself, and leaves one out that is None.
_OF_MMENGINE = (
    'runtime_info',
    'timer',
    'sampler_seed',
    'logger',
    'param_scheduler',
    'checkpoint',
)


def load_config(path: str | Path, work_dir: str | Path | None = None, cfg_options: Mapping | None = None) -> Config:
    """A config with its options and its work directory.

    Args:
        path: As in :func:`crld_zoo.config_files.find_config`.
        work_dir: None takes the config's, or ``work_dirs/<name of the config>``.
        cfg_options: Values that replace the config's, by dotted key.

    Raises:
        InputError: No such file; options that do not fit.
    """
    cfg = read_config(path)
    merge_options(cfg, cfg_options or {})
    if work_dir is not None:
        cfg.work_dir = str(work_dir)
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs', Path(cfg.filename).stem))
    return cfg


def merge_options(cfg: Config, options: Mapping) -> None:
    """Replace values of a config, by dotted key.

    Raises:
        InputError: Nothing reads an option, or it does not fit.
    """
    for key in options:
        if key.split('.')[0] in ('distiller', 'data_preprocessor'):  # variables that the recipes' bases leave behind
            raise InputError(f'the option {key} changes nothing: say model.{key}.')
        if key == 'launcher':
            raise InputError('the option launcher changes nothing: say --launcher.')
    check_names(cfg, options)
    try:
        cfg.merge_from_dict(copy.deepcopy(dict(options)))  # which takes _delete_ out of what it is given
    except (TypeError, KeyError, IndexError) as error:
        raise InputError(f'the options {", ".join(options)} do not fit the config: {error}.') from error


def prepare(cfg: Config, launcher: str = 'none') -> None:
    """Ready a config for this machine: where it writes, the safeguards that every run has, the process group.

    What the config does not say otherwise is added: the loop that resumes exactly, the hooks that stop a diverging or
    a preempted run, loader workers that outlive the signal to stop. Without a GPU, processes talk through gloo.

    Raises:
        InputError: The config needs a GPU where there is none, or combines what does not go together.
    """
    _check_accumulation(cfg)
    cfg.launcher = launcher
    if cfg.get('work_dir'):  # MMEngine gives runs of one name and second one log between them
        cfg.setdefault('experiment_name', cfg.work_dir)
    cfg.setdefault('default_scope', 'crld_zoo')
    if cfg.get('custom_imports'):  # what they register is looked for below
        try:
            import_modules_from_strings(**cfg.custom_imports)
        except ImportError as error:
            raise InputError(
                f'custom_imports: {error}: install the package, or name its folder in PYTHONPATH.'
            ) from error
    hooks = dict(cfg.get('default_hooks') or {})
    for name, kind in _SAFEGUARDS.items():
        options = hooks.pop(name, {})
        if options is not None:  # None turns one off, as it does for MMEngine's default hooks
            hooks[name] = {'type': kind, **options}
    cfg.default_hooks = {name: hook for name, hook in hooks.items() if hook is not None or name in _OF_MMENGINE}
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
            dataset = loader.get('dataset')
            if dataset and dataset.get('device') == 'auto':  # neither works with images on a GPU
                dataset.device = 'cpu'
    check_options(cfg)
    if launcher != 'none' and not is_distributed():
        join_group(cfg, launcher)


def check_data(cfg: Config, *loaders: str) -> None:
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


def _check_accumulation(cfg: Config) -> None:
    model = cfg.get('model') or {}
    compiled, graph = model.get('compile'), model.get('graph', False)
    mode = compiled.get('mode') if isinstance(compiled, dict) else None
    if not (graph or mode) or (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1) <= 1:
        return
    from crld_zoo.networks.compilation import GRAPH_MODES  # as in run_test

    if graph or mode in GRAPH_MODES:
        what, remedy = ('graph', 'leave model.graph out') if graph else (f"compile.mode='{mode}'", 'another mode')
        raise InputError(
            f'model.{what} replays CUDA graphs, and a replay overwrites the gradients of the one before, so they '
            f'cannot be accumulated: set optim_wrapper.accumulative_counts=1, or {remedy}.'
        )


def use_bf16(cfg: Config) -> None:
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind == 'GroupedOptimWrapper':
        cfg.optim_wrapper.dtype = 'bfloat16'
        return
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'Bf16OptimWrapper'):
        raise InputError(
            f'--amp replaces an OptimWrapper, but the config has a {kind}: set its precision in the config.'
        )
    if kind == 'OptimWrapper':
        cfg.optim_wrapper.type = 'Bf16OptimWrapper'


def student_alone(model: dict) -> dict:
    """A model's config to evaluate with: without its teacher, and with no file of weights to start from."""
    if 'distiller' not in model:
        return model
    student = model['student']
    if not isinstance(student, Mapping) or 'type' in student:
        student = dict(model=student)
    of_weights = {'prefix', 'init_from'}
    if not isinstance(student.get('head'), Mapping):  # 'new' says what becomes of a file's; a config builds one
        of_weights.add('head')
    student = {name: value for name, value in student.items() if name not in of_weights}
    return model | dict(teacher=None, compile=None, graph=False, student=student | dict(checkpoint='random'))


def teacher_of(cfg: Mapping) -> dict | str | None:
    """What the teacher of a config is built from, with or without a cache; None where there is none to build: of a run
    with an ``EMATeacher`` it is the average of its student."""
    teacher = (cfg.get('model') or {}).get('teacher') or None
    teacher = teacher.to_dict() if isinstance(teacher, ConfigDict) else teacher
    if isinstance(teacher, dict) and teacher.get('type') == 'EMATeacher':
        return None
    return {name: value for name, value in teacher.items() if name != 'cache'} if isinstance(teacher, dict) else teacher
