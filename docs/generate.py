"""Pages made from the package: one for each method, one for each room of the API. `make docs` writes them anew."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from types import ModuleType

from sphinx.pycode import ModuleAnalyzer

from crld_zoo.config_files import CONFIGS, read_config
from crld_zoo.distillers import Distiller
from crld_zoo.launch.catalog import catalog
from crld_zoo.registry import DISTILLERS, options_of

HELD = dict(distiller="dict(type='KD')", distillers="[dict(type='KD'), dict(type='FitNet')]")
FOLDERS = dict(logits='Logit methods', features='Feature methods', decorators='Decorators')


def write(docs: Path) -> None:
    """Write ``docs/methods`` and ``docs/api``; what was there is gone."""
    for folder, pages in (('methods', method_pages(docs.parent)), ('api', api_pages())):
        shutil.rmtree(docs / folder, ignore_errors=True)
        (docs / folder).mkdir()
        for name, text in pages.items():
            (docs / folder / f'{name}.md').write_text(text, encoding='utf-8')


def method_pages(root: Path) -> dict[str, str]:
    """A page for each registered distiller, and the index with the README's table."""
    DISTILLERS.import_from_location()
    methods = {name: kind for name, kind in DISTILLERS.module_dict.items() if kind.__module__.startswith('crld_zoo.')}
    readme = (root / 'README.md').read_text(encoding='utf-8')
    section = readme.split('\n## Methods\n')[1].split('\n## ')[0].strip()
    rows = {name: row for row in section.splitlines() for name in re.findall(r'^\| `(\w+)` \|', row)}
    recipes = _recipes()
    shown = set()
    pages = {name: _method_page(name, kind, rows[name], recipes[name], shown) for name, kind in methods.items()}
    linked = re.sub(r'^\| `(\w+)` \|', lambda row: f'| [`{row[1]}`]({row[1]}.md) |', section, flags=re.MULTILINE)
    by_folder = defaultdict(list)
    for name, kind in methods.items():
        by_folder[kind.__module__.split('.')[2]].append(name)
    trees = [_toctree(sorted(by_folder[folder]), caption) for folder, caption in FOLDERS.items()]
    pages['index'] = '\n\n'.join(['# Methods', linked, *trees]) + '\n'
    return pages


def _recipes() -> dict[str, list[tuple[str, str]]]:
    """The recipes that name each distiller, anywhere in it: file and first line."""
    found = defaultdict(list)
    for name, line in catalog('configs', CONFIGS).items():
        recipe = re.sub('^(configs/|crld_zoo::)', '', name)
        if not recipe.startswith('your_data/'):  # its classes are the folders of images, which are not there
            for method in _types(read_config(CONFIGS / recipe).model.distiller):
                found[method].append((recipe, line))
    return found


def _types(config) -> set[str]:
    if isinstance(config, dict):
        own = {config['type']} if isinstance(config.get('type'), str) else set()
        return own.union(*map(_types, config.values()))
    return set().union(*map(_types, config)) if isinstance(config, list | tuple) else set()


