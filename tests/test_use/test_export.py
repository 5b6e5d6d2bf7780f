"""Exports answer as the student does, or leave nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from crld_zoo.errors import InputError
from crld_zoo.launch import export as export_module
from crld_zoo.launch.export import TARGETS, export, main
from crld_zoo.launch.student import load_student

TIMM = "dict(model=dict(type='TimmClassifier', model_name='test_resnet', num_classes=3))"
MMPRETRAIN = {
    'mmpretrain_resnet': """dict(type='ImageClassifier',
        backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=64))""",
    'vit': """dict(type='ImageClassifier', backbone=dict(type='VisionTransformer', img_size=16, patch_size=8,
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)),
        head=dict(type='VisionTransformerClsHead', num_classes=3, in_channels=16))""",
}


@pytest.fixture(scope='module')
def timm_run(train):
    pytest.importorskip('timm')
    return train(TIMM)


@pytest.fixture(scope='module', params=MMPRETRAIN)
def other_run(request, train):
    return train(MMPRETRAIN[request.param])


def onnx_outputs(path, images) -> np.ndarray:
    session = pytest.importorskip('onnxruntime').InferenceSession(path, providers=['CPUExecutionProvider'])
    return session.run(None, {'images': images})[0]


@pytest.mark.parametrize('preprocessing', [False, True])
@pytest.mark.parametrize('to', [name for name, target in TARGETS.items() if target.deploys])
def test_an_export_answers_as_the_student(run, tmp_path, to, preprocessing):
    if to == 'onnx':
        pytest.importorskip('onnxruntime')
    student = load_student(run)
    student.temperature = 1.7
    checked = export(student, to, tmp_path / 'out', preprocessing=preprocessing)
    assert checked.images == 36
    assert checked.difference <= 1e-4
    assert checked.agreement == 100
    images, _ = next(student.held_out())
    expected = student.logits(images)
    expected = student.probabilities(expected) if preprocessing else expected
    inputs = images if preprocessing else student.normalize(images).contiguous()
    run_export = TARGETS[to].open(tmp_path / 'out', student)
    for count in (1, 7):
        assert torch.allclose(run_export(inputs[:count]), expected[:count], atol=1e-4)
    assert [path.name for path in tmp_path.iterdir() if path.name != 'work'] == ['out']


def test_other_networks_become_onnx(other_run, tmp_path):
    pytest.importorskip('onnxruntime')
    assert export(load_student(other_run), 'onnx', tmp_path / 'student.onnx').agreement == 100


def test_an_opset_that_torch_does_not_reach_is_said(run, tmp_path, monkeypatch):
    """It writes another one then, and only warns."""
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')

    def write(program, inputs, path, **_):
        graph = onnx.helper.make_graph([], 'empty', [], [])
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 18)]), path)

    monkeypatch.setattr(torch.onnx, 'export', write)
    with pytest.raises(InputError, match='cannot be written in opset 7, only in 18: --opset 18'):
        export(load_student(run), 'onnx', tmp_path / 'student.onnx', opset=7)
    assert not (tmp_path / 'student.onnx').exists()


def test_onnx_says_what_its_user_must_know(run, tmp_path):
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    student = load_student(run)
    export(student, 'onnx', tmp_path / 'student.onnx', opset=20)
    model = onnx.load(tmp_path / 'student.onnx')
    assert model.opset_import[0].version == 20
    told = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert told['classes'] == student.classes
    assert told['mean'] == pytest.approx([120, 110, 100], abs=1e-3)
    assert told['std'] == pytest.approx([60, 61, 62], abs=1e-3)
    assert told['size'] == [16, 16]


def test_a_quantized_model_comes_with_its_accuracy(run, capsys):
    pytest.importorskip('onnxruntime')
    main([str(run), '--to', 'onnx', '--int8'])
    assert 'int8' in capsys.readouterr().out
    assert (run / 'export' / 'student.int8.onnx').stat().st_size < (run / 'export' / 'student.onnx').stat().st_size
    images, _ = next(load_student(run).held_out())
    inputs = load_student(run).normalize(images).contiguous().numpy()
    assert onnx_outputs(run / 'export' / 'student.int8.onnx', inputs).shape == (8, 3)


def test_safetensors_are_a_student_again(run):
    main([str(run), '--to', 'safetensors'])
    student = load_student(run / 'tiny.py', run / 'export' / 'student.safetensors')
    assert student.classes == load_student(run).classes


@pytest.mark.parametrize('to', ['timm', 'hf'])
def test_students_of_timm_are_opened_by_timm(timm_run, to, tmp_path):
    import timm

    student = load_student(timm_run)
    export(student, to, tmp_path / 'folder')
    network = timm.create_model(f'local-dir:{tmp_path / "folder"}', pretrained=True).eval()
    data = timm.data.resolve_model_data_config(network)
    assert tuple(data['input_size']) == (3, 16, 16)
    assert data['mean'] == pytest.approx([120 / 255, 110 / 255, 100 / 255], abs=1e-4)
    assert json.loads((tmp_path / 'folder' / 'config.json').read_text())['label_names'] == student.classes
    images, _ = next(student.held_out())
    with torch.no_grad():
        assert torch.allclose(network(student.normalize(images)), student.logits(images), atol=1e-5)
    if to == 'hf':
        card = (tmp_path / 'folder' / 'README.md').read_text()
        for word in ('blue, green, red', 'CrossEntropy', 'top-1', 'Limits', "create_model('local-dir:", 'ImageFolder'):
            assert word in card


@pytest.mark.parametrize('to', ['timm', 'hf'])
def test_other_students_are_refused_by_libraries(run, to, tmp_path):
    with pytest.raises(InputError, match='a network of mmpretrain'):
        export(load_student(run), to, tmp_path / 'folder')
    assert not (tmp_path / 'folder').exists()


def test_nothing_is_replaced_unasked(run, tmp_path):
    student = load_student(run)
    (tmp_path / 'there.safetensors').write_text('mine')
    with pytest.raises(InputError, match='--force'):
        export(student, 'safetensors', tmp_path / 'there.safetensors')
    assert (tmp_path / 'there.safetensors').read_text() == 'mine'
    export(student, 'safetensors', tmp_path / 'there.safetensors', force=True)
    assert (tmp_path / 'there.safetensors').stat().st_size > 100


@pytest.mark.parametrize('wrong', [0.01, float('nan')])
def test_an_export_that_answers_otherwise_is_not_kept(run, tmp_path, monkeypatch, wrong):
    target = TARGETS['torchscript']

    def open_wrongly(path, student):
        right = target.open(path, student)
        return lambda images: right(images) + wrong

    monkeypatch.setitem(TARGETS, 'torchscript', target._replace(open=open_wrongly))
    with pytest.raises(InputError, match='differs from the student'):
        export(load_student(run), 'torchscript', tmp_path / 'out' / 'student.pt')
    assert not list((tmp_path / 'out').iterdir())


class NoOnnx(nn.Module):
    """A network with an operator that ONNX has not."""

    def forward(self, inputs, mode='tensor'):
        square = inputs.mean(1)[:, :3, :3] + torch.eye(3)
        return torch.linalg.eigvalsh(square @ square.mT)


def test_an_operator_that_onnx_lacks_is_named(run, tmp_path):
    pytest.importorskip('onnxruntime')
    student = load_student(run)
    student.network = NoOnnx()
    with pytest.raises(InputError, match=r'onnx \(opset 18\) has no operator for aten\.\w*eigh'):
        export(student, 'onnx', tmp_path / 'out' / 'student.onnx')
    assert not list((tmp_path / 'out').iterdir())


def test_what_does_not_go_together_is_said(run, tmp_path, monkeypatch):
    student = load_student(run)
    for options, message in (
        (dict(to='safetensors', preprocessing=True), 'no preprocessing'),
        (dict(to='torchscript', int8=True), 'int8 is for ONNX'),
        (dict(to='caffe'), 'no export to'),
        (dict(to='safetensors'), 'must end so'),
    ):
        with pytest.raises(InputError, match=message):
            export(student, path=tmp_path / 'out', **options)
    with pytest.raises(InputError, match=r'crld-zoo\[export\]'):
        export_module.required('no_such_package', 'export')
