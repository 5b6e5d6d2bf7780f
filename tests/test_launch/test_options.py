"""Options of a config that nothing reads, or that cannot be, are said at once."""

from __future__ import annotations

import argparse
import re

import pytest
import torch

from crld_zoo.errors import InputError
from crld_zoo.launch import load_config, main_guard, prepare, run_train
from crld_zoo.launch.options import ConfigOptions
from crld_zoo.registry import HOOKS, OPTIM_WRAPPERS, OPTIMIZERS

RECIPE = 'crld_zoo::quickstart/dkd+crld_r20_r8_digits.py'


def parse(*options: str) -> dict:
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    return parser.parse_args(['--cfg-options', *options]).cfg_options


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ("{'type': 'KD', 'temperature': 2.0}", dict(type='KD', temperature=2.0)),
        ('1e-3', 1e-3),
        ('3', 3),
        ('true', True),
        ('None', None),
        ('[1,2]', [1, 2]),
        ('[(a,1),b]', [('a', 1), 'b']),
        ('my images/train', 'my images/train'),
        ("it's mine", "it's mine"),
        ('C:\\new\\images', 'C:\\new\\images'),
        ("'a, b'", 'a, b'),
        ('a=b', 'a=b'),
        ('', ''),
    ],
)
def test_values_as_they_are_meant(text, value):
    assert parse(f'key={text}') == {'key': value}


@pytest.mark.parametrize(('text', 'words'), [('key', "no '='"), ('key={', 'no Python value'), ('a=[1,2', 'Imbalanced')])
def test_what_is_no_option(text, words):
    with pytest.raises(InputError, match=words):
        parse(text)


@pytest.mark.parametrize(
    ('option', 'words'),
    [
        (
            'train_cfg.maxepochs=3',
            r"EpochBasedTrainLoop has no option 'maxepochs' \(nearest: max_epochs",
        ),
        ('trian_cfg.max_epochs=3', r'there is no trian_cfg \(nearest: train_cfg'),
        ('train_cfg.type=EpochBasedTrainLop', r'nearest: EpochBasedTrainLoop'),
        ('train_cfg.max_epochs=1.5', 'train_cfg.max_epochs must be a whole number of at least 1, not 1.5'),
        ('train_cfg.max_epochs=0', 'at least 1, not 0'),
        ('train_cfg.val_interval=0', 'at least 1, not 0'),
        ('train_dataloader.batch_size=0', 'train_dataloader.batch_size must be a whole number'),
        ('val_dataloader.batch_size=-1', 'at least 1, not -1'),
        ('train_dataloader.batchsize=2', 'nearest: batch_size'),
        ('train_dataloader.dataset.splt=train', 'nearest: split'),
        ('train_dataloader.dataset.type=Digit', 'nearest: Digits'),
        ('train_dataloader.sampler.shufle=True', 'nearest: shuffle'),
        ('optim_wrapper.optimizer.momentm=0.9', 'nearest: momentum'),
        ('optim_wrapper.acumulative_counts=2', 'nearest: accumulative_counts'),
        ('default_hooks.logger.intervall=2', 'nearest: interval'),
        ('default_hooks.throughput.type=ThroughputHok', 'nearest: ThroughputHook'),
        ('val_evaluator.0.topkk=1', 'nearest: topk'),
        ('model.student_forwrd=concat', 'nearest: student_forward'),
        ('model.teacher.expected_top=70', 'nearest: expected_top1'),
        ('model.student.num_clases=3', r'model.student.num_clases: .* \(nearest: num_classes'),
        ('model.data_preprocessor.sed=3', 'nearest: seed'),
        ('randomness.sed=3', r'randomness.sed: it has no option .* \(nearest: seed'),
        ('env_cfg.cudnn_benchmarc=True', 'nearest: cudnn_benchmark'),
        ('optim_wrapper.paramwise_cfg.custom_kes=1', 'nearest: custom_keys'),
        ('optim_wrapper.clip_grad.max_nrm=1', 'nearest: max_norm'),
        ('train_dataloader.collate_fn.type=as_bach', 'nearest: as_batch'),
        ('default_hooks.chekpoint.interval=2', r'default_hooks.chekpoint has no type: .* \(nearest: checkpoint'),
        ('custom_imports.imports=no_such_module', 'custom_imports: Failed to import no_such_module'),
        ('launcher=slurm', 'say --launcher'),
        ('log_level=NOISY', "log_level must be the name of a level, .* not 'NOISY'"),
    ],
)
def test_misspelled_and_impossible_options(tmp_path, option, words):
    with pytest.raises(InputError, match=words):
        prepare(load_config(RECIPE, tmp_path, parse(option)))


