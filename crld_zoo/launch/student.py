"""A trained student as a thing to use: its network, its classes, its own preprocessing."""

from __future__ import annotations

import inspect
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.logging import MMLogger, print_log
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Subset

from crld_zoo.checkpoint_files import read_classes
from crld_zoo.datasets import InMemoryDataset
from crld_zoo.datasets.image_files import read_rgb
from crld_zoo.engine.publish import BEST_STUDENT, LAST_STUDENT, STUDENT_CONFIG
from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.evaluation.functional import measure
from crld_zoo.files import file_digest
from crld_zoo.registry import DATASETS, MODELS

from .checks import check_classes
from .config import load_config, student_alone

Picture = str | Path | Image.Image | np.ndarray | Tensor


def load_student(run: str | Path, checkpoint: str | Path | None = None, device: str | None = None) -> Student:
    """A trained student with the preprocessing of its run, ready to classify pictures. No teacher is needed.

    Args:
        run: The folder of a run (a work directory of ``tools/train.py``), or a config; a config needs a checkpoint.
        checkpoint: A file, or of a run ``'best'`` or ``'last'``. None takes a run's best, its last where it kept no
            best one. Files published at the end of a run go before its regular checkpoints.
        device: Where it runs; None takes a GPU where there is one.

    Raises:
        MissingFileError: No such run or checkpoint.
        InputError: The run has no finished checkpoint, the checkpoint is damaged or of another network, or its classes
            are others than the config's.

    Example:
        .. code-block:: python

            student = load_student('work_dirs/dkd+crld_r34_r18_folder')
            probabilities = student(['one.jpg', 'two.jpg'])                    # (2, K)
            print(student.classes[probabilities[0].argmax()])
    """
    from crld_zoo.networks.sources import count_classes  # imports mmpretrain, which is slow
    from crld_zoo.networks.weights import load_weights, locate

    run = Path(run)
    if run.is_dir():
        config = _config_of(run)
        path = _checkpoint_of(run, checkpoint)
    elif checkpoint is None:
        if not run.exists():
            raise MissingFileError(f'there is no run {run}: name the work directory of a training, or a config.')
        raise InputError(f'{run} is no folder of a run: name the checkpoint as well, or the folder alone.')
    else:
        config, path = run, locate(checkpoint)
    cfg = load_config(config)
    model = _build(cfg, device)
    network = getattr(model, 'student', model)
    load_weights(network, path)
    classes = _classes(cfg, path, count_classes(network))
    return Student(network.eval(), model.data_preprocessor, classes, cfg, path)


