"""What machine the figures are from."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import resource
import sys
from pathlib import Path

import torch

_FEATURES = ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_tile', 'amx_bf16', 'asimd', 'sve', 'bf16')
"""Those of a CPU that decide how fast its convolutions are."""


def describe_machine(cpuinfo: Path = Path('/proc/cpuinfo')) -> dict:
    """The processor, its cores and vector instructions, the GPU, the software.

    Args:
        cpuinfo: Where Linux describes the processor; other systems tell its name only.
    """
    fields = _cpu_fields(cpuinfo)
    flags = fields.get('flags', fields.get('Features', '')).split()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return dict(
        cpu=fields.get('model name') or platform.processor() or platform.machine(),
        cores=cores,
        features=[feature for feature in _FEATURES if feature in flags],
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        system=f'{platform.system()} {platform.machine()}',
        python=platform.python_version(),
        torch=torch.__version__,
        load=round(os.getloadavg()[0], 2) if hasattr(os, 'getloadavg') else None,
    )


def _cpu_fields(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    first = path.read_text(errors='replace').split('\n\n')[0]  # all processors are alike
    return {name.strip(): value.strip() for name, _, value in (line.partition(':') for line in first.splitlines())}


def joules_used(device: torch.device) -> float:
    """Energy that a GPU has used since its driver was loaded, in joules; not a number where there is no such counter.

    NVML's counter, which GPUs have since Volta. It advances in steps of some 100 ms.
    """
    if device.type != 'cuda':
        return math.nan
    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    uuid = 'GPU-' + str(torch.cuda.get_device_properties(device).uuid).removeprefix('GPU-')
    try:
        nvml = ctypes.CDLL('libnvidia-ml.so.1')
    except OSError:
        return math.nan
    failed = (
        nvml.nvmlInit_v2()
        or nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle))
        or nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules))
    )
    return math.nan if failed else millijoules.value / 1000


def peak_memory(device: torch.device) -> int:
    """Bytes that this process has held at most: on the GPU, what torch allocated there, else resident memory."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024
