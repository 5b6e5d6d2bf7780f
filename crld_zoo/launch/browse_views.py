"""Show what the networks see: draw training images and their views into a PNG."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from crld_zoo.views.sheet import write_sheet

from .config import load_config
from .options import ConfigOptions


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``browse-views``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='a file under configs/, or one of your own')
    parser.add_argument('-n', '--count', type=int, default=8, help='how many images (default: 8)')
    parser.add_argument('--out', metavar='FILE.png', help='where the sheet goes (default: work_dirs/<name>/views.png)')
    parser.add_argument('--seed', type=int, default=0, help='another seed draws other views (default: 0)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE', help='override options of the config'
    )
    args = parser.parse_args(argv)
    cfg = load_config(args.config, cfg_options=args.cfg_options)
    print(write_sheet(cfg, args.out, args.count, args.seed))
