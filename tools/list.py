"""List what the zoo has: distillers, decorators, view operations, models, data sets, configs."""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from crld_zoo.catalog import KINDS, catalog
from crld_zoo.engine.launch import main_guard


@main_guard
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('kinds', nargs='*', metavar='KIND', help=f'which of {", ".join(KINDS)} (default: all)')
    args = parser.parse_args()
    console = Console()
    for kind in args.kinds or KINDS:
        table = Table(title=kind, title_justify='left', show_header=False, box=None, pad_edge=False)
        table.add_column(no_wrap=True, style='bold')
        table.add_column()
        for name, line in catalog(kind, Path(__file__).parents[1] / 'configs').items():
            table.add_row(name, line)
        console.print(table, '')


if __name__ == '__main__':
    main()
