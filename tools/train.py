"""Train a student from a config: python tools/train.py configs/crld/dkd+crld_r34_r18_imagenet.py"""

import argparse

from mmengine.config import DictAction

from crld_zoo.launch import main_guard, run_train


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='a file under configs/, or one of your own')
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/<name of the config>)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from the newest intact checkpoint of the work directory, or from this one',
    )
    parser.add_argument('--amp', action='store_true', help='bf16 autocast; the losses stay in fp32')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch of all processes over auto_scale_lr.base_batch_size',
    )
    parser.add_argument('--seed', type=int, help="seed of everything random (default: the config's)")
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override options of the config: model.distiller.temperature=2 train_cfg.max_epochs=10',
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='who started the processes'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


@main_guard
def main() -> None:
    args = parse_args()
    run_train(
        args.config,
        work_dir=args.work_dir,
        resume=args.resume,
        amp=args.amp,
        launcher=args.launcher,
        cfg_options=args.cfg_options,
        seed=args.seed,
        auto_scale_lr=args.auto_scale_lr,
    )


if __name__ == '__main__':
    main()
