"""The commands in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crld_zoo.launch import main_guard

from .command import sentence


@pytest.fixture
def refused(root, monkeypatch, capfd) -> Callable[..., str]:
    """``refused(main, *arguments)``: the error that a command ends with, run in this process.

    A process of its own imports for seconds; that a tool runs in one is shown by ``command.run``.
    """

    def end(main: Callable, *arguments: str | Path) -> str:
        monkeypatch.chdir(root)
        with pytest.raises(SystemExit) as ended:
            main_guard(main)(list(map(str, arguments)))
        assert ended.value.code == 2
        return sentence(capfd.readouterr().err)

    return end