class Student:
    """A trained classifier that takes pictures.

    Attributes:
        network: The plain classifier, in eval mode: normalized images ``(N, 3, H, W)`` to logits ``(N, K)``.
        classes: The class names, ``K`` of them.
        temperature: Divides the logits before the softmax; 1 where none was fitted.
        size: Height and width of the images that the network sees.
        bgr: Whether it sees blue first.
        checkpoint: The file of its weights.
        config: The config of its run.
    """

    def __init__(
        self, network: nn.Module, preprocessor: nn.Module, classes: Sequence[str], config: Config, checkpoint: Path
    ) -> None:
        self.network, self.preprocessor, self.classes = network, preprocessor, list(classes)
        self.config, self.checkpoint = config, Path(checkpoint)
        dataset = _dataset_config(config)
        pipeline = dataset.get('pipeline') or config.get('test_pipeline')
        self._resize = dataset.get('resize', 'crop')
        self._from_file: Callable[[dict], dict] | None = None
        self.bgr = False
        if pipeline:
            loading, steps = pipeline[0], pipeline[1:]
            if not str(loading['type']).endswith('LoadImageFromFile'):
                raise InputError(f'the test pipeline begins with {loading["type"]}, not with LoadImageFromFile.')
            with DefaultScope.overwrite_default_scope('crld_zoo'):
                self._from_file, self._from_array = Compose(pipeline), Compose(steps)
            self.bgr = not ((config.model.get('data_preprocessor') or {}).get('to_rgb') or False)
            height, width = self._run_pipeline(self._from_file, Image.new('RGB', (600, 400))).shape[:2]
            self.size = (height, width)
        else:
            side = _side(dataset, config)
            self.size = (side, side)
            self.bgr = bool((config.model.get('data_preprocessor') or {}).get('to_rgb'))
        self.temperature = self._saved_temperature()

    def read(self, picture: Picture) -> np.ndarray:
        """One picture in the size that the network sees, as the run's own test data are read.

        Args:
            picture: A path, a PIL image, or uint8 RGB ``(H, W, 3)``.

        Returns:
            uint8 RGB ``(height, width, 3)``.
        """
        if isinstance(picture, np.ndarray | Tensor):
            array = np.asarray(picture)
            if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
                raise InputError(
                    f'a picture is uint8 RGB of shape (H, W, 3), but this one is {array.dtype} of shape {array.shape}.'
                )
            picture = Image.fromarray(array)
        if self._from_file is None:
            return read_rgb(picture, self.size[0], self._resize)
        return self._run_pipeline(self._from_file, picture)

    def _run_pipeline(self, from_file: Callable[[dict], dict], picture: str | Path | Image.Image) -> np.ndarray:
        if isinstance(picture, Image.Image):  # mmcv's reader gives blue first
            array = np.ascontiguousarray(np.asarray(picture.convert('RGB'))[..., ::-1])
            result = self._from_array(dict(img=array, img_shape=array.shape[:2], ori_shape=array.shape[:2]))
        else:
            result = from_file(dict(img_path=str(picture)))
        return np.ascontiguousarray(result['inputs'].permute(1, 2, 0).flip(2).numpy())

    def preprocess(self, images: Picture | Sequence[Picture]) -> Tensor:
        """Pictures of any size as the network takes them: read, resized, normalized, ``(N, 3, height, width)``.

        Args:
            images: uint8 RGB ``(N, H, W, 3)``, or a list of paths, PIL images and uint8 arrays ``(H, W, 3)``; one
                picture alone counts as a list of one.
        """
        alone = isinstance(images, str | Path | Image.Image) or getattr(images, 'ndim', 4) == 3
        pictures = cast(Sequence[Picture], [images] if alone else images)
        return self.normalize(torch.from_numpy(np.stack([self.read(picture) for picture in pictures])))

    @property
    def normalization(self) -> list[Any]:
        """Mean and standard deviation that the network's images are normalized with; None each where there is none."""
        values = [getattr(self.preprocessor, name, None) for name in ('mean', 'std')]
        return [value.flatten().tolist() if isinstance(value, Tensor) else value for value in values]

    @property
    def chosen_on_test(self) -> bool:
        """Whether the run's best checkpoint is the best on the test set itself."""
        validation, test = ((self.config.get(f'{split}_dataloader') or {}).get('dataset') for split in ('val', 'test'))
        return validation == test

    def normalize(self, images: Tensor) -> Tensor:
        """From uint8 RGB ``(N, height, width, 3)``, as :meth:`read` gives it, to what the network takes."""
        stored = images.permute(0, 3, 1, 2)
        if self._from_file is not None:
            stored = stored.flip(1)
        return self.preprocessor(dict(inputs=stored), False)['inputs']

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        """The logits ``(N, K)`` of uint8 RGB ``(N, height, width, 3)``, as :meth:`read` gives it."""
        return self.network(self.normalize(images), mode='tensor').float()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Calibrated where a temperature was fitted."""
        return (logits / self.temperature).softmax(1)

    def __call__(self, images: Picture | Sequence[Picture]) -> Tensor:
        """The class probabilities ``(N, K)`` of pictures, in the forms that :meth:`preprocess` takes."""
        with torch.inference_mode():
            return self.probabilities(self.network(self.preprocess(images), mode='tensor').float())

    def held_out(self, count: int | Sequence[int] | None = None, split: str = 'val') -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of the run's validation (or ``'test'``) set.

        Args:
            count: So many images, spread evenly over the set, or the indices of those wanted; None takes all.

        Yields:
            uint8 RGB ``(N, height, width, 3)`` and class indices ``(N,)``, on the CPU.

        Raises:
            InputError: The config has no such set.
        """
        from crld_zoo.views import targets

        loader = self.config.get(f'{split}_dataloader')
        if loader is None:
            raise InputError(f'the config of this run has no {split}_dataloader, whose images this needs.')
        with DefaultScope.overwrite_default_scope('crld_zoo'):
            dataset = DATASETS.build(loader.dataset)
            if hasattr(dataset, 'full_init'):
                dataset.full_init()
            if isinstance(count, int) and count < len(dataset):
                count = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
            if isinstance(count, Sequence):
                dataset = Subset(dataset, count)
            options = {key: loader[key] for key in ('batch_size', 'collate_fn') if key in loader}
            batches = Runner.build_dataloader(
                dict(dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=False), num_workers=0, **options)
            )
        for batch in batches:
            images = batch['inputs']
            images = images if isinstance(images, Tensor) else torch.stack(tuple(images))
            images = images.permute(0, 2, 3, 1).cpu()
            yield images.flip(3) if self._from_file is not None else images, targets(batch['data_samples']).cpu()

    def outputs(self, count: int | Sequence[int] | None = None, split: str = 'val') -> tuple[Tensor, Tensor]:
        """Logits ``(M, K)`` and labels ``(M,)`` of the held-out images, see :meth:`held_out`."""
        logits, labels = zip(
            *((self.logits(images).cpu(), labels) for images, labels in self.held_out(count, split)), strict=True
        )
        return torch.cat(logits), torch.cat(labels)

    def calibrate(self) -> dict[str, Any]:
        """Fit the temperature on the validation set and keep it beside the checkpoint.

        Returns:
            ``temperature``, and the expected calibration error on that set ``before`` and ``after``.
        """
        from crld_zoo.evaluation.temperature import fit_temperature

        logits, labels = self.outputs()
        self.temperature = fit_temperature(logits, labels)
        before, after = (measure(scores, None, labels)['ece'] for scores in (logits, logits / self.temperature))
        if bool((logits.argmax(1) == labels).all()):
            print_log(
                f'the {len(labels)} images of the validation set are all classified right: the lower the temperature, '
                'the better it fits them, and what it makes of a probability is worth nothing; take more images',
                logger='current',
                level=logging.WARNING,
            )
        told = dict(temperature=self.temperature, before=before, after=after)
        kept = dict(told, checkpoint=file_digest(self.checkpoint))
        self._temperature_file.write_text(json.dumps(kept, indent=2) + '\n')
        return told

    @property
    def _temperature_file(self) -> Path:
        return self.checkpoint.with_name(f'{self.checkpoint.name}.temperature.json')

    def _saved_temperature(self) -> float:
        path = self._temperature_file
        if not path.is_file():
            return 1.0
        try:
            saved = json.loads(path.read_text())
            temperature, of = float(saved['temperature']), saved['checkpoint']
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f'{path} is damaged ({error}): delete it, or calibrate again.') from error
        if of == file_digest(self.checkpoint):
            return temperature
        print_log(
            f'{path} was fitted to other weights than {self.checkpoint} has now: the probabilities are not calibrated',
            logger='current',
            level=logging.WARNING,
        )
        return 1.0


