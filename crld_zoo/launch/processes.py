"""The processes of one run: how they meet, what the main one decides for all, how they part."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed
from mmengine.config import Config, ConfigDict
from mmengine.dist import barrier, broadcast_object_list, get_rank, init_dist, is_distributed
from mmengine.utils.dl_utils import set_multi_processing

from crld_zoo.errors import InputError


def join_group(cfg: Config, launcher: str) -> None:
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


def leave_group(together: bool = True) -> None:
    """Close the process group, when nothing refers to it any more: its threads must end before the interpreter does."""
    if is_distributed():
        gc.collect()
        if together:
            barrier()  # the main process may still be writing
        torch.distributed.destroy_process_group()


def on_main(look: Callable[[], Any]) -> Any:
    """What the main process finds, or the error it meets, in every process."""
    answer: list[Any] = [None, None]
    if get_rank() == 0:
        try:
            answer[0] = look()
        except InputError as error:
            answer[1] = error
    broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]
