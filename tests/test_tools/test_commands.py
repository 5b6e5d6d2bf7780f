"""The commands as a user runs them: train, kill, resume, test, list, quickstart, and what bad input gets."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from crld_zoo.distillers import DKD
from crld_zoo.launch.listing import main as list_
from crld_zoo.launch.train import main as train
from crld_zoo.networks.sources import build_network

from ..processes import Tool, run, sentence

TEACHER, STUDENT = 'configs/quickstart/ce_r20_digits.py', 'configs/quickstart/dkd+crld_r20_r8_digits.py'
SMALL = ['--cfg-options', 'model.student.model=crld_zoo::resnet8', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1']


@pytest.fixture(scope='module')
def teacher(root, tmp_path_factory) -> Path:
    """The checkpoint of a small teacher, trained by the command."""
    work_dir = tmp_path_factory.mktemp('teacher')
    run(root, 'tools/train.py', TEACHER, '--work-dir', work_dir, *SMALL)
    return work_dir / 'epoch_1.pth'


def options(teacher: Path, epochs: int = 2, *more: str) -> list[str]:
    return [
        '--cfg-options',
        'model.teacher.model=crld_zoo::resnet8',
        f'model.teacher.checkpoint={teacher}',
        f'train_cfg.max_epochs={epochs}',
        'train_cfg.val_interval=1',
        'train_dataloader.batch_size=10',
        'default_hooks.checkpoint.interval=1',
        *more,
    ]


@pytest.fixture(scope='module')
def student(root, teacher, tmp_path_factory) -> Path:
    """The work directory of a distilled student, trained by the command without interruption."""
    work_dir = tmp_path_factory.mktemp('student')
    run(root, 'tools/train.py', STUDENT, '--work-dir', work_dir, *options(teacher, 6))
    return work_dir


def test_training_leaves_a_checkpoint_that_is_the_plain_student(student):
    state = torch.load(student / 'epoch_6.pth', weights_only=True)['state_dict']
    plain = build_network('crld_zoo::resnet8', num_classes=10)
    plain.load_state_dict(state, strict=True)


def test_training_logs_every_term(student):
    log = next(student.glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    trained = next(row for row in rows if 'loss' in row)
    assert {'loss_ce', 'loss_wv', 'loss_cv', 'keep_weak', 'keep_strong'} <= trained.keys()
    total = trained['loss_ce'] + trained['loss_wv'] + trained['loss_cv']
    assert trained['loss'] == pytest.approx(total, rel=1e-5), 'the statistics are no losses'
    assert any('accuracy/top1' in row for row in rows)


def test_testing_needs_no_teacher(root, student, tmp_path):
    output = run(
        root,
        'tools/test.py',
        STUDENT,
        student / 'epoch_6.pth',
        '--work-dir',
        tmp_path,
        '--cfg-options',
        f'model.teacher.checkpoint={tmp_path / "gone.pth"}',
    )
    assert 'accuracy/top1' in output


def test_killed_and_resumed_equals_undisturbed(root, teacher, student, tmp_path):
    command = ['tools/train.py', STUDENT, '--work-dir', tmp_path]
    tool = Tool(root, *command, *options(teacher, 6))
    deadline = time.monotonic() + 120
    while not (tmp_path / 'epoch_2.pth').exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    tool.signal(signal.SIGKILL)
    assert tool.wait() == -signal.SIGKILL
    assert not (tmp_path / 'epoch_6.pth').exists()
    run(root, *command, '--resume', *options(teacher, 6))
    whole, resumed = (torch.load(folder / 'epoch_6.pth', weights_only=True) for folder in (student, tmp_path))
    for key, value in whole['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][key]), key
    for number, state in whole['optimizer']['state'].items():
        assert torch.equal(state['momentum_buffer'], resumed['optimizer']['state'][number]['momentum_buffer'])
    again = sentence(run(root, *command, *options(teacher, 6), code=2))
    assert '--resume' in again and '--work-dir' in again


def test_the_warmup_follows_the_epoch(root, teacher, student):
    """Epoch 1 of DKD's warm-up weighs 1/20 of the pair loss: its log shows the growth that the factor explains."""
    assert DKD().warmup == 20
    log = next(student.glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    by_epoch = {row['epoch']: row['loss_wv'] + row['loss_cv'] for row in rows if 'loss_wv' in row}
    assert by_epoch[6] > 2 * by_epoch[1]


def test_listing(root):
    output = run(root, 'tools/list.py')
    for word in ('DKD', 'CRLD', 'RandAugment', 'CIFARResNet', 'Digits', 'r20 -> r8', TEACHER):
        assert word in output
    assert max(map(len, output.splitlines())) <= 100


def test_listing_of_one_kind(capsys):
    list_(['decorators'])
    only = capsys.readouterr().out
    assert 'CRLD' in only
    assert 'RandAugment' not in only


def test_listing_shows_the_recipes_of_each_pair(capsys):
    list_(['configs'])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    start = lines.index('configs/*/METHOD_TEACHER_STUDENT_imagenet.py')
    grid = lines[start + 1 : lines.index('', start)]
    rows = dict(line.split('  ', 1) for line in grid if ' -> ' in line)
    assert {'kd', 'kd+crld', 'dkd+crld', 'mlld'} <= set(rows['r34 -> r18'].split())
    assert rows['swin-l -> swin-t'].split() == ['nkd']


@pytest.mark.whole
def test_quickstart(root, tmp_path):
    output = run(
        root,
        'tools/quickstart.py',
        '--work-dir',
        tmp_path,
        '--seeds',
        '0',
        '--cfg-options',
        'train_cfg.max_epochs=1',
        'default_hooks.checkpoint.interval=1',
        'default_hooks.teacher_accuracy=None',
    )
    for word in ('top-1', 'ECE', 'DKD+CRLD', 'How to read it', str(tmp_path / 'results.json')):
        assert word in output
    results = json.loads((tmp_path / 'results.json').read_text())
    assert [(result['row'], result['seed']) for result in results] == [
        (row, 0) for row in ('CE', 'KD', 'KD+CRLD', 'DKD+CRLD')
    ]
    assert all(Path(result['work_dir']).is_dir() for result in results)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['model.distiller.distiller.type=DKDD'], "unknown distiller 'DKDD' (nearest: DKD"),
        (['model.distiller.distiller.type=TfNKD'], 'CRLD cannot decorate TfNKD: it learns from no teacher'),
        (['model.distiller.tau_w=1.5'], 'tau_w must be a number from 0 to 1'),
        (['model.teacher.num_classes=20'], '20'),
        (['model.teacher.checkpoint=no/such/file.pth'], 'no/such/file.pth'),
        (['model.teacher.model=crld_zoo::resnet14'], 'resnet8'),
        (['distiller.tau_w=0.5'], 'say model.distiller.tau_w'),
        (['model.teacher=3', 'model.teacher.size=4'], 'do not fit the config'),
        (['optim_wrapper.optimizer.lr=1e30', 'train_cfg.max_epochs=4'], 'not finite at iteration'),
    ],
)
def test_bad_input_ends_in_a_sentence(refused, teacher, tmp_path, arguments, message):
    assert message in refused(train, STUDENT, '--work-dir', tmp_path, *options(teacher, 2, *arguments))
    assert not list(tmp_path.glob('*.tmp*'))


