"""Checkpoint files: every layout loads whole, everything else is an error that helps."""

from __future__ import annotations

import argparse
import pathlib
import pickle
import re
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from safetensors.torch import save_file

from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.networks.sources import build_network
from crld_zoo.networks.weights import identify, load_weights, locate, read_weights
from crld_zoo.registry import MODELS

CLASSES = 10


def network(name='resnet8', classes=CLASSES):
    return build_network(f'crld_zoo::{name}', num_classes=classes)


def distinct_weights(module):
    """A state dict in which no two tensors are alike, so that a swap would show."""
    return {
        key: torch.full_like(value, index + 1) if value.dtype == torch.long else torch.randn_like(value)
        for index, (key, value) in enumerate(module.state_dict().items())
    }


def plain(weights):
    """In the names of torchvision, timm and the CIFAR archives."""
    return {key.removeprefix('backbone.').replace('head.fc.', 'fc.'): value for key, value in weights.items()}


def prefixed(prefix, weights):
    return {prefix + key: value for key, value in weights.items()}


def renamed(old, new, weights):
    return {key.replace(old, new): value for key, value in weights.items()}


def other(weights):
    return {key: value + 1 for key, value in weights.items()}


def message_hub():
    history = HistoryBuffer()
    history.update(np.float64(1.5))
    return dict(log_scalars={'train/loss': history}, runtime_info={'epoch': np.int64(3)})


