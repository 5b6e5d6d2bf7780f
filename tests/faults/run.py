"""The long version of the fault tests, with their figures: python tests/faults/run.py [--kills 50] [--json FILE]

Every fault is inflicted on runs of the real command. It ends with a table, the same as JSON, and exit code 0 if every
run survived, none differs from the undisturbed one, no newest checkpoint was damaged and no fault cost more than one
checkpoint interval.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import scenarios


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=50, help='how often kill -9; other faults in proportion')
    parser.add_argument('--json', type=Path, help='write the figures here as well')
    arguments = parser.parse_args()
    some, few = max(arguments.kills // 5, 1), max(arguments.kills // 16, 1)
    with tempfile.TemporaryDirectory(prefix='crld_zoo_faults_') as folder:
        folder = Path(folder)
        images = scenarios.write_images(folder / 'images')
        one = scenarios.undisturbed_run(folder / 'one')
        files = scenarios.undisturbed_run(folder / 'files', **scenarios.from_files(images))
        two = scenarios.two_processes(folder / 'two')
        steps: list[Callable[[], scenarios.Figures]] = [
            lambda: scenarios.kills(folder, one, arguments.kills),
            lambda: scenarios.preemptions(folder, one, some),
            lambda: scenarios.damaged_files(folder, one, max(some // 3, 1) * 3),
            lambda: scenarios.full_disks(folder, one, few),
            lambda: scenarios.killed_workers(folder, images, files, few),
            lambda: scenarios.vanished_files(folder, images, files, few),
            lambda: scenarios.killed_ranks(folder, two, few),
            lambda: scenarios.preempted_ranks(folder, two, few),
        ]
        start, figures = time.monotonic(), []
        for number, step in enumerate(steps, start=1):
            figures.append(step())
            print(f'{number} of {len(steps)} after {time.monotonic() - start:4.0f} s: {_row(figures[-1])}', flush=True)
    report = json.dumps([asdict(figure) for figure in figures], indent=2)
    print(report)
    if arguments.json:
        arguments.json.write_text(report)
    print(_HEADER)
    for figure in figures:
        print(_row(figure))
    return 0 if all(map(scenarios.Figures.as_promised, figures)) else 1


_HEADER = (
    f'{"fault":50}{"tried":>7}{"survived":>10}{"unequal":>9}{"unreadable":>12}{"lost":>6}\n'
    f'{"":50}{"":>7}{"":>10}{"resumes":>9}{"newest":>12}{"its":>6}'
)


def _row(figure: scenarios.Figures) -> str:
    return (
        f'{figure.fault:50}{figure.tried:7}{figure.survived:10}{figure.unequal:9}{figure.unreadable:12}{figure.lost:6}'
    )


if __name__ == '__main__':
    sys.exit(main())
