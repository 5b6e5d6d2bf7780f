"""What must fit together before the first step."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES
from PIL import Image
from torchvision.models import ResNet18_Weights

from crld_zoo.errors import InputError
from crld_zoo.launch import run_test, run_train
from crld_zoo.launch.checks import check_classes
from crld_zoo.networks import sources
from crld_zoo.networks.sources import build_network
from crld_zoo.networks.sources.spec import NamedClasses, NetworkSpec

CONFIG = """
default_scope = 'crld_zoo'
data_preprocessor = dict(type='ViewPreprocessor', mean=[127.0] * 3, std=[60.0] * 3)
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet8', num_classes={outputs}),
    distiller=dict(type='CrossEntropy'),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(type='ImageFolder', data_root='images/train', size=16),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='as_batch'),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(type='ImageFolder', data_root='images/val', size=16),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='as_batch'),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='Accuracy', topk=(1,))
val_cfg, test_cfg = dict(), dict()
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
log_level = 'WARNING'
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A config file beside ``images/{train,val}/{a,b,c}``, with two images a class."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for split in ('train', 'val'):
        for name in 'abc':
            (tmp_path / 'images' / split / name).mkdir(parents=True)
            for number in range(2):
                Image.fromarray(pixels).save(tmp_path / 'images' / split / name / f'{number}.png')
    path = tmp_path / 'tree.py'
    path.write_text(CONFIG.format(outputs=3))
    return path


def rename(tmp_path, *splits: str) -> None:
    for split in splits:
        (tmp_path / 'images' / split / 'a').rename(tmp_path / 'images' / split / 'z')


def rename_back(tmp_path) -> None:
    for split in ('train', 'val'):
        (tmp_path / 'images' / split / 'z').rename(tmp_path / 'images' / split / 'a')


def test_every_place_that_names_classes_is_compared():
    check_classes({'one': ['a', 'b'], 'two': None, 'three': ('a', 'b')})
    with pytest.raises(InputError, match=r"one and three name .* \(2 differ: 0: 'a' or 'b', 1: 'b' or 'a'\)"):
        check_classes({'one': ['a', 'b'], 'two': None, 'three': ['b', 'a']})
    with pytest.raises(InputError, match=r"\(1 differ: 1: 'b' or 'none'\)"):
        check_classes({'one': ['a', 'b'], 'two': ['a']})


@pytest.mark.parametrize('names', [['cat', 'dog', 'crane'], ['Cat', 'Dog', 'Crane'], ['x', 'dog', 'y'], ['crane'] * 3])
def test_a_library_may_name_the_same_classes_otherwise(names):
    check_classes({'data': ['cat', 'dog', 'crane']}, {'library': names})


@pytest.mark.parametrize('names', [['dog', 'cat', 'crane'], ['x', 'cat', 'y']])
def test_a_name_that_data_and_library_know_has_one_place(names):
    with pytest.raises(InputError, match="data and library name other classes .*: '(cat|dog)' or '(cat|dog)'"):
        check_classes({'data': ['cat', 'dog', 'crane']}, {'library': names})


def test_the_names_of_a_library_are_those_of_its_weights(monkeypatch):
    categories = ResNet18_Weights.DEFAULT.meta['categories']
    check_classes({'data': IMAGENET_CATEGORIES}, {'library': categories})
    spec = NetworkSpec('a library', dict(type='Any'), class_names=['b', 'a'], weights='w.pth')
    assert sources._named_classes(spec, 'own', None, False) == NamedClasses('a library', ['b', 'a'], by_library=True)
    assert sources._named_classes(spec, 'random', None, False) is None


def test_a_checkpoint_is_tested_on_its_own_classes(config, tmp_path):
    run_train(config, work_dir='run')
    run_test(config, 'run/epoch_1.pth')
    rename(tmp_path, 'train', 'val')
    with pytest.raises(InputError, match=r"run/epoch_1.pth name other classes \(3 differ: 0: 'b' or 'a'"):
        run_test(config, 'run/epoch_1.pth')
    run_test(config, 'run/epoch_1.pth', allow_other_classes=True)
    run_test(config, 'run/epoch_1.pth', cfg_options={'allow_other_classes': True})