LAYOUTS = {
    'plain': plain,
    'mmpretrain': lambda weights: dict(
        state_dict=weights,
        meta=dict(epoch=3),
        ema_state_dict=prefixed('module.', other(weights)),
        optimizer=dict(state={}),
        message_hub=message_hub(),
    ),
    'this zoo': lambda weights: dict(state_dict=weights | {'distiller.theta': torch.ones(1)}, meta=dict(iter=7)),
    'mdistiller': lambda weights: dict(model=plain(weights), epoch=240, best_acc=72.1),
    'mdistiller, parallel': lambda weights: dict(model=prefixed('module.', plain(weights)), optimizer={}),
    'torchvision': lambda weights: dict(
        model=plain(other(weights)),
        model_ema=prefixed('module.', plain(weights)) | dict(n_averaged=torch.tensor(9)),
        args=argparse.Namespace(lr=0.1),
        epoch=5,
    ),
    'timm': lambda weights: dict(
        state_dict=plain(other(weights)), state_dict_ema=plain(weights), arch='resnet', args=argparse.Namespace(lr=0.1)
    ),
    'compiled': lambda weights: prefixed('_orig_mod.', plain(weights)),
    'compiled, parallel': lambda weights: dict(model=prefixed('module._orig_mod.', plain(weights))),
    'lightning': lambda weights: dict(state_dict=prefixed('model.', plain(weights))),
    'head named linear': lambda weights: dict(net=renamed('fc.', 'linear.', plain(weights)), acc=72.1),
    'head named classifier': lambda weights: renamed('fc.', 'classifier.', plain(weights)),
    'shortcuts named shortcut': lambda weights: renamed('downsample', 'shortcut', plain(weights)),
    'before torch counted batches': lambda weights: {
        key: value for key, value in plain(weights).items() if 'num_batches' not in key
    },
}


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
def test_every_layout_fills_the_network_exactly(layout, zipped, tmp_path):
    target = network()
    weights = distinct_weights(target)
    torch.save(LAYOUTS[layout](weights), tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
    load_weights(target, tmp_path / 'x.pth')
    for key, value in target.state_dict().items():
        if layout != 'before torch counted batches' or 'num_batches' not in key:
            assert torch.equal(value, weights[key]), key


def test_safetensors_fill_the_network_exactly(tmp_path):
    target = network()
    weights = distinct_weights(target)
    save_file(plain(weights), tmp_path / 'model.safetensors')
    load_weights(target, tmp_path / 'model.safetensors')
    assert all(torch.equal(value, weights[key]) for key, value in target.state_dict().items())


@pytest.mark.parametrize('name', ['torchvision::resnet18', 'timm::resnet18', 'resnet18_8xb32_in1k'])
@pytest.mark.parametrize('origin', ['torchvision::resnet18', 'timm::resnet18', 'resnet18_8xb32_in1k'])
def test_the_libraries_read_each_others_checkpoints(name, origin, tmp_path):
    torch.save(distinct_weights(build_network(origin)), tmp_path / 'x.pth')
    target = build_network(name, checkpoint=tmp_path / 'x.pth')
    assert torch.equal(list(target.state_dict().values())[-2], list(torch.load(tmp_path / 'x.pth').values())[-2])


def test_weights_in_half_precision_are_widened(tmp_path):
    target = network()
    torch.save(
        {key: value.half() if value.is_floating_point() else value for key, value in target.state_dict().items()},
        tmp_path / 'x.pth',
    )
    load_weights(target, tmp_path / 'x.pth')
    assert all(parameter.dtype == torch.float32 for parameter in target.parameters())


def refused(path, target=None, error=InputError, **options):
    with pytest.raises(error) as caught:
        load_weights(target or network(), path, **options)
    return str(caught.value)


def test_a_missing_file_says_where_it_looked(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    hub = tmp_path / 'hub' / 'checkpoints' / 'r34.pth'
    said = refused('r34.pth', error=MissingFileError)
    assert str(pathlib.Path('r34.pth').absolute()) in said and str(hub) in said
    said = refused('weights/r34.pth', error=MissingFileError)
    assert str(pathlib.Path('weights/r34.pth').absolute()) in said and str(hub) not in said


def test_only_a_name_without_a_folder_is_looked_up_among_the_downloads(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    (tmp_path / 'checkpoints').mkdir()
    (tmp_path / 'checkpoints' / 'best.pth').touch()
    assert locate('best.pth') == tmp_path / 'checkpoints' / 'best.pth'
    with pytest.raises(MissingFileError):  # another network's best.pth must not step in
        locate('work_dirs/r34/best.pth')


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('kept', [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(kept, zipped, tmp_path):
    torch.save(network().state_dict(), tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / 'x.pth').read_bytes()
    (tmp_path / 'x.pth').write_bytes(whole[: int(kept * len(whole))])
    said = refused(tmp_path / 'x.pth')
    assert 'not a checkpoint' in said and str(tmp_path / 'x.pth') in said and '\n' not in said


@pytest.mark.parametrize(
    'content', [b'<!DOCTYPE html><html>404</html>', b'not a checkpoint', bytes(100), b'\x80\x02}q\x00.']
)
def test_a_file_of_another_kind_is_refused(content, tmp_path):
    (tmp_path / 'x.pth').write_bytes(content)
    assert '\n' not in refused(tmp_path / 'x.pth')


def test_a_damaged_safetensors_file_is_refused(tmp_path):
    (tmp_path / 'x.safetensors').write_bytes(b'123456789012345')
    assert 'truncated or not a safetensors file' in refused(tmp_path / 'x.safetensors')


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (dict(epoch=3, lr=0.1), 'epoch, lr'),
        ([1, 2], 'list'),
        (torch.ones(2), 'Tensor'),
        ({}, 'no weights'),
        (dict(state_dict={}), 'state_dict'),
        (dict(distiller={'a': 1}), 'distiller'),
    ],
)
def test_a_file_without_weights_says_what_it_holds(content, said, tmp_path):
    torch.save(content, tmp_path / 'x.pth')
    assert said in refused(tmp_path / 'x.pth')


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(self.path),)


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
def test_a_pickle_that_wants_to_run_code_is_refused_and_does_not_run_it(zipped, tmp_path):
    torch.save(
        dict(model=plain(network().state_dict()), x=Evil(tmp_path / 'ran')),
        tmp_path / 'x.pth',
        _use_new_zipfile_serialization=zipped,
    )
    said = refused(tmp_path / 'x.pth')
    assert 'run code' in said and 'trust_pickle=True' in said and '\n' not in said
    assert not (tmp_path / 'ran').exists()
    load_weights(network(), tmp_path / 'x.pth', trust_pickle=True)
    assert (tmp_path / 'ran').exists(), 'the file would have run code, so the refusal above was one'


def test_a_plain_pickle_with_code_is_refused(tmp_path):
    (tmp_path / 'x.pth').write_bytes(pickle.dumps(Evil(tmp_path / 'ran')))
    refused(tmp_path / 'x.pth')
    assert not (tmp_path / 'ran').exists()


def test_a_whole_network_needs_trust(tmp_path):
    source = network().backbone
    torch.save(source, tmp_path / 'x.pth')
    assert 'trust_pickle=True' in refused(tmp_path / 'x.pth')
    assert read_weights(tmp_path / 'x.pth', trust_pickle=True).keys() == source.state_dict().keys()


@pytest.mark.parametrize('name', ['resnet14', 'wrn_16_2', 'shufflenet_v2', 'resnet34_imagenet'])
def test_another_architecture_is_named(name, tmp_path):
    torch.save(plain(network(name, 100).state_dict()), tmp_path / 'x.pth')
    assert f'those of crld_zoo::{name} with 100 classes' in refused(tmp_path / 'x.pth')


def test_widths_tell_architectures_with_the_same_keys_apart():
    assert identify({key: value.shape for key, value in network('resnet8x4').state_dict().items()}) == [
        'crld_zoo::resnet8x4'
    ]


def test_another_number_of_classes_says_both(tmp_path):
    torch.save(plain(network(classes=100).state_dict()), tmp_path / 'x.pth')
    said = refused(tmp_path / 'x.pth')
    assert '100 classes' in said and 'has 10' in said and 'num_classes=100' in said


def test_left_over_keys_are_listed_at_most_ten(tmp_path):
    extra = {f'extra{index:02d}': torch.ones(1) for index in range(12)}
    torch.save(plain(network().state_dict()) | extra, tmp_path / 'x.pth')
    said = refused(tmp_path / 'x.pth')
    assert '12 keys of the file left over' in said and 'extra09' in said and 'and 2 more' in said
    assert 'extra10' not in said


def test_missing_keys_are_listed(tmp_path):
    weights = plain(network().state_dict())
    del weights['layer2.0.conv1.weight'], weights['fc.bias']
    torch.save(weights, tmp_path / 'x.pth')
    said = refused(tmp_path / 'x.pth')
    assert '2 weights of the network missing' in said
    assert 'backbone.layer2.0.conv1.weight' in said and 'head.fc.bias' in said


def test_a_head_left_out_is_no_small_matter(tmp_path):
    torch.save({key: value for key, value in network().state_dict().items() if 'head' not in key}, tmp_path / 'x.pth')
    assert 'head.fc.weight' in refused(tmp_path / 'x.pth')


def test_other_shapes_are_listed(tmp_path):
    weights = plain(network().state_dict())
    weights['conv1.weight'] = torch.ones(16, 3, 5, 5)
    torch.save(weights, tmp_path / 'x.pth')
    assert 'conv1.weight (16, 3, 5, 5) for (16, 3, 3, 3)' in refused(tmp_path / 'x.pth')


def test_two_names_for_one_weight_do_not_hide_each_other(tmp_path):
    weights = plain(network().state_dict())
    weights['linear.weight'] = weights['fc.weight'] + 1
    torch.save(weights, tmp_path / 'x.pth')
    assert 'linear.weight' in refused(tmp_path / 'x.pth')


def test_a_library_network_lists_its_own_names(tmp_path):
    weights = build_network('torchvision::squeezenet1_1').state_dict()
    weights.pop('classifier.1.bias')
    torch.save(weights, tmp_path / 'x.pth')
    said = refused(tmp_path / 'x.pth', build_network('torchvision::squeezenet1_1'))
    assert 'missing in the file: classifier.1.bias' in said


class Download:
    """Stands in for torch hub's download."""

    def __init__(self, monkeypatch, folder, content):
        self.content, self.calls = content, []
        monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(folder))
        monkeypatch.setattr(torch.hub, 'download_url_to_file', self)

    def __call__(self, url, path, digest, progress):
        self.calls.append((url, digest))
        if isinstance(self.content, Exception):
            raise self.content
        torch.save(self.content, path)


def test_a_url_is_downloaded_once_and_checked_by_its_digest(tmp_path, monkeypatch):
    target = network()
    weights = distinct_weights(target)
    download = Download(monkeypatch, tmp_path, plain(weights))
    for _ in range(2):
        load_weights(target, 'https://example.org/a/resnet8-0123abcd.pth?download=1')
    assert download.calls == [('https://example.org/a/resnet8-0123abcd.pth?download=1', '0123abcd')]
    assert torch.equal(target.state_dict()['head.fc.bias'], weights['head.fc.bias'])


@pytest.mark.parametrize('error', [URLError('no route'), RuntimeError('invalid hash value')])
def test_without_a_network_it_says_where_to_put_the_file(error, tmp_path, monkeypatch):
    Download(monkeypatch, tmp_path, error)
    said = refused('https://example.org/resnet8-0123abcd.pth')
    assert 'https://example.org/resnet8-0123abcd.pth' in said
    assert str(tmp_path / 'checkpoints' / 'resnet8-0123abcd.pth') in said and 'curl -L' in said


@pytest.mark.parametrize('prefix', ['student.', 'teacher.', 'architecture.', 'model.', 'net.'])
def test_a_part_of_a_file_is_found_by_its_prefix(prefix, tmp_path):
    target, other_network = network(), network('wrn_16_1')
    weights = distinct_weights(target)
    file = prefixed(prefix, weights) | prefixed('other.', other_network.state_dict()) | dict(count=torch.ones(1))
    torch.save(dict(state_dict=file), tmp_path / 'x.pth')
    for asked in (None, prefix, prefix[:-1]):
        target.load_state_dict(network().state_dict())
        load_weights(target, tmp_path / 'x.pth', prefix=asked)
        assert all(torch.equal(value, weights[key]) for key, value in target.state_dict().items())


def test_several_parts_that_fit_are_listed(tmp_path):
    weights = network().state_dict()
    torch.save(prefixed('student.', weights) | prefixed('teacher.', other(weights)), tmp_path / 'x.pth')
    said = refused(tmp_path / 'x.pth')
    assert 'student., teacher.' in said and 'prefix' in said
    target = network()
    load_weights(target, tmp_path / 'x.pth', prefix='teacher')
    assert torch.equal(target.head.fc.bias, weights['head.fc.bias'] + 1)


def test_a_prefix_that_is_not_there_lists_those_that_are(tmp_path):
    torch.save(prefixed('student.', network().state_dict()), tmp_path / 'x.pth')
    assert "begins with 'pupil.'; its keys begin with student." in refused(tmp_path / 'x.pth', prefix='pupil')


def test_versions_of_modules_travel(tmp_path):
    """torchvision's MNASNet does not load without the version that its state dict carries beside the weights."""
    student = build_network('torchvision::mnasnet0_5', num_classes=7)
    weights = distinct_weights(student)
    student.load_state_dict(student.state_dict())
    library = torchvision.models.mnasnet0_5(num_classes=7)
    library.load_state_dict(student.state_dict())
    torch.save(student.state_dict(), tmp_path / 'x.pth')
    save_file(weights, tmp_path / 'x.safetensors')
    for name in ('x.pth', 'x.safetensors'):
        target = build_network('torchvision::mnasnet0_5', num_classes=7, checkpoint=tmp_path / name)
        expected = weights if name.endswith('safetensors') else student.state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in target.state_dict().items())


