"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT. The teacher and its weights are not needed."""

import argparse

from mmengine.config import DictAction

from crld_zoo.launch import main_guard, run_test


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='the config that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='a file that tools/train.py wrote, or any checkpoint of the plain student')
    parser.add_argument('--work-dir', help='where the log goes (default: work_dirs/<name of the config>/test)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override options of the config'
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='who started the processes'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


@main_guard
def main() -> None:
    args = parse_args()
    run_test(args.config, args.checkpoint, work_dir=args.work_dir, launcher=args.launcher, cfg_options=args.cfg_options)


if __name__ == '__main__':
    main()
