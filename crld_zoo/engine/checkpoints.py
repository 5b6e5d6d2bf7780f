"""Checkpoint files: which one to go on from, whether it is intact, whether it fits."""

from __future__ import annotations

import logging
from pathlib import Path

from mmengine.logging import print_log
from torch import Tensor, nn

from crld_zoo.checkpoint_files import check_bytes, read_checkpoint
from crld_zoo.errors import InputError

RUN_FILE = '.run'
"""Name of the file that says which run a work directory belongs to."""

_TO_RESUME = ('meta', 'message_hub', 'state_dict', 'optimizer')


def find_resume_checkpoint(work_dir: str | Path) -> str | None:
    """The newest intact checkpoint of a work directory's run, or None; what is skipped is logged with the reason.

    Newest is the one saved last, by the time written inside, so names do not matter. Intact means that every byte is
    there and fits its checksum (``torch.load`` by itself does not notice a flipped bit), and that the file loads with
    ``weights_only=True``. Files without the optimizer (the best checkpoints) are no candidates, nor are those of an
    earlier run in the same folder.
    """
    work_dir = Path(work_dir)
    run_file = work_dir / RUN_FILE
    run = run_file.read_text() if run_file.is_file() else None
    candidates = []
    for path in sorted(work_dir.rglob('*.pth')):
        try:
            content = read_checkpoint(path, verify=False)
            if _missing(content):
                continue
            of_run = content['message_hub']['runtime_info'].get('run')
            if None not in (run, of_run) and run != of_run:
                raise InputError(f'{path} belongs to an earlier run')
        except InputError as error:
            _log_skipped(error)
            continue
        candidates.append((content['meta'].get('saved_at', path.stat().st_mtime), path))
    for _, path in sorted(candidates, reverse=True):
        try:
            check_bytes(path)
        except InputError as error:
            _log_skipped(error)
            continue
        return str(path)
    return None


def read_run(path: str | Path) -> tuple[str | None, int]:
    """The name of the run that a checkpoint is of, None in files of MMEngine's own hook, and its seed.

    Raises:
        InputError: Training cannot be resumed from this file: it is missing or damaged, or holds only weights.
    """
    content = read_checkpoint(path)
    if missing := _missing(content):
        raise InputError(
            f'{path} cannot be resumed from, it has no {", ".join(missing)}: resume from a regular '
            'checkpoint, or start from these weights with load_from.'
        )
    return content['message_hub']['runtime_info'].get('run'), content['meta']['seed']


def check_fits(model: nn.Module, path: str | Path) -> None:
    """Check that a checkpoint has every weight of a model and no other, each of the right shape.

    Raises:
        InputError: The checkpoint is of another model, missing or damaged.
    """
    content = read_checkpoint(path)
    given, needed = (
        {name: tuple(value.shape) for name, value in state.items() if isinstance(value, Tensor)}
        for state in (content['state_dict'], getattr(model, 'module', model).state_dict())
    )
    problems = {
        'missing': sorted(needed.keys() - given.keys()),
        'unknown': sorted(given.keys() - needed.keys()),
        'of another shape': [
            f'{name} {given[name]} instead of {needed[name]}'
            for name in sorted(needed)
            if given.get(name, needed[name]) != needed[name]
        ],
    }
    told = [
        f'{problem}: {", ".join(names[:3])}{f" and {len(names) - 3} more" if len(names) > 3 else ""}'
        for problem, names in problems.items()
        if names
    ]
    if told:
        raise InputError(
            f'{path} does not fit the model of this config ({"; ".join(told)}): use the config it was trained with.'
        )


def _missing(content) -> list[str]:
    return [key for key in _TO_RESUME if not isinstance(content, dict) or key not in content]


def _log_skipped(reason: InputError) -> None:
    print_log(
        f'skipped while looking for a checkpoint to go on from: {reason}', logger='current', level=logging.WARNING
    )
