"""A training of seconds, CRLD from networks of random weights, for what a whole run must show."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from crld_zoo.launch.config import prepare

CLASSES, SIZE = 5, 8
VIEW = [dict(type='RandomCrop', size=SIZE, padding=1), dict(type='RandomFlip')]
PREPROCESSOR = dict(
    type='ViewPreprocessor',
    mean=[120.0, 110.0, 100.0],
    std=[60.0, 61.0, 62.0],
    views=dict(weak=VIEW, strong=[*VIEW, dict(type='RandAugment'), dict(type='Cutout')]),
)
SCHEDULED = dict(type='CRLD', distiller=dict(type='DKD', warmup=3), tau_w=0.3)


def config(work_dir, **changes) -> Config:
    loader = dict(
        batch_size=4,
        num_workers=0,
        dataset=dict(type='SyntheticImages', num_images=22, num_classes=CLASSES, size=SIZE, device='auto'),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='as_batch'),
    )
    network = dict(model='crld_zoo::resnet8', num_classes=CLASSES)
    cfg = Config(
        dict(
            work_dir=str(work_dir),
            experiment_name=uuid.uuid4().hex,
            model=dict(
                type='Distillation',
                student=network,
                teacher=dict(**network, checkpoint='random'),
                distiller=SCHEDULED,
                data_preprocessor=PREPROCESSOR,
            ),
            train_dataloader=loader,
            train_cfg=dict(max_epochs=2),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=5e-4, fused=True)),
            param_scheduler=dict(type='MultiStepLR', milestones=[1]),
            default_hooks=dict(teacher_accuracy=None, checkpoint=dict(type='CheckpointHook', interval=1)),
            randomness=dict(seed=3),
            log_level='WARNING',
        )
    )
    cfg.merge_from_dict(changes)
    prepare(cfg)
    return cfg


class LossesOfEachStep(Hook):
    def __init__(self) -> None:
        self.losses: list[dict] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.losses.append({name: float(value.detach()) for name, value in outputs.items()})


def train(
    work_dir, hooks: tuple[Hook, ...] = (), change: Callable | None = None, read_losses: bool = True, **changes
) -> tuple[list[dict], dict]:
    """Losses of each step, and the student at the end.

    Args:
        work_dir: Of the run.
        hooks: Further ones.
        change: What is done to the runner before it trains.
        read_losses: Whether each step's losses are read, for which a GPU is waited for.
        **changes: Values of the config by dotted key.
    """
    runner = Runner.from_cfg(config(work_dir, **changes))
    hook = LossesOfEachStep()
    for each in (*[hook][: int(read_losses)], *hooks):
        runner.register_hook(each)
    if change is not None:
        change(runner)
    runner.train()
    return hook.losses, {name: value.cpu() for name, value in runner.model.state_dict().items()}