def build_teacher(config: dict | str, student: Student) -> Any:
    """A teacher with its weights, for the images that a student normalizes, on its device.

    Args:
        config: As ``model.teacher`` of a run; whether it is compiled or cached does not count.
        student: The student.

    Raises:
        MissingFileError: Its weights are not there.
        InputError: It has other classes than the student.
    """
    from crld_zoo.models import Distillation  # noqa: F401  registers

    named = isinstance(config, dict) and ('model' in config or 'teachers' in config)
    options: dict = dict(config) if isinstance(config, dict) and named else dict(model=config)
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        teacher = MODELS.build(
            {'type': 'Teacher', **{key: value for key, value in options.items() if key not in ('compile', 'cache')}}
        )
    teacher.check_classes(len(student.classes))
    teacher.match_input(*student.normalization)
    return teacher.to(next(student.network.parameters()).device).eval()


def log_to_stderr() -> None:
    """Keep the log out of what a command prints."""
    for handler in MMLogger.get_current_instance().handlers:
        if type(handler) is logging.StreamHandler:
            handler.stream = sys.stderr


def _build(cfg: Config, device: str | None) -> BaseModel:
    model = student_alone(cfg.model.to_dict())
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        built = MODELS.build(model)
    return built.to(device or ('cuda' if torch.cuda.is_available() else 'cpu')).eval()


