"""A frozen network held in shares, for a teacher that is too large to stand whole in every process."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from crld_zoo.errors import InputError

_MOST = 0.7
"""Blocks with at least this part of the parameters of a block around them take its place: Swin's blocks that of their
stage, but not a feed-forward part (two thirds) that of its transformer layer."""


def shard_over_processes(module: nn.Module, name: str, *methods: str) -> None:
    """Keep each weight of a frozen module in shares, one a process, and gather a part of it only while it runs.

    The parts are the blocks: what stands in a ``Sequential`` or ``ModuleList``, such as a transformer's layers and a
    ResNet's residual blocks. The rest (the stem, the head) is one more. A process holds its share of everything and,
    while the network runs, the rest and a block or two; the answers are those of the whole network. Buffers stay
    whole. All processes must run it equally often, since they gather together, and a change of dtype comes before the
    first run.

    MMEngine's ``FSDPStrategy`` wraps the model that a runner trains, the student with it, and brings checkpoints of
    its own; PyTorch's ``fully_shard`` beneath changes neither the student nor any name.

    With one process there is nothing to share: the module is left as it is, which the log says.

    Args:
        module: Frozen, in eval mode, with the same weights in every process.
        name: What the log calls it.
        methods: Those beside ``forward`` by which it is run.

    Raises:
        InputError: It has a parameter that cannot be divided.
    """
    if get_world_size() == 1:
        print_log(f'{name} stays whole: shard=True needs several processes (tools/dist_train.sh CONFIG GPUS)',
                  logger='current', level=logging.WARNING)
        return
    mesh = init_device_mesh(get_device(), (get_world_size(),))
    try:
        for part in (*_blocks(module), module):  # the last takes what is left
            fully_shard(part, mesh=mesh, reshard_after_forward=True)
    except (ValueError, NotImplementedError) as error:
        raise InputError(f'{name} cannot be sharded ({str(error).splitlines()[0]}): leave shard out') from error
    for method in methods:
        register_fsdp_forward_method(module, method)
    print_log(f'{name} is kept in {get_world_size()} shares', logger='current')


def whole(tensor: Tensor) -> Tensor:
    """A weight from its shares, which all processes gather together; one that is whole as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def keeping_layout(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A change of all tensors (``nn.Module.to``'s, say) that leaves a share contiguous, as gathering needs it."""
    def changed(tensor: Tensor) -> Tensor:
        result = change(tensor)
        return result.contiguous() if isinstance(result, DTensor) else result
    return changed


def _blocks(module: nn.Module) -> list[nn.Module]:
    """What is gathered by itself: the inner blocks if they hold most of the outer one, which not all networks call as
    a whole."""
    blocks = []
    for child in module.children():
        inner = _blocks(child)
        is_block = isinstance(module, nn.Sequential | nn.ModuleList) and _size(child) \
            and not isinstance(child, nn.ModuleList | nn.ModuleDict)  # these two are never called
        blocks += [child] if is_block and sum(map(_size, inner)) < _MOST * _size(child) else inner
    return blocks


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
