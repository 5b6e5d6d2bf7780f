"""What a network costs is counted and measured."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crld_zoo.errors import InputError
from crld_zoo.launch import profile as profile_module
from crld_zoo.launch.profile import count_flops, draw, main, profile, teachers_of, time_batches
from crld_zoo.launch.student import load_student


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(profile_module, 'BATCHES', (1, 4))


def test_flops_are_those_of_the_formula():
    conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    assert count_flops(conv, torch.zeros(2, 3, 16, 16)) == 2 * 3 * 8 * 9 * 16 * 16


def test_the_best_batch_is_found():
    import time

    latency, throughput, batch = time_batches(lambda images: time.sleep(0.002), torch.zeros(1, 3), 0.01)
    assert batch == 4
    assert latency == pytest.approx(0.002, rel=0.5)
    assert throughput == pytest.approx(4 / 0.002, rel=0.5)


def test_student_and_teacher_are_measured_in_both_runtimes(run, images, capsys, tmp_path):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('matplotlib')
    (run / 'tiny.py').write_text(
        (run / 'tiny.py').read_text()
        + "\nmodel['teacher'] = dict(model='crld_zoo::resnet20', num_classes=3, checkpoint='no/such/file.pth')\n"
    )
    main([str(run), '--seconds', '0.02', '--plot', str(tmp_path / 'plot.png')])
    out = capsys.readouterr().out
    rows = [line.split('│')[1:-1] for line in out.splitlines() if line.startswith('│')]
    assert [(row[0].strip(), row[1].strip()) for row in rows] == [
        ('work student', 'torch'),
        ('work student', 'onnxruntime'),
        ('work teacher', 'torch'),
    ]
    parameters = [int(row[2].replace(',', '')) for row in rows]
    student = load_student(run)
    assert parameters[0] == sum(parameter.numel() for parameter in student.network.parameters())
    assert parameters[2] > parameters[0]
    logits, labels = student.outputs(split='test')
    assert float(rows[0][8]) == pytest.approx(100 * (logits.argmax(1) == labels).float().mean().item(), abs=0.01)
    assert (tmp_path / 'plot.png').read_bytes().startswith(b'\x89PNG')


def test_an_ensemble_has_several_teachers(run):
    student = load_student(run)
    one = dict(model='crld_zoo::resnet8', num_classes=3, checkpoint='gone.pth')
    student.config.model.teacher = dict(type='TeacherEnsemble', teachers=[one, one])
    assert len(teachers_of(student)) == 2
    student.config.model.teacher = dict(one, cache='kept')
    assert len(teachers_of(student)) == 1
    student.config.model.teacher = dict(type='EMATeacher')
    assert teachers_of(student) == [], 'which costs what its student costs'
    student.config.model.teacher = None
    assert teachers_of(student) == []


def test_without_accuracy_there_is_nothing_to_draw(run, tmp_path, monkeypatch):
    monkeypatch.setattr(profile_module, '_is_installed', lambda *packages: False)
    costs = profile(load_student(run), 'tiny', seconds=0.01, accuracy=False)
    assert [cost.runtime for cost in costs] == ['torch']
    pytest.importorskip('matplotlib')
    with pytest.raises(InputError, match='no accuracy'):
        draw(costs, tmp_path / 'plot.png')
