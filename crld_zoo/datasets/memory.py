"""How much memory this process may still take."""

from __future__ import annotations

from pathlib import Path

_LIMITS = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')  # control groups 2 and 1


def available_memory(root: str | Path = '/') -> int | None:
    """Bytes that can be taken without swapping, at most a container's limit; None where the system does not tell.

    Args:
        root: Below it the system's files are looked up.
    """
    root, found = Path(root), []
    meminfo = root / 'proc/meminfo'
    if meminfo.is_file():
        fields = dict(line.split(':', 1) for line in meminfo.read_text().splitlines() if ':' in line)
        found = [int(fields[name].split()[0]) * 1024 for name in ('MemAvailable',) if name in fields]
    for limit in _LIMITS:
        path = root / limit.lstrip('/')
        if path.is_file() and (text := path.read_text().strip()).isdecimal():
            found.append(int(text))
    return min(found, default=None)
