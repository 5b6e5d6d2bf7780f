"""List what the zoo has: distillers, decorators, view operations, models, data sets, configs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from crld_zoo.config_files import CONFIGS, config_name

from .catalog import KINDS, Grid, catalog, grids, outside_of_grids


def lines(title: str, entries: dict[str, str]) -> Table:
    """A table of names, each with its line."""
    table = Table(title=title or None, title_justify='left', show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True, style='bold')
    table.add_column()
    for name, line in entries.items():
        table.add_row(name, line)
    return table


def methods_by_pair(grid: Grid) -> dict[str, str]:
    """For each pair of networks the methods that it has a recipe for."""
    return {
        f'{teacher} -> {student}': ' '.join(method for method in grid.methods if method in found)
        for (teacher, student), found in grid.recipes.items()
    }


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``list``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('kinds', nargs='*', metavar='KIND', help=f'which of {", ".join(KINDS)} (default: all)')
    args = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 100)
    for kind in args.kinds or KINDS:
        if kind == 'configs':
            for grid in grids(CONFIGS):
                title = config_name(CONFIGS / f'*/METHOD_TEACHER_STUDENT_{grid.dataset}.py')
                console.print(title, lines('', methods_by_pair(grid)), '', sep='\n')
            console.print(lines('other configs', outside_of_grids(CONFIGS)), '')
        else:
            console.print(lines(kind, catalog(kind, CONFIGS)), '')
