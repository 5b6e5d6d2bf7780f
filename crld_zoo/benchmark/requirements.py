"""What is missing to run the zoo here, asked without importing anything but the standard library.

A machine without a network gets its packages from another one, so it should name all of them at once.
"""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

_NAME = re.compile(r'\s*([A-Za-z0-9][A-Za-z0-9._-]*)')
_INSTEAD = {'mmcv-lite': 'mmcv', 'opencv-python': 'cv2'}
"""Packages whose module may come from another package."""
_COMPLETE = {'torch', 'torchvision'}
"""Packages whose own requirements are not looked at: where CUDA comes with the system, they are never there."""


def missing(setup: Path, further: tuple[str, ...] = ()) -> dict[str, str]:
    """The packages that are not installed, each with the one that needs it.

    Args:
        setup: The project's ``setup.py``, with its list ``REQUIRES``.
        further: Packages that are needed as well.
    """
    (listed,) = re.findall(r'^REQUIRES = \[(.*?)^\]', setup.read_text(encoding='utf-8'), re.M | re.S)
    waiting = [(name, 'crld-zoo') for name in re.findall(r"^\s*'([A-Za-z0-9._-]+)", listed, re.M)]
    waiting += [(name, 'the tests') for name in further]
    absent, seen = {}, set()
    while waiting:
        name, owner = waiting.pop(0)
        key = re.sub(r'[._-]+', '-', name).lower()
        if key in seen:
            continue
        seen.add(key)
        try:
            needed = requires(name) or []
        except PackageNotFoundError:
            if key not in _INSTEAD or importlib.util.find_spec(_INSTEAD[key]) is None:
                absent[key] = owner
            continue
        if key not in _COMPLETE:
            waiting += [(found[1], key) for line in needed if _applies(line) and (found := _NAME.match(line))]
    return absent


def _applies(requirement: str) -> bool:
    """Whether a requirement counts here; without ``packaging``, one with a condition does not."""
    condition = requirement.partition(';')[2].strip()
    if not condition:
        return True
    if 'extra' in condition or importlib.util.find_spec('packaging') is None:
        return False
    from packaging.markers import Marker

    return Marker(condition).evaluate()
