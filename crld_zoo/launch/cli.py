"""The command ``crld-zoo``: every command of the zoo under one name."""

from __future__ import annotations

import importlib
import sys

from crld_zoo.errors import UnknownNameError, nearest_names

from .guard import main_guard

COMMANDS = {  # in the order of a first week; loaded when asked for, the benchmark is a room that nothing needs
    'quickstart': 'crld_zoo.launch.quickstart',
    'list': 'crld_zoo.launch.listing',
    'train': 'crld_zoo.launch.train',
    'test': 'crld_zoo.launch.test',
    'compare': 'crld_zoo.launch.compare',
    'predict': 'crld_zoo.launch.predict',
    'export': 'crld_zoo.launch.export',
    'profile': 'crld_zoo.launch.profile',
    'report': 'crld_zoo.launch.report',
    'browse-views': 'crld_zoo.launch.browse_views',
    'benchmark': 'crld_zoo.benchmark.command',
}
USAGE = f'usage: crld-zoo {{{",".join(COMMANDS)}}} … (--help after a command says what it takes)'


@main_guard
def main() -> None:
    """Run the command that the arguments name."""
    name, *arguments = sys.argv[1:] or ['--help']
    if name in ('-h', '--help'):
        print(USAGE)
        return
    if name not in COMMANDS:
        print(USAGE, file=sys.stderr)
        raise UnknownNameError(f"there is no command '{name}' ({nearest_names(name, COMMANDS)}).")
    sys.argv = [f'crld-zoo {name}', *arguments]
    importlib.import_module(COMMANDS[name]).main()


if __name__ == '__main__':
    main()