def test_a_version_of_the_file_wins(tmp_path):
    """A stem as the first MNASNets had it, which torchvision rebuilds by the version of the file."""
    student = build_network('torchvision::mnasnet0_5', num_classes=7)
    weights = student.state_dict()
    weights._metadata['']['version'] = 1
    torch.save(weights, tmp_path / 'x.pth')
    with pytest.warns(UserWarning, match='A new version of MNASNet'), pytest.raises(InputError, match='does not fit'):
        build_network('torchvision::mnasnet0_5', num_classes=7, checkpoint=tmp_path / 'x.pth')


def test_a_run_with_versions_is_saved_tested_resumed_and_read_by_the_library(tmp_path):
    def model():
        return MODELS.build(
            dict(
                type='Distillation',
                student=dict(type='TorchvisionClassifier', model_name='mnasnet0_5', num_classes=7),
                distiller=dict(type='CrossEntropy'),
                data_preprocessor=dict(type='ViewPreprocessor', mean=[1.0] * 3, std=[2.0] * 3),
            )
        )

    trained = model()
    torch.save(dict(state_dict=get_state_dict(trained)), tmp_path / 'x.pth')
    weights = torch.load(tmp_path / 'x.pth')['state_dict']
    for _ in range(2):
        load_state_dict(model(), weights, strict=True)
    torchvision.models.mnasnet0_5(num_classes=7).load_state_dict(weights)
    build_network('torchvision::mnasnet0_5', num_classes=7, checkpoint=tmp_path / 'x.pth')


def test_published_densenets_have_other_names(tmp_path):
    weights = build_network('torchvision::densenet121').state_dict()
    published = {re.sub(r'(denselayer\d+\.(?:norm|conv))(\d)', r'\1.\2', key): value for key, value in weights.items()}
    assert published.keys() != weights.keys()
    torch.save(published, tmp_path / 'x.pth')
    target = build_network('torchvision::densenet121', checkpoint=tmp_path / 'x.pth')
    assert all(torch.equal(value, weights[key]) for key, value in target.state_dict().items())
