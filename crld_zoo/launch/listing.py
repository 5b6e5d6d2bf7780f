"""List what the zoo has: distillers, decorators, view operations, models, data sets, configs; methods as a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from crld_zoo.config_files import CONFIGS, config_name

from .catalog import KINDS, Grid, catalog, grids, outside_of_grids
from .methods import RESULTS, Method, methods

WIDTHS = {'methods': 180}
"""Columns of a list where the terminal does not say; 100 otherwise."""


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


def table_of_methods(rows: Sequence[Method]) -> Table:
    """A row for each method. Published and own numbers are top-1 accuracies in percent."""
    table = Table(box=None, pad_edge=False, title='methods', title_justify='left')
    headers = ('method', 'kind', 'views', 'taps', 'state', 'paper', 'CIFAR-100', 'ImageNet', 'ours: last, best')
    for header in headers:
        table.add_column(header, no_wrap=header in ('method', 'kind', 'paper'))
    for row in rows:
        table.add_row(*row)
    return table


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``list``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'kinds', nargs='*', metavar='KIND', help=f'which of {", ".join(KINDS)} (default: all), or methods'
    )
    args = parser.parse_args(argv)
    for kind in args.kinds or KINDS:
        console = Console(width=None if sys.stdout.isatty() else WIDTHS.get(kind, 100))
        if kind == 'methods':  # builds each one, which takes seconds
            console.print(table_of_methods(methods(CONFIGS, RESULTS)), '')
            console.print(
                'CIFAR-100: published for ResNet56 -> ResNet20, ResNet32x4 -> ResNet8x4; ImageNet: ResNet34 -> '
                'ResNet18; a decorator around KD. Ours: means over seeds, the file of docs/results in brackets.\n'
            )
        elif kind == 'configs':
            for grid in grids(CONFIGS):
                title = config_name(CONFIGS / f'*/METHOD_TEACHER_STUDENT_{grid.dataset}.py')
                console.print(title, lines('', methods_by_pair(grid)), '', sep='\n')
            console.print(lines('other configs', outside_of_grids(CONFIGS)), '')
        else:
            console.print(lines(kind, catalog(kind, CONFIGS)), '')
