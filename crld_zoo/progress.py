"""How far the training is, read from one place.

MMEngine's Runner keeps the epoch and the iteration in its message hub, writes them into every checkpoint and restores
them on a resume. Whatever follows a schedule (a warm-up, a view generator's stream) reads them here, so nothing has a
counter of its own to save.
"""

from __future__ import annotations

from typing import NamedTuple

from mmengine.logging import MessageHub


class Progress(NamedTuple):
    """Where the training stands.

    Attributes:
        epoch: The running epoch, counted from 1 as the papers do.
        iteration: Batches seen since the start of the training, counted from 0.
    """

    epoch: int
    iteration: int


def current_progress() -> Progress | None:
    """The running training's progress, or None outside of one."""
    hub = MessageHub.get_current_instance()
    if hub.get_info('loop_stage') != 'train':  # what an earlier run in this process left does not count
        return None
    return Progress(hub.get_info('epoch') + 1, hub.get_info('iter'))
