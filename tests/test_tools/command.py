"""Run the tools as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run(root: Path, *arguments: str | Path, code: int = 0, seconds: float = 240) -> str:
    """Run a tool in the repository; its output. Fails if it exits with another code."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    output = done.stdout + done.stderr
    assert done.returncode == code, output[-3000:]
    return output


def sentence(output: str) -> str:
    """The error that a tool ends with, which is one line and no traceback."""
    assert 'Traceback' not in output
    (line,) = [line for line in output.splitlines() if line.startswith('error: ')]
    return line
