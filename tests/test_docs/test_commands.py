"""Every command of the README and of docs/ is one that there is, with options that it takes, on a config that loads.

What they do is tested where the commands are: ``tests/test_tools``, ``tests/test_use``, ``tests/test_benchmark``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re

import pytest

from crld_zoo.config_files import find_config, read_config
from crld_zoo.launch import load_config
from crld_zoo.launch.cli import COMMANDS
from crld_zoo.registry import DISTILLERS

from ..test_distillers.test_four_files import GUIDES
from .pages import PAGES, ROOT, commands

ALL = [(page, words) for page in PAGES for words in commands(page)]
PLACEHOLDERS = ('PARTITION', 'JOB', 'FILE')


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch) -> None:
    """Folders of classes, which the configs of `configs/your_data` list."""
    for name in ('cat', 'dog'):
        (tmp_path / 'train' / name).mkdir(parents=True)
    monkeypatch.setenv('IMAGES', str(tmp_path))


class Parsed(Exception):
    """The arguments have been taken."""


def parse(module: str, arguments: list[str], monkeypatch) -> argparse.Namespace:
    """The arguments as the command itself takes them, which then does nothing."""
    taken = []
    parse_known = argparse.ArgumentParser.parse_args

    def stop(self, *args, **kwargs):
        taken.append(parse_known(self, *args, **kwargs))
        raise Parsed

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', stop)
        with pytest.raises(Parsed):
            importlib.import_module(module).main(arguments)
    return taken[0]


def check(module: str, arguments: list[str], monkeypatch) -> None:
    taken = parse(module, arguments, monkeypatch)
    configs = getattr(taken, 'configs', [getattr(taken, 'config', None)])
    for config in filter(None, configs):
        path = find_config(config if str(config).startswith('crld_zoo::') else ROOT / config)
        if getattr(taken, 'against', None) is not None:  # a compare file, whose options are those of its recipes
            path = find_config(read_config(path).rows[taken.against])
        cfg = load_config(path, None, taken.cfg_options)
        DISTILLERS.build(cfg.model.distiller)


@pytest.mark.parametrize(('page', 'words'), ALL, ids=[f'{page}: {" ".join(words)}'[:90] for page, words in ALL])
def test_a_command_is_one_that_there_is(page, words, monkeypatch):
    program, *arguments = words
    if program == 'make':
        assert re.search(rf'^{arguments[0]}:', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    elif words[:4] == ['python', '-m', 'pytest', '-k']:  # test_four_files runs them
        assert words[4] in GUIDES
        assert words[5:] and all((ROOT / path).exists() for path in words[5:])
    elif program == 'python':
        tool = (ROOT / arguments[0]).read_text(encoding='utf-8')
        check(re.search(r'^from (crld_zoo\.[\w.]+) import main$', tool, re.MULTILINE)[1], arguments[1:], monkeypatch)
    elif program == 'crld-zoo':
        check(COMMANDS[arguments[0]], arguments[1:], monkeypatch)
    elif program == 'torchrun':
        command = arguments[arguments.index('crld_zoo.launch.cli') + 1 :]
        check(COMMANDS[command[0]], command[1:], monkeypatch)
    elif program.endswith('.sh'):
        assert os.access(ROOT / program, os.X_OK)
        find_config(next(ROOT / word for word in arguments if word.endswith('.py')))
    else:
        assert words[:2] in (['pip', 'install'], ['pip', 'uninstall']), f'{page} has a command that nothing checks'


def test_commands_are_found():
    assert len(ALL) > 40
    assert {'make', 'python', 'crld-zoo'} <= {words[0] for _, words in ALL}


def test_every_command_of_the_package_is_on_the_page_of_commands():
    page = (ROOT / 'docs' / 'command_line.md').read_text(encoding='utf-8')
    assert set(re.findall(r'`crld-zoo ([a-z-]+)`', page)) == set(COMMANDS)
    for tool in (ROOT / 'tools').glob('*.py'):
        assert f'`tools/{tool.name}' in page
