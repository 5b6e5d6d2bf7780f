"""Names of mmengine, mmpretrain and the zoo resolve without a prefix, quietly; unknown ones get the nearest."""

from __future__ import annotations

import json
import subprocess
import sys

import mmengine.registry
import pytest
from mmengine.registry import Registry

from crld_zoo import registry
from crld_zoo.distillers import KD
from crld_zoo.errors import InputError, UnknownNameError
from crld_zoo.registry import DISTILLERS

ROOTS = {name: root for name, root in vars(mmengine.registry).items() if isinstance(root, Registry)}


@pytest.mark.parametrize('name', ROOTS)
def test_every_registry_of_mmengine_has_a_child_of_the_zoo(name):
    assert ROOTS[name]._search_child('crld_zoo') is not None


@pytest.mark.parametrize('name', ['KD', 'crld_zoo.KD'])
def test_builds_by_name(name):
    assert isinstance(DISTILLERS.build(dict(type=name)), KD)


def test_builds_by_class():
    assert isinstance(DISTILLERS.build(dict(type=KD, temperature=2)), KD)


@pytest.mark.parametrize(
    ('config', 'sentence'),
    [
        (dict(type='DKDD'), "unknown distiller 'DKDD' (nearest: DKD, "),
        (dict(type='crld'), "unknown distiller 'crld' (nearest: CRLD"),
        (
            dict(type='LogitStandardisation', distiller=dict(type='KD')),
            "unknown distiller 'LogitStandardisation' (nearest: LogitStandardization",
        ),
        (dict(type='CRLD', distiller=dict(type='NormDK')), "unknown distiller 'NormDK' (nearest: NormKD"),
        (
            dict(type='CRLD', distiller=dict(type='LogitStandardization', distiller=dict(type='MLD'))),
            "unknown distiller 'MLD' (nearest: MLLD",
        ),
        (dict(type='Xyzxyzxyz'), "unknown distiller 'Xyzxyzxyz' (nearest: "),
    ],
)
def test_unknown_name_is_answered_with_the_nearest(config, sentence):
    with pytest.raises(UnknownNameError) as caught:
        DISTILLERS.build(config)
    assert str(caught.value).startswith(sentence)
    assert 'custom_imports' in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('config', 'sentence'),
    [
        (dict(type='DKD', temprature=2), "distiller 'DKD' has no option 'temprature' (nearest: temperature)."),
        (
            dict(type='CRLD', distiller=dict(type='KD'), tau_weak=0.5),
            "distiller 'CRLD' has no option 'tau_weak' (nearest: tau_w, ",
        ),
        (
            dict(type='CRLD', distiller=dict(type='DKD', warm_up=1)),
            "distiller 'DKD' has no option 'warm_up' (nearest: war",
        ),
        (dict(type='CrossEntropy', temperature=4), "distiller 'CrossEntropy' has no option 'temperature'"),
    ],
)
def test_unknown_option_is_answered_with_the_nearest(config, sentence):
    with pytest.raises(UnknownNameError) as caught:
        DISTILLERS.build(config)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ('config', 'sentence'),
    [
        (dict(type='CRLD'), "distiller 'CRLD' needs the option 'distiller'"),
        (dict(temperature=4.0), "a distiller's config needs a type"),
    ],
)
def test_what_is_missing_is_named(config, sentence):
    with pytest.raises(InputError, match=sentence):
        DISTILLERS.build(config)


def test_a_class_that_takes_any_option_gets_it():
    @DISTILLERS.register_module()
    class TakesAny:
        def __init__(self, **options) -> None:
            self.options = options

    try:
        assert DISTILLERS.build(dict(type='TakesAny', anything=1)).options == dict(anything=1)
    finally:
        del DISTILLERS.module_dict['TakesAny']