def _method_page(name: str, kind: type, row: str, recipes: list[tuple[str, str]], shown: set[str]) -> str:
    _, _, does, paper, _, cifar, imagenet, _ = [cell.strip() for cell in row.split('|')]
    facts = [f'Paper: {paper}.'] if paper != '-' else []
    if cifar != '-':
        facts.append(f'Published top-1 on CIFAR-100, ResNet56 -> ResNet20 and ResNet32x4 -> ResNet8x4: {cifar}.')
    if imagenet != '-':
        facts.append(f'Published top-1 on ImageNet, ResNet34 -> ResNet18: {imagenet}.')
    parts = [
        f'# {name}',
        f'{does[0].upper()}{does[1:]}.',
        ' '.join(facts),
        f'```python\nmodel = dict(distiller={_config(name)})\n```',
        _directive('autoclass', f'crld_zoo.distillers.{name}', 'show-inheritance'),
    ]
    module = importlib.import_module(kind.__module__)
    others = [
        value
        for each, value in vars(module).items()
        if (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
        and not (each.startswith('_') or _registered(value))
    ]
    if others:
        parts.append('## What it computes')
    for value in others:
        again = ['no-index'] if value.__qualname__ in shown else []  # two methods of one file share its functions
        shown.add(value.__qualname__)
        parts.append(
            _directive('autoclass', f'{module.__name__}.{value.__name__}', 'members', *again)
            if inspect.isclass(value)
            else _directive('autofunction', _public(module, value.__name__), *again)
        )
    folders = re.findall(r'`configs/(\w+)`', row)
    own = [f'- `{path}`: {line}' for path, line in recipes if path.split('/')[0] in folders]
    rest = [f'`{path}`' for path, _ in recipes if path.split('/')[0] not in folders]
    if recipes:
        parts += ['## Recipes', 'Under `configs/`, or with `crld_zoo::` in front of the name.', '\n'.join(own)]
    if rest:
        parts += ['Together with other methods: ' + ', '.join(rest) + '.']
    return '\n\n'.join(filter(None, parts)) + '\n'


def _config(name: str) -> str:
    """How a config names it, with the options that it needs."""
    needed = {
        option: dict(distiller="dict(type='KD')", distillers="[dict(type='KD'), dict(type='FitNet')]").get(
            option, '...'
        )
        for option, parameter in options_of(DISTILLERS.get(name)).items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    }
    return f'dict({", ".join([f"type={name!r}", *(f"{option}={value}" for option, value in needed.items())])})'


def _registered(kind: type) -> bool:
    return DISTILLERS.module_dict.get(kind.__name__) is kind


def _public(module: ModuleType, name: str) -> str:
    """Where an object is imported from: the package that exports it, else its module."""
    package = importlib.import_module('crld_zoo.distillers')
    return f'{package.__name__ if name in package.__all__ else module.__name__}.{name}'


def api_pages() -> dict[str, str]:
    """A page for each room, one for the package's own modules, and the index."""
    pages = {'package': _page('The package', _own_modules())}
    package = importlib.import_module('crld_zoo')
    rooms = [info.name for info in pkgutil.iter_modules(package.__path__) if info.ispkg]
    for room in rooms:
        pages[room] = _page(f'crld_zoo.{room}', _modules(importlib.import_module(f'crld_zoo.{room}')))
    pages['index'] = '\n\n'.join(['# API reference', 'A page for each room.', _toctree([*rooms, 'package'])]) + '\n'
    return pages


def _own_modules() -> list[ModuleType]:
    package = importlib.import_module('crld_zoo')
    names = [info.name for info in pkgutil.iter_modules(package.__path__) if not info.ispkg and info.name != 'plugins']
    return [importlib.import_module(f'crld_zoo.{name}') for name in names]


def _modules(package: ModuleType) -> list[ModuleType]:
    """A package and all modules below it, without the methods, which have pages of their own."""
    infos = pkgutil.walk_packages(package.__path__, f'{package.__name__}.')
    return [package, *(importlib.import_module(info.name) for info in infos)]


def _page(title: str, modules: list[ModuleType]) -> str:
    parts, shown = [f'# {title}'], set()
    for module in modules:
        entries = [
            entry
            for name, value in vars(module).items()
            if id(value) not in shown and (entry := _entry(module, name, value)) and not shown.add(id(value))
        ]
        entries += [_directive('autodata', f'{module.__name__}.{name}', 'no-value') for name in _constants(module)]
        if entries or module is modules[0]:
            heading = [] if module is modules[0] and module.__name__ == title else [f'## {module.__name__}']
            package, _, name = module.__name__.rpartition('.')
            # a function of the module's own name, where its package exports one, is the one to be linked
            hidden = [] if getattr(sys.modules[package], name) is module else ['no-index']
            parts += [*heading, _directive('automodule', module.__name__, *hidden), *entries]
    return '\n\n'.join(parts) + '\n'


def _entry(module: ModuleType, name: str, value) -> str | None:
    """The directive of a public function or class, where the module defines or exports it."""
    if name.startswith('_') or not (inspect.isfunction(value) or inspect.isclass(value)):
        return None
    owner = getattr(value, '__module__', '') or ''
    if owner != module.__name__ and not (name in getattr(module, '__all__', ()) and owner.startswith('crld_zoo.')):
        return None
    if _of_a_method(owner):
        return None
    kind = 'autoclass' if inspect.isclass(value) else 'autofunction'
    return _directive(kind, f'{module.__name__}.{name}', *(['members'] if kind == 'autoclass' else []))


def _constants(module: ModuleType) -> list[str]:
    """The public constants that a module describes."""
    described = ModuleAnalyzer.for_module(module.__name__).find_attr_docs()
    return [name for owner, name in described if not owner and not name.startswith('_')]


def _of_a_method(owner: str) -> bool:
    """Whether a module is that of a method."""
    module = importlib.import_module(owner)
    return owner.startswith('crld_zoo.distillers.') and any(
        inspect.isclass(value) and issubclass(value, Distiller) and _registered(value) and value.__module__ == owner
        for value in vars(module).values()
    )


def _directive(kind: str, argument: str, *options: str) -> str:
    lines = [f'.. {kind}:: {argument}', *(f'   :{option}:' for option in options)]
    return '\n'.join(['```{eval-rst}', *lines, '```'])


def _toctree(names: list[str], caption: str | None = None) -> str:
    options = [f':caption: {caption}'] if caption else []
    return '\n'.join(['```{toctree}', *options, ':maxdepth: 1', '', *names, '```'])
