"""What a distiller learns and remembers is saved beside the student, and a resumed run goes on with it exactly."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from . import tiny_run

DISTILLERS = dict(
    CRD=dict(type='CRD', nce_k=8, feat_dim=8),
    RRD=dict(type='RRD', nce_k=16, feat_dim=8),
    IKL=dict(type='IKL', class_table=True, warmup=3),
    CTKD=dict(type='CTKD', distiller=dict(type='KD')),
    USKD=dict(type='USKD', tap='stage2'),
    SSKDHead=dict(type='SSKDHead'),
    SSKD=dict(type='SSKD', head='random'),
    CRLD=dict(type='CRLD', distiller=dict(type='CRD', nce_k=8, feat_dim=8)),
)
VIEW = [dict(type='RandomCrop', size=16, padding=2), dict(type='RandomFlip')]
ROTATED = dict(of='weak', operations=[dict(type='Rotations')])


def with_distiller(cfg: Config, distiller: dict) -> Config:
    """Two epochs of five batches, of which the first epoch ends with a checkpoint."""
    cfg.model = dict(
        type='Distillation',
        student=dict(model='crld_zoo::resnet8', num_classes=3),
        teacher=dict(model='crld_zoo::resnet8', num_classes=3, checkpoint='random'),
        distiller=distiller,
        data_preprocessor=dict(
            type='ViewPreprocessor',
            mean=[128.0] * 3,
            std=[60.0] * 3,
            views=dict(weak=VIEW, strong=VIEW, rotated=ROTATED),
        ),
    )
    cfg.train_dataloader.dataset = dict(type='SyntheticImages', num_images=20, num_classes=3, size=16)
    cfg.train_dataloader.collate_fn = dict(type='as_batch')
    cfg.train_cfg.max_epochs = 2
    cfg.param_scheduler = None
    cfg.custom_hooks = [dict(type='DistillerHook')]  # as the launcher adds it
    for name in ('val_dataloader', 'val_evaluator', 'val_cfg'):
        cfg[name] = None
    return cfg


@pytest.mark.parametrize('name', DISTILLERS)
@pytest.mark.parametrize('kill_after', [5, 7], ids=['between epochs', 'within an epoch'])
def test_a_resumed_run_goes_on_with_its_state(tmp_path, monkeypatch, name, kill_after):
    base = tiny_run.config
    monkeypatch.setattr(
        tiny_run, 'config', lambda folder, **changes: with_distiller(base(folder, **changes), DISTILLERS[name])
    )
    options = {'default_hooks.checkpoint.snapshot_interval': 1}
    tiny_run.train(tmp_path / 'whole')
    tiny_run.train(tmp_path / 'stopped', kill_after, **options)
    tiny_run.resume(tmp_path / 'stopped')
    whole, resumed = (torch.load(tmp_path / run / 'epoch_2.pth') for run in ('whole', 'stopped'))
    assert whole['distiller']
    assert tiny_run.differences(whole, resumed) == []