def _config_of(run: Path) -> Path:
    configs = sorted(run.glob('*.py'), key=lambda path: (path.name != STUDENT_CONFIG, path.stat().st_mtime))
    if not configs:
        raise MissingFileError(f'{run} holds no config, so it is no run: name the work directory of a training.')
    return configs[-1]


def _checkpoint_of(run: Path, wanted: str | Path | None) -> Path:
    if wanted not in (None, 'best', 'last'):
        inside = run / wanted
        if inside.is_file() or Path(wanted).is_file():
            return inside if inside.is_file() else Path(wanted)
        raise MissingFileError(f'there is no checkpoint {wanted}, in {run} neither.')
    best = [run / BEST_STUDENT, *_newest(run.glob('best_*.pth'))]
    regular = [path for path in run.glob('*.pth') if not path.name.startswith(('best_', 'snapshot'))]
    last = [run / LAST_STUDENT, *_newest(regular)]
    for path in {'best': best, 'last': last, None: [*best, *last]}[wanted]:
        if path.is_file():
            return path
    raise InputError(
        f'{run} has no finished {f"{wanted} " if wanted else ""}checkpoint: let the training end its first epoch '
        '(tools/train.py … --resume goes on with it).'
    )


def _newest(paths) -> list[Path]:
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)


def _dataset_config(cfg: Config) -> ConfigDict:
    """The data set that the student is tested on, without what it is wrapped in."""
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader') or {}
    dataset = loader.get('dataset') or ConfigDict()
    while isinstance(dataset.get('dataset'), dict):
        dataset = dataset.dataset
    return dataset


def _side(dataset: ConfigDict, cfg: Config) -> int:
    """The side of the images of a data set that is read without a pipeline."""
    kind = DATASETS.get(str(dataset.get('type')))
    default = inspect.signature(kind).parameters.get('size') if kind is not None else None
    options = cfg.model.get('data_preprocessor') or {}
    views = options.get('views') or {}
    sizes = [step.get('size') for steps in views.values() if not isinstance(steps, dict) for step in steps]
    for size in (dataset.get('size'), getattr(default, 'default', None), options.get('image_size'), *sizes):
        if isinstance(size, int):
            return size
    if kind is not None and issubclass(kind, InMemoryDataset):  # CIFAR, without a crop: its images say
        with DefaultScope.overwrite_default_scope('crld_zoo'):
            return DATASETS.build(dataset).images.shape[-1]
    raise InputError('the config does not say how large the images are: give its test data set a size.')


def _classes(cfg: Config, checkpoint: Path, count: int) -> list[str]:
    dataset = _dataset_config(cfg)
    kind = DATASETS.get(str(dataset.get('type')))
    own = dataset.get('classes') or (dataset.get('metainfo') or {}).get('classes') or cfg.get('classes')
    saved = read_classes(checkpoint)
    check_classes({'the config': own, str(checkpoint): saved}, allow=cfg.get('allow_other_classes', False))
    classes = saved or own or getattr(kind, 'METAINFO', {}).get('classes')
    if classes is None:
        print_log(f'neither {checkpoint} nor its config names the classes: they are numbered', logger='current')
        return [str(number) for number in range(count)]
    if len(classes) != count:
        raise InputError(f'{checkpoint} names {len(classes)} classes, but the network has {count} outputs.')
    return [str(name) for name in classes]
