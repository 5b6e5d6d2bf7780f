"""What the README and the pages under docs/ hold: their blocks of code and the commands in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ('api', 'methods')
"""Folders of docs/ that the build fills."""

PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / 'README.md', *(ROOT / 'docs').rglob('*.md')]
    if path.relative_to(ROOT).parts[1:2] not in [(folder,) for folder in GENERATED]
)


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        kind: What follows the opening fence: ``'python'``, ``'bash'``, …
        text: What is inside.
        file: The file that it is, where the line above names one: ````some/file.py`:``.
    """

    kind: str
    text: str
    file: str


def blocks(page: str, kind: str | None = None) -> list[Block]:
    """The fenced blocks of a page, of one kind or all."""
    text = (ROOT / page).read_text(encoding='utf-8')
    found = re.findall(r'(?:^`([\w./+-]+)`:\n\n)?^```([\w{}-]+)\n(.*?)^```', text, re.MULTILINE | re.DOTALL)
    return [Block(each, inside, file) for file, each, inside in found if kind in (None, each)]


def commands(page: str) -> list[list[str]]:
    """The commands of a page's shell blocks, in words, without what their shell does with them."""
    lines = [
        line
        for block in blocks(page)
        if block.kind in ('bash', 'console')
        for line in block.text.replace('\\\n', ' ').splitlines()
    ]
    found = []
    for line in lines:
        words = shlex.split(line.partition('; do')[0].removeprefix('until '), comments=True)
        while words and re.match(r'[A-Z_]+=', words[0]):
            words = words[1:]
        if words:
            found.append(words)
    return found
