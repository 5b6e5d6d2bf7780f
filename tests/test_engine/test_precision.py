"""Faster arithmetic trains as well as the exact one: bf16 and compiled networks against float32, on real images."""

from __future__ import annotations

import json
import statistics

import pytest

from crld_zoo.launch import run_train

pytestmark = [pytest.mark.data, pytest.mark.slow]

SEEDS = (0, 1, 2)
WAYS = dict(
    fp32=dict(),
    bf16=dict(amp=True),
    bf16_teacher=dict(cfg_options={'model.teacher.dtype': 'bfloat16'}),
    compiled=dict(cfg_options={'model.compile': True, 'model.teacher.compile': True}),
)


def train(root, cifar, teacher, work_dir, seed, amp=False, cfg_options=None) -> float:
    """The top-1 accuracy in percent on all 10,000 test images after two epochs on 10,000 images: KD+CRLD, ResNet20 to
    ResNet8."""
    run_train(
        root / 'configs/crld/kd+crld_r56_r20_cifar100.py',
        work_dir,
        amp=amp,
        seed=seed,
        cfg_options={
            'model.student.model': 'crld_zoo::resnet8',
            'model.teacher.model': 'crld_zoo::resnet20',
            'model.teacher.checkpoint': str(teacher),
            'train_cfg.max_epochs': 2,
            'train_cfg.val_interval': 2,
            'train_dataloader.dataset.fraction': 0.2,
            'default_hooks.teacher_accuracy': None,
            **{f'{split}_dataloader.dataset.data_file': str(cifar) for split in ('train', 'val')},
            **(cfg_options or {}),
        },
    )
    records = [json.loads(line) for path in work_dir.rglob('scalars.json') for line in path.read_text().splitlines()]
    return records[-1]['accuracy/top1']


def test_the_accuracies_differ_by_no_more_than_noise(root, shared, cifar, tmp_path):
    """The means over three seeds differ by at most three standard errors of their difference."""
    teacher = shared / 'data' / 'checkpoints' / 'cifar100_resnet20.pth'
    found = {
        way: [train(root, cifar, teacher, tmp_path / f'{way}_{seed}', seed, **options) for seed in SEEDS]
        for way, options in WAYS.items()
    }
    print(found)
    exact = found.pop('fp32')
    assert statistics.mean(exact) > 5, 'five times chance: they have learned'
    for way, accuracies in found.items():
        assert accuracies != exact, f'{way} was really another arithmetic'
        error = ((statistics.variance(accuracies) + statistics.variance(exact)) / len(SEEDS)) ** 0.5
        assert abs(statistics.mean(accuracies) - statistics.mean(exact)) <= 3 * error, found
    logs = [path.read_text() for path in (tmp_path / 'compiled_0').rglob('*.log')]
    assert logs and not any('runs uncompiled' in log for log in logs)
