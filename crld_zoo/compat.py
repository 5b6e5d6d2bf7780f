"""Remedies for running MMEngine's stack on today's torch, numpy and transformers.

One function a remedy; each names the versions that made it necessary and does nothing where its condition is absent.
The package imports this module before anything else.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.fileio import LocalBackend, register_backend

from .config_files import PREFIX, find_config
from .files import write_atomically

_LIBRARIES: list[torch.library.Library] = []


def _mend_torchvision_operators() -> None:
    """torchvision built for CUDA beside a CPU-only torch (registry wheels, 0.21-0.28): its operators do not load.

    ``import torchvision`` then fails because ``torchvision::nms`` is not defined. Declaring the two operators that
    torchvision registers fakes for lets it import; datasets, models and transforms work, ``ops.nms`` and
    ``io.read_image`` do not.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if 'torchvision::nms does not exist' not in str(error):
            raise
        for name in [name for name in sys.modules if name.split('.')[0] == 'torchvision']:
            del sys.modules[name]
        library = torch.library.Library('torchvision', 'DEF')
        for operator in ('nms', 'qnms'):
            library.define(f'{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
        _LIBRARIES.append(library)  # the operators live as long as the library object
        import torchvision  # noqa: F401


def _allow_mmengine_checkpoints() -> None:
    """torch >= 2.6 loads with ``weights_only=True``; mmengine 0.10.7's checkpoints hold log history and numpy scalars.

    Allows exactly those types. The pickles also ask for ``getattr`` (HistoryBuffer's statistics are bound methods by
    name), which is answered by a function that gives HistoryBuffer's methods and nothing else.
    """
    from mmengine.logging import HistoryBuffer

    def history_method(owner, name):
        if owner is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
            return getattr(HistoryBuffer, name)
        raise torch.serialization.pickle.UnpicklingError(f'a checkpoint may not ask for {owner!r}.{name}')

    multiarray = importlib.import_module('numpy._core.multiarray' if hasattr(np, '_core') else 'numpy.core.multiarray')
    kinds: set[Any] = {bool, *np.sctypeDict.values()}
    dtypes = {type(np.dtype(kind)) for kind in kinds if not issubclass(kind, np.void)}
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            np.ndarray,
            np.dtype,
            *dtypes,
            (history_method, 'builtins.getattr'),
            *(
                (getattr(multiarray, name), f'numpy.{core}.multiarray.{name}')
                for core in ('core', '_core')
                for name in ('_reconstruct', 'scalar')
            ),
        ]
    )


def _skip_multimodal_models() -> None:
    """transformers >= 5 beside pycocotools: mmpretrain 1.2.0's multimodal models no longer import.

    mmpretrain decides by a flag in ``mmpretrain.utils.dependency``, which its own ``__init__`` reads, so that one
    module is loaded ahead of its package with the flag off. Classifiers do not need it.
    """
    try:
        major = int(version('transformers').split('.')[0])
        version('pycocotools')
    except PackageNotFoundError:
        return
    name = 'mmpretrain.utils.dependency'
    package = importlib.util.find_spec('mmpretrain')
    if major < 5 or name in sys.modules or package is None or package.origin is None:
        return
    path = Path(package.origin).parent / 'utils' / 'dependency.py'
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        return
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.WITH_MULTIMODAL = False
    sys.modules[name] = module


def _silence_mmcv_lite() -> None:
    """mmcv-lite (any version) warns that it has no deformable attention; no classifier of the zoo uses it."""
    warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')


def _silence_distilled_head() -> None:
    """mmpretrain 1.2.0 warns that it cannot train a distilled DeiT, whose loss is here the distiller's."""
    warnings.filterwarnings('ignore', message='MMPretrain cannot train the distilled version DeiT')


@register_backend('local', force=True, prefixes='')
class AtomicBackend(LocalBackend):
    """mmengine 0.10.7 writes files in place, so that a kill or a full disk leaves half of one under its name.

    This takes the place of its backend for paths without a prefix, which all checkpoints go through: the regular ones,
    the best and the published ones, and those that a hook of a plugin saves.
    """

    def put(self, obj: bytes, filepath: str) -> None:
        """Write bytes."""
        write_atomically(obj, filepath)

    def put_text(self, obj: str, filepath: str, encoding: str = 'utf-8') -> None:
        """Write text."""
        write_atomically(obj.encode(encoding), filepath)


def _find_own_configs() -> None:
    """mmengine 0.10.7 finds the configs of the packages that it lists, and those only where they are installed.

    With the zoo in its list, ``mmengine.hub.get_config('crld_zoo::…')`` works; a ``_base_`` of that form is also found
    in a clone, whose configs are not in the package.
    """
    MODULE2PACKAGE['crld_zoo'] = 'crld_zoo'
    resolve = Config._get_cfg_path

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        return (str(find_config(cfg_path)), None) if cfg_path.startswith(PREFIX) else resolve(cfg_path, filename)

    Config._get_cfg_path = staticmethod(get_cfg_path)


def corrupts_memory_in_channels_last(network: torch.nn.Module) -> bool:
    """oneDNN of torch 2.13 on CPUs without AVX-512: a strided 1x1 convolution of few channels writes out of bounds.

    Seen for input channels that are no multiple of 8, in the channels-last layout alone, as "double free or corruption"
    in the backward pass. Such a network stays in the ordinary layout.
    """
    return torch.backends.cpu.get_cpu_capability() != 'AVX512' and any(
        isinstance(module, torch.nn.Conv2d)
        and module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and module.in_channels % 8
        for module in network.modules()
    )


_mend_torchvision_operators()
_allow_mmengine_checkpoints()
_skip_multimodal_models()
_silence_mmcv_lite()
_silence_distilled_head()
_find_own_configs()
