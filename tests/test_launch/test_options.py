"""Options of a config that nothing reads, or that cannot be, are said at once."""

from __future__ import annotations

import argparse

import pytest
import torch

from crld_zoo.errors import InputError
from crld_zoo.launch import load_config, main_guard, prepare
from crld_zoo.launch.options import ConfigOptions

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
    ],
)
def test_misspelled_and_impossible_options(tmp_path, option, words):
    with pytest.raises(InputError, match=words):
        prepare(load_config(RECIPE, tmp_path, parse(option)))


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
