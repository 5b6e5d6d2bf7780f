"""A config made ready to be measured: the recipe as it is, without what is not a training step."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from PIL import Image

from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.launch import load_config, prepare, use_bf16

_ENDLESS = 1_000_000
_PHOTOGRAPHS = 256


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        config: The recipe.
        batch_size: Images in a batch; None takes the recipe's.
        amp: Run the forward pass under bfloat16 autocast.
        tf32: Whether a GPU may multiply in TF32; None leaves it to PyTorch, which does in convolutions.
        synthetic: Take random images instead of the recipe's data set.
        image_size: Side of the synthetic images; None finds it in the recipe's views.
        processor_time: Count the seconds of the processor instead of those on the wall; see
            :class:`~crld_zoo.benchmark.timing.Clock`.
        random_weights: Give the teacher random weights: its checkpoint is not read.
        overrides: Values that replace the recipe's, by dotted key.
    """

    config: Path
    batch_size: int | None = None
    amp: bool = False
    tf32: bool | None = None
    synthetic: bool = False
    image_size: int | None = None
    random_weights: bool = False
    processor_time: bool = False
    overrides: Mapping = field(default_factory=dict)


def in_way(options: Options, way: str) -> Options:
    """What is measured, in a way of computing it.

    Args:
        options: What is measured.
        way: ``'fp32'``, ``'tf32'`` or ``'bf16'``, and after it ``'+graph'`` (``model.graph``) or ``'+compile'``
            (``model.compile`` and ``model.teacher.compile``) or both.

    Raises:
        InputError: There is no such way.

    Example:
        >>> in_way(Options(Path('recipe.py')), 'bf16+graph').overrides
        {'model.graph': True}
    """
    precision, *extras = way.split('+')
    if precision not in _PRECISIONS or not set(extras) <= _EXTRAS.keys():
        raise InputError(
            f"there is no way '{way}' to compute: {', '.join(_PRECISIONS)}, each with +{' or +'.join(_EXTRAS)} or both."
        )
    overrides = dict(options.overrides)
    for extra in extras:
        overrides.update(_EXTRAS[extra])
    return replace(options, amp=precision == 'bf16', tf32=_PRECISIONS[precision], overrides=overrides)


_PRECISIONS = dict(fp32=False, tf32=True, bf16=None)
_EXTRAS = {
    'graph': {'model.graph': True},
    'compile': {'model.compile': True, 'model.teacher.compile': True},
}


def set_tf32(options: Options) -> None:
    """Let GPUs multiply in TF32 in this process, or not, as the options say."""
    torch.backends.cudnn.allow_tf32 = True if options.tf32 is None else options.tf32
    torch.backends.cuda.matmul.allow_tf32 = False if options.tf32 is None else options.tf32


def measured_config(options: Options, work_dir: Path) -> Config:
    """The recipe's config for a run that only trains, as long as it is measured.

    The loop, the optimizer, the logging and the safeguards stay. Validation, checkpoints and what depends on them go.

    Args:
        options: What is measured.
        work_dir: Where the run writes.

    Raises:
        InputError: The recipe cannot be measured so; see the message.
    """
    cfg = load_config(options.config, work_dir, options.overrides)
    if cfg.get('train_dataloader') is None or cfg.get('model') is None:
        raise InputError(f'{options.config} trains nothing: a model and a train_dataloader are needed.')
    for stage in ('val', 'test'):
        for part in ('dataloader', 'cfg', 'evaluator'):
            cfg[f'{stage}_{part}'] = None
    prepare(cfg)
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.pop('teacher_accuracy', None)  # it needs the validation set
    cfg.log_level = 'ERROR'
    cfg.load_from, cfg.resume = None, False
    cfg.train_cfg['max_iters' if 'max_iters' in cfg.train_cfg else 'max_epochs'] = _ENDLESS
    cfg.experiment_name = uuid.uuid4().hex  # MMEngine shares the log of runs that begin in the same second
    if options.batch_size is not None:
        cfg.train_dataloader.batch_size = options.batch_size
    if options.amp:
        use_bf16(cfg)
    if options.random_weights and cfg.model.get('teacher') is not None:
        cfg.model.teacher = with_options(cfg.model.teacher, checkpoint='random')
    if options.synthetic:
        _take_synthetic_images(cfg, options, work_dir)
    return cfg


def build_or_explain(build, options: Options):
    """What ``build()`` gives; where a file is missing, the error says how to measure without it."""
    try:
        return build()
    except MissingFileError as error:
        raise MissingFileError(
            f'{str(error).rstrip(".")}; to measure without it, take --random-weights (for the '
            "teacher's checkpoint) or --synthetic (for the images): both leave the timings as they "
            'are.'
        ) from error


def with_options(teacher: str | Mapping, **options) -> dict:
    """A teacher's config with other options, in each of several teachers.

    Args:
        teacher: As ``model.teacher`` of a recipe may be: a name, a classifier's config, a ``Teacher``'s or a
            ``TeacherEnsemble``'s; an ``EMATeacher``'s, which has none of these options, stays as it is.
        **options: Those of a ``Teacher``.
    """
    if isinstance(teacher, Mapping) and 'teachers' in teacher:
        return ConfigDict(teacher, teachers=[with_options(member, **options) for member in teacher['teachers']])
    if isinstance(teacher, Mapping) and teacher.get('type') == 'EMATeacher':
        return ConfigDict(teacher)
    if isinstance(teacher, Mapping) and 'model' in teacher:
        return ConfigDict(teacher, **options)
    return ConfigDict(model=teacher, **options)


def _take_synthetic_images(cfg: Config, options: Options, work_dir: Path) -> None:
    loader = cfg.train_dataloader
    if 'pipeline' in loader.dataset:
        folder = Path(work_dir, 'photographs')
        write_photographs(folder, _PHOTOGRAPHS)
        loader.dataset = ConfigDict(type='CustomDataset', data_root=str(folder), pipeline=loader.dataset.pipeline)
        return
    size = options.image_size or view_size(cfg.model.get('data_preprocessor', {}).get('views') or {})
    if size is None:
        raise InputError(f'the views of {options.config} do not say how large the images are: give --image-size.')
    # Two classes are enough: no time depends on the labels.
    loader.dataset = ConfigDict(
        type='SyntheticImages',
        num_images=max(10_000, 4 * loader.batch_size),
        num_classes=2,
        size=size,
        device=loader.dataset.get('device', 'cpu'),
    )


def view_size(views: Mapping) -> int | None:
    """The side of the images that views begin with, as the first operation that has a size says; None if none does."""
    for operations in views.values():
        for operation in operations:
            if 'size' in operation:
                size = operation['size']
                return size if isinstance(size, int) else max(size)
    return None


def write_photographs(folder: Path, count: int) -> None:
    """JPEG files of 500x375 pixels in two class folders, as detailed as a photograph to a decoder."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((count, 3, 24, 32), generator=generator)
    for index, image in enumerate(coarse):
        smooth = torch.nn.functional.interpolate(image[None], (375, 500), mode='bicubic')[0]
        grain = torch.randn((3, 375, 500), generator=generator) * 0.05
        pixels = ((smooth + grain).clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
        path = folder / f'class_{index % 2}' / f'{index}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)
