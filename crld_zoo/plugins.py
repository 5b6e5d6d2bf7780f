"""Plugins of other packages, found by their entry points.

A package that says, in its ``pyproject.toml``,

.. code-block:: toml

    [project.entry-points."crld_zoo.plugins"]
    mine = "my_package.distillers"

has that module imported before any registry of the zoo is searched, so what it registers is usable by name from any
config. Without an entry point, ``custom_imports = dict(imports=['my_package.distillers'])`` does the same for one
config.
"""

from __future__ import annotations

import logging
from importlib.metadata import entry_points

from mmengine.logging import print_log

GROUP = 'crld_zoo.plugins'


def _load() -> None:
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:  # a broken plugin must not stop those who do not use it
            print_log(
                f'plugin {entry.name} ({entry.value}) was not loaded, so what it registers is missing: '
                f'{type(error).__name__}: {error}',
                logger='current',
                level=logging.WARNING,
            )


_load()