WAYS = ['resume', 'start', 'student', 'teacher', 'teacher by init_cfg', 'second teacher', 'classes', 'validation']


@pytest.mark.parametrize('way', WAYS)
def test_training_needs_equal_classes_everywhere(config, tmp_path, way):
    run_train(config, work_dir='run')
    rename(tmp_path, *(['val'] if way == 'validation' else ['train', 'val']))
    member = dict(model='crld_zoo::resnet8', num_classes=3, checkpoint='run/epoch_1.pth')
    learned = {'model.distiller': dict(type='KD', _delete_=True), 'default_hooks.teacher_accuracy': None}
    options = {
        'resume': dict(work_dir='run', resume=True),
        'start': dict(cfg_options=dict(load_from='run/epoch_1.pth')),
        'student': dict(cfg_options={'model.student.checkpoint': 'run/epoch_1.pth'}),
        'teacher': dict(cfg_options={**learned, 'model.teacher': member}),
        'teacher by init_cfg': dict(
            cfg_options={
                **learned,
                'model.teacher': sources.resolve('crld_zoo::resnet8', num_classes=3).config
                | dict(init_cfg=dict(type='Pretrained', checkpoint='run/epoch_1.pth')),
            }
        ),
        'classes': dict(cfg_options={**learned, 'model.teacher': {**member, 'classes': [1, 0, 2]}}),
        'second teacher': dict(
            cfg_options={
                **learned,
                'model.teacher': dict(type='TeacherEnsemble', teachers=[{**member, 'checkpoint': 'random'}, member]),
            }
        ),
        'validation': {},
    }[way]
    with pytest.raises(InputError, match='name other classes'):
        run_train(config, **{'work_dir': 'other', **options})
    if way == 'classes':  # the data are b, c, z, the teacher's outputs a, b, c
        rename_back(tmp_path)
        options['cfg_options']['model.teacher']['classes'] = [0, 1, 2]
        run_train(config, work_dir='allowed', **options)
    if way == 'start':
        run_train(config, work_dir='allowed', allow_other_classes=True, **options)


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_labels_are_counted_where_nobody_names_the_classes(config, split):
    listed = dict(
        type='CustomDataset',
        data_root='images/train',
        ann_file='../../listed.txt',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
    )
    options = {
        f'{split}_dataloader.dataset': dict(_delete_=True, **listed),
        f'{split}_dataloader.collate_fn': dict(type='pseudo_collate'),
    }
    lines = [f'{name}/{number}.png {label + 1}' for label, name in enumerate('abc') for number in range(2)]
    (config.parent / 'listed.txt').write_text('\n'.join(lines))
    if split == 'test':
        run_train(config, work_dir='run')
    with pytest.raises(InputError, match=f'the data of {split}_dataloader has 4 classes, the student 3 outputs'):
        run_test(config, 'run/epoch_1.pth', cfg_options=options) if split == 'test' else run_train(
            config, work_dir='other', cfg_options=options
        )


def test_a_student_has_an_output_for_every_class(config):
    config.write_text(CONFIG.format(outputs=2))
    with pytest.raises(InputError, match='the data of train_dataloader has 3 classes, the student 2 outputs'):
        run_train(config)
    config.write_text(CONFIG.format(outputs=5))
    run_train(config, work_dir='more', cfg_options={'experiment_name': 'more'})
    (file,) = (config.parent / 'more').rglob('*.log')
    assert 'the student has 5 outputs for the 3 classes' in file.read_text()


@pytest.mark.parametrize(
    ('metric', 'says'),
    [
        (dict(type='mmpretrain.Accuracy', topk=(1, 5)), 'Accuracy of val_evaluator: topk=5 is more than the 3 classes'),
        (dict(type='ConfusionMatrix', num_classes=2), 'ConfusionMatrix of val_evaluator: num_classes=2, but'),
    ],
)
def test_metrics_of_others_can_count_the_classes(config, metric, says):
    with pytest.raises(InputError, match=says):
        run_train(config, cfg_options={'val_evaluator': dict(_delete_=True, **metric)})


