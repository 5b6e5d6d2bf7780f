"""The commands in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crld_zoo.launch import main_guard

from ..processes import sentence


@pytest.fixture
def refused(root, monkeypatch, capfd) -> Callable[..., str]:
    """``refused(main, *arguments)``: the error that a command ends with, run in this process.

    That a tool runs in a process of its own is shown elsewhere.
    """

    def end(main: Callable, *arguments: str | Path) -> str:
        monkeypatch.chdir(root)
        with pytest.raises(SystemExit) as ended:
            main_guard(main)(list(map(str, arguments)))
        assert ended.value.code == 2
        return sentence(capfd.readouterr().err)

    return end
