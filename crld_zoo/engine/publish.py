"""What a finished run hands on: the student's weights and a config to use them with, for anybody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.runner.checkpoint import save_checkpoint

from crld_zoo.checkpoint_files import read_checkpoint
from crld_zoo.files import write_atomically
from crld_zoo.registry import MODELS

LAST_STUDENT, BEST_STUDENT, STUDENT_CONFIG = 'student.pth', 'best_student.pth', 'student.py'
"""Names of the files, beside the checkpoints that they are made of."""


def publish_weights(checkpoint: str | Path, path: str | Path) -> None:
    """Write the student of a training checkpoint as a file of plain tensors.

    It holds ``state_dict``, named as the student's own library names its parameters, and ``meta`` with the class names
    (``dataset_meta['classes']``), the epoch and the iteration. ``torch.load``, timm and mmpretrain read it where the
    zoo is not installed.

    Args:
        checkpoint: The training checkpoint, whose averaged weights are taken where it has some.
        path: Where it goes.
    """
    content = read_checkpoint(checkpoint)
    weights, meta = content['state_dict'], content['meta']
    for key in [key for key in weights if re.match(r'data_preprocessor\.', key)]:
        del weights[key]
    meta = {key: meta[key] for key in ('dataset_meta', 'epoch', 'iter') if key in meta}
    save_checkpoint(dict(state_dict=weights, meta=meta), str(path))


def inference_config(cfg: Config) -> Config | None:
    """The config of a run's student alone: the classifier, its normalization, its classes, the data to test it on.

    Args:
        cfg: The run's config.

    Returns:
        A config that mmpretrain builds the student from, with the zoo imported where it needs it; None where the run's
        student is no config.
    """
    from crld_zoo.networks.sources import resolve  # imports mmpretrain, which is slow

    student = cfg.get('model', {}).get('student')
    named = isinstance(student, Mapping) and 'type' not in student
    options = {key: student[key] for key in ('num_classes', 'head') if key in student} if named else {}
    spec = resolve(student['model'] if named else student, **options)
    if spec.module is not None:
        return None
    preprocessor = {**(cfg.get('data_preprocessor') or {}), **(cfg.model.get('data_preprocessor') or {})}
    if preprocessor.get('type') == 'ViewPreprocessor':
        options = {key: preprocessor[key] for key in ('mean', 'std', 'to_rgb') if preprocessor.get(key) is not None}
        preprocessor = dict(type='ClsDataPreprocessor', **options)
    parts = (spec.config, *(spec.config.get(part) for part in ('backbone', 'neck', 'head')))
    types = [part['type'] for part in parts if isinstance(part, Mapping)]
    own = any(MODELS.parent.get(kind) is None for kind in types if isinstance(kind, str))
    imports = [*(cfg.get('custom_imports') or {}).get('imports', []), *(['crld_zoo'] if own else [])]
    return Config(
        dict(
            default_scope='crld_zoo' if own else 'mmpretrain',
            **(dict(custom_imports=dict(imports=imports)) if imports else {}),
            model={**spec.config, 'data_preprocessor': preprocessor},
            **{
                key: cfg[key] for key in ('classes', 'val_dataloader', 'test_dataloader', 'test_pipeline') if key in cfg
            },
        )
    )


def publish(runner, last: str | None, best: str | None) -> None:
    """Write what a run hands on beside its checkpoints.

    Args:
        runner: The runner of the finished run; nothing is written where its model has no student.
        last: Its last checkpoint, if it made one.
        best: Its best checkpoint, if it chose one.
    """
    model = getattr(runner.model, 'module', runner.model)
    folder = Path(last or best or '').parent
    if not hasattr(model, 'student'):
        return
    made = [
        (path, name) for path, name in ((last, LAST_STUDENT), (best, BEST_STUDENT)) if path and Path(path).is_file()
    ]
    for path, name in made:
        publish_weights(path, folder / name)
    config = inference_config(runner.cfg) if made and isinstance(runner.cfg.get('model'), Mapping) else None
    if config is not None and Path(runner.cfg.filename or '').name == STUDENT_CONFIG:
        runner.logger.warning(
            f'{STUDENT_CONFIG} is the config of the run itself: no other one is written for its student'
        )
    elif config is not None:
        write_atomically(config.pretty_text.encode(), folder / STUDENT_CONFIG)
