"""Where the time of a training step goes: python tools/benchmark.py configs/crld/kd+crld_r56_r20_cifar100.py

With --compare, how many images a second a recipe trains on against the usual way to write it: Pillow views in loader
workers, float32, one pass a view, a loss read every step. Figures and machines: docs/performance.md.
"""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from mmengine.config import DictAction
from rich.console import Console

from crld_zoo.engine.benchmark import Options, compare, describe_machine, grid, time_step
from crld_zoo.engine.benchmark.report import (
    check_writable,
    comparison_table,
    describe,
    step_lines,
    step_table,
    write_json,
)
from crld_zoo.engine.launch import main_guard


def positive(kind: type):
    """A type of argument: a number above 0."""
    def parse(text: str):
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f'{text} is not above 0')
        return value
    return parse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', type=Path, help='a recipe under configs/, or one of your own')
    parser.add_argument('--compare', action='store_true', help='time against the reference protocol instead')
    parser.add_argument('--batch-size', type=positive(int), help="images in a batch (default: the config's)")
    parser.add_argument('--repeats', type=positive(int), default=5, help='measurements of each (default: %(default)s)')
    parser.add_argument('--seconds', type=positive(float), default=3.,
                        help='how long one measurement of the loop lasts, about (default: %(default)s)')
    parser.add_argument('--threads', type=positive(int),
                        help="torch's threads (default: torch's; with --compare, the best of several on each side)")
    parser.add_argument('--processor-time', action='store_true',
                        help='with one thread: seconds of the processor, not of the wall; what other processes do on '
                             'the machine hardly disturbs then')
    parser.add_argument('--amp', action='store_true', help='bf16 autocast on our side; the losses stay in fp32')
    parser.add_argument('--synthetic', action='store_true', help="random images of the data set's size")
    parser.add_argument('--image-size', type=positive(int), metavar='PIXELS',
                        help="side of the synthetic images (default: found in the config's views)")
    parser.add_argument('--random-weights', action='store_true',
                        help="do not read the teacher's checkpoint; the timings do not depend on it")
    parser.add_argument('--json', type=Path, metavar='FILE', help='write every figure there')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE',
                        help='override options of the config')
    return parser.parse_args()


@main_guard
def main() -> None:
    args = parse_args()
    if args.json is not None:
        check_writable(args.json)
    if args.processor_time:
        args.threads = args.threads or 1
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    options = Options(config=args.config, batch_size=args.batch_size, amp=args.amp, synthetic=args.synthetic,
                      image_size=args.image_size, random_weights=args.random_weights,
                      processor_time=args.processor_time, overrides=dict(args.cfg_options))
    machine = describe_machine()
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(describe(machine, torch.get_num_threads()))
    title = f'{args.config.stem}, {"bf16" if args.amp else "fp32"}{", processor time" if args.processor_time else ""}'
    if args.compare:
        settings = grid(machine['cores'], args.processor_time)
        if args.threads is not None:
            settings = {side: [one for one in tried if one.threads == args.threads] or tried[:1]
                        for side, tried in settings.items()}
        result = compare(options, args.repeats, args.seconds, settings)
        console.print(comparison_table(title, result))
    else:
        result = time_step(options, args.repeats, args.seconds)
        console.print(step_table(f'{title}, batch {result.batch_size}', result), *step_lines(result), sep='\n')
    if args.json is not None:
        settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(options).items()}
        write_json(args.json, dict(machine=machine, threads=torch.get_num_threads(), options=settings,
                                   repeats=args.repeats, seconds=args.seconds,
                                   **{'compare' if args.compare else 'step': result.to_dict()}))


if __name__ == '__main__':
    main()