def test_an_average_resumes_with_the_versions_of_its_modules(config):
    config.write_text(CONFIG.format(outputs=3).replace('crld_zoo::resnet8', 'torchvision::mnasnet0_5'))
    options = {'custom_hooks': [dict(type='EMAHook', momentum=0.1)], 'optim_wrapper.optimizer.lr': 0.0}
    run_train(config, cfg_options=options)
    run_train(config, resume=True, cfg_options={**options, 'train_cfg.max_epochs': 2})
    content = torch.load('work_dirs/tree/epoch_2.pth', weights_only=True)
    assert content['ema_state_dict']['steps'] == 4


@pytest.mark.parametrize('layout', ['plain', 'checkpoint', 'model'])
def test_training_starts_from_weights_of_any_layout(config, layout):
    torch.manual_seed(1)
    network = build_network('crld_zoo::resnet8', num_classes=3)
    state = network.state_dict()
    torch.save(dict(plain=state, checkpoint=dict(state_dict=state), model=dict(model=state))[layout], 'w.pth')
    options = {'load_from': 'w.pth', 'optim_wrapper.optimizer.lr': 0.0, 'log_level': 'INFO', 'experiment_name': layout}
    run_train(config, cfg_options=options)
    trained = torch.load('work_dirs/tree/epoch_1.pth', weights_only=True)['state_dict']
    assert all(
        torch.equal(trained[key], value) for key, value in state.items() if 'running' not in key and 'num_b' not in key
    )
    (file,) = config.parent.glob('work_dirs/tree/*/*.log')
    assert 'tensors of w.pth' in file.read_text()


def test_weights_that_do_not_fit_start_nothing(config):
    torch.save(build_network('crld_zoo::resnet20', num_classes=3).state_dict(), 'w.pth')
    with pytest.raises(InputError, match='w.pth'):
        run_train(config, cfg_options={'load_from': 'w.pth'})


class OneVector(torch.nn.Module):
    """A classifier with a batch norm over vectors."""

    num_classes = 3

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.fc = torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 3)

    def forward(self, images, mode='tensor'):
        return self.fc(self.norm(images.mean((2, 3))))


@pytest.mark.parametrize('batch, drop_last', [(5, False), (1, False), (5, True), (4, False)])
def test_a_last_batch_of_one_image_is_refused_where_a_batch_norm_cannot_take_it(config, monkeypatch, batch, drop_last):
    from crld_zoo.models import Distillation

    @functools.wraps(Distillation.__init__)  # its options stay those that a config may name
    def init(self, student, *, build=Distillation.__init__, **rest):
        build(self, OneVector(), **rest)

    monkeypatch.setattr(Distillation, '__init__', init)
    options = {'train_dataloader.batch_size': batch, 'train_dataloader.drop_last': drop_last}
    if drop_last or batch == 4:
        run_train(config, cfg_options=options)
        return
    with pytest.raises(InputError, match='the last batch of an epoch is one image .*drop_last=True'):
        run_train(config, cfg_options=options)


@pytest.mark.parametrize('method', ['RKD', 'OFD'])
def test_a_last_batch_of_one_image_is_refused_where_the_distiller_cannot_take_it(config, method):
    """One that compares samples, and one with a batch norm of its own."""
    held = dict(type='Sum', distillers=[dict(type='KD'), dict(type=method)])
    teacher = dict(model='crld_zoo::resnet8', num_classes=3, checkpoint='random', fold=False)
    options = {'model.distiller': held, 'model.teacher': teacher, 'model.data_preprocessor.image_size': 16}
    with pytest.raises(InputError, match='last batch of an epoch is one image .*, and Sum needs two or more'):
        run_train(config, cfg_options={**options, 'train_dataloader.batch_size': 5})


def test_a_last_batch_of_one_image_is_no_matter_for_maps(config):
    run_train(config, cfg_options={'train_dataloader.batch_size': 5})