def test_damaged_teachers_are_refused(refused, teacher, tmp_path):
    cut = tmp_path / 'cut.pth'
    cut.write_bytes(teacher.read_bytes()[:-2000])
    content = torch.load(teacher, weights_only=True)
    partial = tmp_path / 'partial.pth'
    torch.save({key: value for key, value in content['state_dict'].items() if 'layer3' not in key}, partial)
    for file in (cut, partial):
        assert file.name in refused(train, STUDENT, '--work-dir', tmp_path / 'run', *options(file))


def test_what_is_missing_is_named_with_its_remedy(refused, tmp_path):
    assert 'kd_r20_r8_digits' in refused(train, 'configs/quickstart/kd_r20_r8_digit.py')
    recipe, option = 'configs/crld/dkd+crld_r34_r18_imagenet.py', 'train_dataloader.dataset.data_root=no/imagenet'
    assert 'no/imagenet' in refused(train, recipe, '--work-dir', tmp_path, '--cfg-options', option)
    recipe = 'configs/takd/kd_r20_r8_cifar100.py'
    option = 'model.teacher.checkpoint=no/kd_r110_r20_cifar100/epoch_240.pth'
    message = refused(train, recipe, '--work-dir', tmp_path, '--cfg-options', option)
    assert 'python tools/train.py configs/takd/kd_r110_r20_cifar100.py' in message


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_the_tools_end_with_the_sentence_alone(root, tmp_path, tool):
    arguments = [STUDENT, tmp_path / 'none.pth'] if tool == 'test' else ['configs/none.py']
    done = subprocess.run([sys.executable, f'tools/{tool}.py', *arguments], cwd=root, capture_output=True, text=True)
    assert done.returncode == 2 and 'none.p' in sentence(done.stdout + done.stderr)