NAMES = dict(
    MODELS=['BaseDataPreprocessor', 'ExponentialMovingAverage', 'ResNet', 'ImageClassifier', 'Distillation'],
    MODEL_WRAPPERS=['MMDistributedDataParallel'],
    WEIGHT_INITIALIZERS=['Kaiming', 'Pretrained'],
    BATCH_AUGMENTS=['Mixup'],
    DATASETS=['ConcatDataset', 'CIFAR100', 'Digits'],
    DATA_SAMPLERS=['DefaultSampler', 'RepeatAugSampler'],
    TRANSFORMS=['PackInputs', 'LoadImageFromFile', 'MultiView'],
    RUNNERS=['Runner'],
    LOOPS=['IterBasedTrainLoop', 'ValLoop', 'EpochBasedTrainLoop'],
    HOOKS=['IterTimerHook', 'EMAHook', 'CheckpointHook'],
    LOG_PROCESSORS=['LogProcessor'],
    OPTIMIZERS=['SGD', 'AdamW', 'Lamb'],
    OPTIM_WRAPPERS=['OptimWrapper', 'AmpOptimWrapper'],
    OPTIM_WRAPPER_CONSTRUCTORS=['DefaultOptimWrapperConstructor', 'LearningRateDecayOptimWrapperConstructor'],
    PARAM_SCHEDULERS=['MultiStepLR', 'LinearLR'],
    METRICS=['DumpResults', 'MultiLabelMetric', 'CalibrationError'],
    EVALUATORS=['Evaluator'],
    VISUALIZERS=['Visualizer', 'UniversalVisualizer'],
    VISBACKENDS=['LocalVisBackend', 'TensorboardVisBackend'],
    FUNCTIONS=['pseudo_collate', 'default_collate'],
    DISTILLERS=['KD', 'CRLD'],
)
"""Of each kind, names of mmengine, of mmpretrain and of the zoo, where there are any."""


def test_names_cover_every_registry_that_a_config_can_fill():
    own = {name for name, value in vars(registry).items() if isinstance(value, Registry)}
    assert own - NAMES.keys() == {'RUNNER_CONSTRUCTORS', 'STRATEGIES', 'TASK_UTILS', 'INFERENCERS', 'VIEWS'}


FRESH_RUN = """
import json, sys
import torch
import crld_zoo
from mmengine.model import BaseModel
from mmengine.runner import Runner
from crld_zoo import registry

names, work_dir = json.loads(sys.argv[1]), sys.argv[2]


@registry.MODELS.register_module()
class Tiny(BaseModel):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.layer = torch.nn.Linear(2, 3)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        logits = self.layer(inputs)
        if mode == 'loss':
            return dict(loss_ce=torch.nn.functional.cross_entropy(logits, data_samples))
        return [dict(pred_score=row, gt_label=label) for row, label in zip(logits.softmax(1), data_samples)]


loader = dict(batch_size=2, dataset=[dict(inputs=torch.ones(2), data_samples=1)] * 4,
              sampler=dict(type='DefaultSampler', shuffle=True), collate_fn=dict(type='default_collate'))
runner = Runner(
    model=dict(type='Tiny', data_preprocessor=dict(type='BaseDataPreprocessor')), work_dir=work_dir,
    default_scope='crld_zoo', train_dataloader=loader, val_dataloader=loader, test_dataloader=loader,
    train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=1), val_cfg=dict(), test_cfg=dict(),
    val_evaluator=dict(type='Accuracy', topk=(1,)), test_evaluator=dict(type='Accuracy', topk=(1,)),
    optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
    param_scheduler=[dict(type='LinearLR', start_factor=0.1, end=2, by_epoch=False), dict(type='MultiStepLR',
                                                                                          milestones=[1])],
    default_hooks=dict(timer=dict(type='IterTimerHook'), logger=dict(type='LoggerHook', interval=1),
                       param_scheduler=dict(type='ParamSchedulerHook'),
                       checkpoint=dict(type='CheckpointHook', interval=1),
                       sampler_seed=dict(type='DistSamplerSeedHook')),
    custom_hooks=[dict(type='EMAHook')], log_processor=dict(type='LogProcessor'),
    visualizer=dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')]))
runner.train()
runner.test()
missing = [f'{kind}: {name}' for kind in names for name in names[kind] if getattr(registry, kind).get(name) is None]
print(json.dumps(missing))
"""


def test_a_run_in_the_zoo_s_scope_finds_every_name_and_logs_no_warning_of_scopes(tmp_path):
    """In a process of its own, where nothing was imported before."""
    done = subprocess.run(
        [sys.executable, '-c', FRESH_RUN, json.dumps(NAMES), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
    said = (done.stdout + done.stderr).splitlines()
    assert any('Epoch(test)' in line for line in said)
    complaints = [
        line
        for line in said
        if ('WARNING' in line or 'Warning' in line)
        and any(word in line for word in ('Failed to', 'scope', 'registry', 'registered', 'not installed'))
    ]
    assert complaints == []