@pytest.mark.parametrize(
    ('option', 'kind'),
    [
        ('train_cfg.val_begin=1.5', 'a whole number'),
        ('train_dataloader.num_workers=1.5', 'a whole number'),
        ('val_dataloader.drop_last=perhaps', 'True or False'),
        ('optim_wrapper.accumulative_counts=1.5', 'a whole number'),
        ('optim_wrapper.optimizer.lr=abc', 'a number'),
        ('optim_wrapper.clip_grad=5', 'a dict or None'),
        ("param_scheduler={'type': 'MultiStepLR', 'milestones': 5, '_delete_': True}", 'a list'),
        ('default_hooks.checkpoint.interval=1.5', 'a whole number'),  # which MMEngine's hook declares, ours passes on
        ('default_hooks.checkpoint.max_keep_ckpts=abc', 'a whole number'),
        ('randomness.deterministic=maybe', 'True or False'),
        ('model.distiller=KD', 'a dict'),
        ('model.teacher.size=big', 'a whole number or None'),
        ('val_evaluator.0.prefix=3', 'a text or None'),
    ],
)
def test_values_of_another_kind(tmp_path, option, kind):
    place = option.partition('=')[0].replace('.0', '')
    with pytest.raises(InputError, match=rf'{place}[a-z.]* must be {kind}, not'):
        prepare(load_config(RECIPE, tmp_path, parse(option)))


@pytest.mark.parametrize(
    'option', ['optim_wrapper.optimizer.lr=1', 'default_hooks.logger.log_metric_by_epoch=1', 'model.teacher=resnet8']
)
def test_values_that_may_be(tmp_path, option):
    prepare(load_config(RECIPE, tmp_path, parse(option)))


def test_the_hooks_of_mmengine_need_no_type(tmp_path):
    cfg = load_config(RECIPE, tmp_path)
    cfg.default_hooks = dict(logger=dict(interval=3), checkpoint=dict(interval=2))
    prepare(cfg)
    assert cfg.default_hooks.logger == dict(type='LoggerHook', interval=3)
    assert cfg.default_hooks.checkpoint == dict(type='CheckpointHook', interval=2)


@pytest.mark.parametrize(
    ('registry', 'part', 'says'),
    [
        (OPTIMIZERS, dict(type='SGD', params=[torch.zeros(1)], lr=-1), 'SGD cannot be built .*: Invalid learning rate'),
        (HOOKS, dict(type='LoggerHook', interval=0), 'LoggerHook cannot be built .*: interval must be greater than 0'),
        (
            OPTIM_WRAPPERS,
            dict(type='OptimWrapper', optimizer=None, accumulative_counts=0),
            'OptimWrapper cannot be built',
        ),
    ],
)
def test_a_part_that_refuses_its_options_is_named(capsys, registry, part, says):
    @main_guard
    def command() -> None:
        registry.build(part)

    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 2
    assert re.search(says, capsys.readouterr().err)


def test_a_path_is_no_truth_value(tmp_path):
    with pytest.raises(InputError, match='say --resume other/epoch_3.pth'):
        run_train(RECIPE, tmp_path, cfg_options=parse('resume=other/epoch_3.pth'))


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_half_precision_needs_a_gpu(tmp_path):
    with pytest.raises(InputError, match='float16, which needs a GPU'):
        prepare(load_config(RECIPE, tmp_path, parse('optim_wrapper.type=AmpOptimWrapper')))


@pytest.mark.parametrize('name', ['throughput', 'divergence', 'checkpoint'])
def test_any_default_hook_can_be_left_out(tmp_path, name):
    cfg = load_config(RECIPE, tmp_path, parse(f'default_hooks.{name}=None'))
    prepare(cfg)
    assert cfg.default_hooks.get(name) is None
    assert (name in cfg.default_hooks) == (name == 'checkpoint')  # MMEngine's own has to be told


def test_a_dict_replaces_a_part(tmp_path):
    cfg = load_config(RECIPE, tmp_path, parse("model.distiller={'_delete_': True, 'type': 'KD'}"))
    assert cfg.model.distiller == dict(type='KD')


def test_a_package_that_is_not_installed_is_a_sentence(capsys):
    @main_guard
    def command() -> None:
        raise ImportError('Please run "pip install future tensorboard" to install the dependencies.')

    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 2
    assert 'pip install future tensorboard' in capsys.readouterr().err
