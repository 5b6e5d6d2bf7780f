"""A training of seconds that draws random numbers wherever a real one may: in the loader and in the model."""

from __future__ import annotations

import contextlib
import random
import re
import uuid

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

from crld_zoo.engine import find_resume_checkpoint
from crld_zoo.registry import DATASETS, METRICS, MODELS


@DATASETS.register_module()
class NoisyPoints(Dataset):
    """Two classes of points, each under noise of Python, NumPy and PyTorch."""

    def __init__(self, count: int = 22) -> None:
        self.points = torch.randn(count, 4, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> dict:
        noise = 0.1 * (random.random() + np.random.rand() + torch.rand(()).item())
        return dict(inputs=self.points[index] + noise, data_samples=torch.tensor(index % 2), index=index, noise=noise)


@MODELS.register_module()
class NoisyNet(BaseModel):
    """A network with batch statistics and dropout, whose loss draws from every generator."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
        self.poison: dict[int, float] = {}  # what is added to loss_kd, by call
        self.calls = 0

    def forward(self, inputs: torch.Tensor, data_samples: torch.Tensor, mode: str = 'tensor', **_):
        if mode == 'tensor':
            return self.net(inputs)
        if mode == 'predict':
            return [dict(hit=(self.net(inputs).argmax(1) == data_samples).float())]
        noise = 1 + 0.1 * (random.random() + np.random.rand() + torch.rand(()).item())
        logits = self.net(inputs)
        self.calls += 1
        poison = self.poison.get(self.calls, 0.0)
        return dict(
            loss_ce=noise * nn.functional.cross_entropy(logits, data_samples),
            loss_kd=logits.square().mean() + poison,
            keep=torch.tensor(0.5),
        )


@MODELS.register_module()
class WiderNet(NoisyNet):
    """Another architecture."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.5), nn.Linear(9, 2))


@METRICS.register_module()
class Hits(BaseMetric):
    """The share of right predictions; draws random numbers, as a metric may."""

    def process(self, data_batch, data_samples) -> None:
        random.random(), np.random.rand(), torch.rand(3)
        self.results.extend(data_samples[0]['hit'].tolist())

    def compute_metrics(self, results: list) -> dict:
        return dict(top1=100 * float(np.mean(results)))


def config(work_dir, **changes) -> Config:
    """The run's config; ``changes`` replace values by dotted key."""
    loader = dict(
        batch_size=4,
        num_workers=0,
        dataset=dict(type='NoisyPoints'),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )
    cfg = Config(
        dict(
            default_scope='crld_zoo',
            work_dir=str(work_dir),
            model=dict(type='NoisyNet'),
            train_dataloader=loader,
            val_dataloader={**loader, 'sampler': dict(type='DefaultSampler', shuffle=False)},
            val_evaluator=dict(type='Hits'),
            val_cfg=dict(),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=4),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=9),
                dict(type='MultiStepLR', milestones=[2, 3]),
            ],
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', interval=1),
                divergence=dict(type='DivergenceHook'),
                preemption=dict(type='PreemptionHook'),
            ),
            custom_hooks=[dict(type='EMAHook', momentum=0.1)],
            randomness=dict(seed=7),
            log_level='WARNING',
        )
    )
    cfg.merge_from_dict(changes)
    return cfg


class KillAt(Hook):
    """Ends the process's training like a kill after an iteration, counted from 1: nothing of the loop runs on."""

    priority = 'LOWEST'

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.iteration:
            raise Killed


class Killed(BaseException):
    """Not an Exception, so that nothing handles it."""


def build(work_dir, **changes) -> Runner:
    """A runner with a message hub of its own: MMEngine shares the hub of runners of the same second."""
    return Runner.from_cfg(config(work_dir, experiment_name=uuid.uuid4().hex, **changes))


def train(work_dir, kill_after: int | None = None, hooks: tuple[Hook, ...] = (), **changes) -> Runner:
    """Train, or train until killed after an iteration."""
    runner = build(work_dir, **changes)
    for hook in hooks:
        runner.register_hook(hook)
    if kill_after is None:
        runner.train()
    else:
        runner.register_hook(KillAt(kill_after))
        with contextlib.suppress(Killed):
            runner.train()
    if runner.train_dataloader._iterator is not None:  # persistent workers: else the next runner waits for them
        runner.train_dataloader._iterator._shutdown_workers()
    return runner


def resume(work_dir, **options) -> Runner:
    """Go on from the newest intact checkpoint."""
    return train(work_dir, resume=True, load_from=find_resume_checkpoint(work_dir), **options)


_OF_ONE_PROCESS = re.compile(r'time|cfg|experiment_name|saved_at|runtime_info\.(run|last_ckpt|best_ckpt|eta)$')


def differences(first, second, at: str = '') -> list[str]:
    """Where two checkpoints differ in any bit, but for what names the process and tells the time."""
    if _OF_ONE_PROCESS.search(at):
        return []
    if isinstance(first, HistoryBuffer):
        first, second = first.data, second.data
    if isinstance(first, dict) and first.keys() == second.keys():
        return [found for key in first for found in differences(first[key], second[key], f'{at}.{key}')]
    if isinstance(first, list | tuple) and len(first) == len(second):
        return [
            found
            for place, pair in enumerate(zip(first, second, strict=True))
            for found in differences(*pair, f'{at}.{place}')
        ]
    if isinstance(first, torch.Tensor):
        return [] if first.dtype == second.dtype and torch.equal(first, second) else [at]
    if isinstance(first, np.ndarray):
        return [] if np.array_equal(first, second) else [at]
    return [] if first == second else [at]
