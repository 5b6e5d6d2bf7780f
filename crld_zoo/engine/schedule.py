"""A resume under another schedule: never by accident, and on purpose as if the run had begun with it.

A checkpoint holds the hyperparameters of the optimizer and its schedules, and a resume puts them in the place of what
the config says.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from mmengine.optim import _ParamScheduler

from crld_zoo.errors import InputError

_PROGRESS = {
    *('last_step', '_global_step', '_last_value', 'verbose'),
    *('best', 'num_bad_epochs', 'cooldown_counter'),  # of a schedule that follows a metric
    'base_values',  # the optimizer's own values, which are compared there
}


def schedule_changes(
    groups: Sequence[Mapping], schedulers: Sequence[Mapping], saved_groups: Sequence[Mapping], saved: Sequence[Mapping]
) -> list[str]:
    """What a checkpoint's optimizer and schedules would override, one clause a value.

    Args:
        groups: The parameter groups of an optimizer that has not stepped.
        schedulers: The states of its schedulers.
        saved_groups: Those of the checkpoint.
        saved: Likewise.

    >>> group = dict(params=[0], lr=0.1, weight_decay=0.0)
    >>> schedule_changes([group], [dict(milestones=[2])], [group | dict(lr=0.2)], [dict(milestones=[2, 4])])
    ['lr: 0.2 in the checkpoint, 0.1 now', 'milestones: [2, 4] in the checkpoint, [2] now']
    """
    changes: dict[str, None] = {}  # ordered; the same change in many groups counts once
    for what, new, old in (('parameter groups', groups, saved_groups), ('schedules', schedulers, saved)):
        if len(new) != len(old):
            changes[f'{what}: {len(old)} in the checkpoint, {len(new)} now'] = None
        for now, then in zip(new, old, strict=False):
            for key in now.keys() & then.keys() - _PROGRESS - {'params', 'param_names'}:
                values = [values.get(f'initial_{key}', values[key]) for values in (then, now)]
                if not key.startswith('initial_') and values[0] != values[1]:
                    shown = [sorted(value) if isinstance(value, dict) else value for value in values]
                    changes[f'{key}: {shown[0]} in the checkpoint, {shown[1]} now'] = None
            if what == 'schedules' and now.keys() != then.keys():
                changes['the kind of a schedule'] = None
    return sorted(changes)


def replay(schedulers: Sequence[_ParamScheduler], epochs: int, length: int, iterations: int) -> None:
    """Bring new schedulers, and with them the optimizer, to where a run from the beginning would have them.

    Args:
        schedulers: Of an optimizer that has not stepped.
        epochs: Complete epochs.
        length: Iterations of an epoch.
        iterations: Those after the last complete epoch.

    Raises:
        InputError: One follows a metric, whose history nobody knows.
    """
    if any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers):
        raise InputError('a schedule that follows a metric (ReduceOnPlateau) cannot be rebuilt: keep the saved one.')
    by_epoch, by_iteration = ([one for one in schedulers if one.by_epoch is kind] for kind in (True, False))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # PyTorch's, that the optimizer has not stepped
        for epoch in range(epochs + 1):
            for scheduler in by_iteration * (length if epoch < epochs else iterations):
                scheduler.step()
            for scheduler in by_epoch if epoch < epochs else ():
                scheduler.step()


def optimizer_kind(runner) -> str | None:
    """The class of a run's optimizer; None where there are several, or none yet."""
    optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
    return None if optimizer is None else type(optimizer).__name__


def match_schedule(runner, checkpoint: dict, rebuild: bool) -> None:
    """Compare what a run's config says with what a checkpoint would put in its place, or rebuild that.

    Args:
        runner: A runner that is about to take the checkpoint's state.
        checkpoint: Changed where it is rebuilt.
        rebuild: Whether a difference is meant.

    Raises:
        InputError: They differ, and that is not meant or cannot be.
    """
    schedulers, optimizer = runner.param_schedulers or [], checkpoint.get('optimizer')
    kind, saved_kind = optimizer_kind(runner), checkpoint['meta'].get('optimizer')
    if None not in (kind, saved_kind) and kind != saved_kind:
        raise InputError(
            f'the checkpoint holds the state of {saved_kind}, which is none of {kind}: take {saved_kind} again, or '
            'start a new run from its weights (load_from).'
        )
    if optimizer is None or not isinstance(schedulers, list):  # several optimizers: not what the zoo's models have
        return
    groups, saved = runner.optim_wrapper.param_groups, optimizer['param_groups']
    states = [scheduler.state_dict() for scheduler in schedulers]
    changes = schedule_changes(groups, states, saved, checkpoint.get('param_schedulers', []))
    if not changes:
        return
    if not rebuild:
        raise InputError(
            f'the config is not the one that this run was started with, and a resume ignores what changed '
            f'({"; ".join(changes)}): take the old values, or say that the new ones are meant: --cfg-options '
            'default_hooks.checkpoint.resume_schedule=rebuild.'
        )
    if len(groups) != len(saved):
        raise InputError(f'the optimizer has {len(groups)} parameter groups, in the checkpoint {len(saved)}.')
    done = checkpoint['message_hub']['runtime_info'].get('batches_done', checkpoint['meta']['iter'])
    replay(schedulers, checkpoint['meta']['epoch'], len(runner.train_dataloader), done)
    optimizer['param_groups'] = [{**now, 'params': then['params']} for now, then in zip(groups, saved, strict=True)]
    checkpoint['param_schedulers'] = [scheduler.state_dict() for scheduler in schedulers]
    runner.logger.info(f'the schedule is rebuilt ({"; ".join(changes)})')
