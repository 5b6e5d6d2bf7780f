"""Sources: the same network from three libraries, every row of the table, every way to name it wrongly."""

from __future__ import annotations

import importlib.util
import json
from urllib.error import URLError

import numpy as np
import pytest
import timm
import torch
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from mmpretrain.structures import DataSample

from crld_zoo.errors import InputError, MissingFileError, UnknownNameError
from crld_zoo.models import Teacher
from crld_zoo.networks.sources import SOURCES, NetworkSpec, build_network, count_classes, resolve
from crld_zoo.networks.sources.hugging_face import measured
from crld_zoo.registry import MODELS

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def classifier(classes=6, **options):
    return dict(
        type='ImageClassifier',
        backbone=dict(type='CIFARResNet', depth=8),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=classes, in_channels=64),
        **options,
    )


def test_three_libraries_give_the_same_logits_from_the_same_weights(tmp_path):
    torch.save(build_network('torchvision::resnet18').state_dict(), tmp_path / 'resnet18.pth')
    mean, std = [125.0, 120.0, 110.0], [60.0, 61.0, 62.0]
    pixels = torch.randint(0, 256, (2, 3, 224, 224)).float()
    seen = (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    logits = {}
    for name in ('torchvision::resnet18', 'timm::resnet18.a1_in1k', 'resnet18_8xb32_in1k'):
        teacher = Teacher(name, tmp_path / 'resnet18.pth')
        assert tuple(teacher.mean) == IMAGENET[0] and teacher.size == 224
        teacher.match_input(mean, std)
        logits[name] = teacher(seen)
    own = (pixels - torch.tensor(IMAGENET[0]).view(3, 1, 1)) / torch.tensor(IMAGENET[1]).view(3, 1, 1)
    expected = build_network('torchvision::resnet18', checkpoint=tmp_path / 'resnet18.pth').eval()(own)
    assert expected.std() > 0.1
    for name, got in logits.items():
        assert (got - expected).abs().max() < 1e-5, name


@pytest.mark.parametrize(
    ('name', 'mean', 'std', 'size'),
    [
        ('torchvision::resnet50.IMAGENET1K_V1', *IMAGENET, 224),
        ('torchvision::vit_h_14.IMAGENET1K_SWAG_E2E_V1', *IMAGENET, 518),
        ('timm::resnet34.a1_in1k', *IMAGENET, 224),
        ('timm::vit_large_patch16_384.augreg_in21k_ft_in1k', (127.5,) * 3, (127.5,) * 3, 384),
        ('mmpretrain::resnet/resnet34_8xb32_in1k.py', *IMAGENET, 224),
        ('vit-large-p16_in21k-pre_3rdparty_in1k-384px', (127.5,) * 3, (127.5,) * 3, 384),
        ('mmpretrain::efficientnet-b0_3rdparty_8xb32_in1k', *IMAGENET, 224),
        ('resnet18_8xb16_cifar10', (125.307, 122.961, 113.8575), (51.5865, 50.847, 51.255), None),
    ],
)
def test_each_source_knows_how_its_network_sees(name, mean, std, size):
    recipe = resolve(name)
    assert tuple(recipe.mean) == mean and recipe.std == pytest.approx(std) and recipe.size == size
    assert not recipe.bgr
    assert recipe.weights or recipe.library


def test_torchvisions_weights_are_chosen_by_their_name():
    assert resolve('torchvision::resnet50.IMAGENET1K_V1').weights != resolve('torchvision::resnet50').weights
    assert resolve('torchvision::resnet50').weights == resolve('torchvision::resnet50.IMAGENET1K_V2').weights


@pytest.mark.parametrize(
    ('name', 'classes'),
    [
        ('crld_zoo::resnet20', 7),
        ('torchvision::squeezenet1_1', 7),
        ('torchvision::mobilenet_v3_small', 7),
        ('timm::resnet10t', 7),
        ('mobilenet-v2_8xb32_in1k', 7),
        ('torchvision::squeezenet1_1', None),
        ('mmpretrain::mobilenet_v2/mobilenet-v2_8xb32_in1k.py', None),
    ],
)
def test_a_student_is_built_from_any_source(name, classes):
    network = build_network(name, num_classes=classes).eval()
    assert network(torch.randn(1, 3, 64, 64)).shape == (1, classes or 1000)
    if not name.endswith('squeezenet1_1'):  # it ends in a convolution
        assert count_classes(network) == (classes or 1000)


def test_class_counts_of_every_kind_of_network():
    assert count_classes(build_network(classifier(6))) == 6
    assert count_classes(build_network('torchvision::squeezenet1_1', num_classes=9)) == 9
    assert count_classes(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 5))) == 5
    with pytest.raises(InputError, match='does not tell its number of classes'):
        count_classes(torch.nn.Conv2d(3, 4, 1))


def write_config(path, **parts):
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in parts.items()))
    return str(path)


def test_a_config_file_of_ones_own(tmp_path):
    name = write_config(
        tmp_path / 'mine.py',
        model=classifier(),
        data_preprocessor=dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=True),
        test_pipeline=[dict(type='LoadImageFromFile'), dict(type='Resize', scale=(48, 48)), dict(type='PackInputs')],
    )
    recipe = resolve(name, num_classes=3)
    assert (recipe.mean, recipe.std, recipe.size, recipe.bgr) == ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], 48, False)
    assert recipe.weights is None
    assert build_network(name, num_classes=3)(torch.randn(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize(
    ('to_rgb', 'loader', 'bgr'),
    [(False, 'LoadImageFromFile', True), (True, 'LoadImageFromFile', False), (False, 'PackInputs', False)],
)
def test_a_config_that_keeps_mmcvs_images_as_they_are_wants_blue_first(to_rgb, loader, bgr, tmp_path):
    name = write_config(
        tmp_path / 'mine.py',
        model=classifier(data_preprocessor=dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=to_rgb)),
        test_dataloader=dict(dataset=dict(pipeline=[dict(type=loader)])),
    )
    recipe = resolve(name)
    assert recipe.bgr is bgr and recipe.mean == [1.0, 2.0, 3.0]


def test_a_config_dict_knows_its_normalization():
    recipe = resolve(classifier(data_preprocessor=dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0])))
    assert (recipe.mean, recipe.std) == ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    library = dict(type='TimmClassifier', model_name='resnet18', data_preprocessor=dict(mean=[1, 2, 3], std=[4, 5, 6]))
    assert resolve(library).mean == [1, 2, 3]
    assert resolve(dict(type='TimmClassifier', model_name='resnet18')).mean == IMAGENET[0]


def test_the_configs_dict_is_left_as_it_was(tmp_path):
    torch.save(build_network(classifier()).state_dict(), tmp_path / 'x.pth')
    config = classifier(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'x.pth')))
    before = json.dumps(config)
    build_network(config)
    assert json.dumps(config) == before


@pytest.mark.parametrize(
    'ask', [lambda path: dict(pretrained=path), lambda path: dict(init_cfg=dict(type='Pretrained', checkpoint=path))]
)
def test_weights_that_a_config_asks_for_are_loaded_strictly_and_stay(ask, tmp_path):
    weights = build_network(classifier()).state_dict()
    torch.save(weights, tmp_path / 'x.pth')
    network = build_network(classifier(**ask(str(tmp_path / 'x.pth'))))
    network.init_weights()  # as the Runner does
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    torch.save({key: value for key, value in weights.items() if 'head' not in key}, tmp_path / 'x.pth')
    with pytest.raises(InputError, match='head.fc.weight'):
        build_network(classifier(**ask(str(tmp_path / 'x.pth'))))


def test_a_random_student_is_still_initialized_by_the_runner():
    network = build_network(classifier())
    before = network.backbone.conv1.weight.clone()
    network.init_weights()
    assert not torch.equal(network.backbone.conv1.weight, before)


def test_another_source_is_one_function(monkeypatch):
    monkeypatch.setitem(SOURCES, 'mine', lambda name, classes: NetworkSpec(f'mine::{name}', classifier(classes)))
    assert count_classes(build_network('mine::anything', num_classes=3)) == 3


def refused(model, error=InputError, **options):
    with pytest.raises(error) as caught:
        build_network(model, **options)
    said = str(caught.value)
    assert '\n' not in said
    return said


@pytest.mark.parametrize(
    ('name', 'near'),
    [
        ('resnet34_8xb23_in1k', 'resnet34_8xb32_in1k'),
        ('resnet34', 'torchvision::resnet34 or timm::resnet34'),
        ('resnet56', 'crld_zoo::resnet56'),
        ('torchvision::resnt34', 'resnet34'),
        ('torchvision::resnet34.IMAGENET1K_V9', 'IMAGENET1K_V1'),
        ('timm::resnt34', 'resnet34'),
        ('timm::resnet34.a1_in2k', 'a1_in1k'),
        ('crld_zoo::resnet55', 'resnet56'),
        ('torchvison::resnet34', 'torchvision'),
        ('mmpretrain::resnet/resnet34_8xb23_in1k.py', 'resnet/resnet34_8xb32_in1k.py'),
        ('nopackage::resnet/x.py', 'no package nopackage'),
        ({'type': 'ImageClasifier'}, 'ImageClassifier'),
        (classifier() | dict(backbone=dict(type='CIFARResNt')), 'CIFARResNet'),
        (classifier() | dict(head=dict(type='LinearClsHed')), 'LinearClsHead'),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(name, near):
    assert near in refused(name, UnknownNameError, num_classes=None if isinstance(name, dict) else 5)


def test_a_missing_config_says_where_it_looked_and_what_is_there(tmp_path):
    write_config(tmp_path / 'teacher_r34.py', model=classifier())
    said = refused(str(tmp_path / 'teacher_r43.py'), MissingFileError)
    assert str(tmp_path / 'teacher_r43.py') in said and 'teacher_r34.py' in said


@pytest.mark.parametrize(
    ('model', 'options', 'said'),
    [
        ({'depth': 20}, {}, 'needs a type'),
        (7, {}, 'not int'),
        ('crld_zoo::resnet20', {}, 'needs num_classes'),
        (classifier(6), dict(num_classes=7), 'num_classes=7 but the head of the config has 6'),
        (classifier(), dict(checkpoint='own'), 'has no weights of its own'),
        ('timm::resnet18.a1_in1k', dict(num_classes=7, checkpoint='own'), '1000 classes, not 7'),
        (dict(type='TimmClassifier', model_name='resnet18', pretrained=True, num_classes=7), {}, '1000 classes, not 7'),
    ],
)
def test_what_cannot_be_built_says_why(model, options, said):
    assert said in refused(model, **options)


def test_a_config_without_a_model_is_none_of_a_classifier(tmp_path):
    assert "has no 'model'" in refused(write_config(tmp_path / 'schedule.py', optim_wrapper=dict()))


def test_weights_are_looked_for_before_anything_is_built(monkeypatch):
    monkeypatch.setattr(MODELS, 'build', lambda *_: pytest.fail('built'))
    refused(classifier(), MissingFileError, checkpoint='nowhere.pth')


@pytest.mark.parametrize(
    ('path', 'command'),
    [
        (
            'data/weights/resnet34-b627a593.pth',
            'mkdir -p data/weights && curl -L -o data/weights/resnet34-b627a593.pth '
            'https://download.pytorch.org/models/resnet34-b627a593.pth',
        ),
        ('resnet34_8xb32_in1k_20210831-f257d4e6.pth', 'curl -L -o resnet34_8xb32_in1k_20210831-f257d4e6.pth '),
        ('data/cifar_teachers/resnet56_vanilla/ckpt_epoch_240.pth', '/cifar_teachers.tar | tar x -C data'),
    ],
)
def test_a_missing_file_of_a_known_name_comes_with_the_command_that_gets_it(path, command):
    assert command in refused(classifier(), MissingFileError, checkpoint=path)


def test_a_missing_file_of_ones_own_comes_without_a_command():
    assert 'curl' not in refused(classifier(), MissingFileError, checkpoint='mine.pth')


@pytest.mark.parametrize('name', ['torchvision::resnet34.IMAGENET1K_V1', 'resnet34_8xb32_in1k'])
def test_without_a_network_it_says_where_to_put_the_librarys_file(name, tmp_path, monkeypatch):
    def download(*_, **__):
        raise URLError('no route')

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    said = refused(name, checkpoint='own')
    url = resolve(name).weights
    assert url in said and str(tmp_path / 'checkpoints' / url.rsplit('/', 1)[1]) in said


@pytest.mark.parametrize(
    'error',
    [
        ConnectionError('no route'),
        type('HfHubHTTPError', (Exception,), {'__module__': 'huggingface_hub.errors'})('offline'),
    ],
)
def test_without_a_network_timm_says_which_file_to_fetch(error, monkeypatch):
    def create_model(*_, **__):
        raise error

    monkeypatch.setattr('timm.models.create_model', create_model)
    said = refused('timm::resnet18.a1_in1k', checkpoint='own')
    assert 'timm/resnet18.a1_in1k' in said and 'checkpoint' in said


def test_a_fault_of_the_library_keeps_its_traceback(monkeypatch):
    def create_model(*_, **__):
        raise TypeError('a bug')

    monkeypatch.setattr('timm.models.create_model', create_model)
    with pytest.raises(TypeError, match='a bug'):
        build_network('timm::resnet18.a1_in1k', checkpoint='own')


def test_timms_own_weights_come_through_timm(monkeypatch):
    asked = {}

    def create_model(**options):
        asked.update(options)
        return timm.create_model(options['model_name'])

    monkeypatch.setattr('timm.models.create_model', create_model)
    build_network('timm::resnet10t.c3_in1k', checkpoint='own')
    assert asked == dict(model_name='resnet10t.c3_in1k', pretrained=True, num_classes=1000)


@pytest.mark.parametrize(('name', 'library'), [('timm::resnet18', 'timm'), ('hf::x/y', 'transformers')])
def test_a_library_that_is_not_installed_is_named(name, library, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == library else find(name))
    assert f'pip install {library}' in refused(name)


LIBRARY = [
    dict(type='TorchvisionClassifier', model_name='resnet18', num_classes=5),
    dict(type='TimmClassifier', model_name='resnet10t', num_classes=5),
]


@pytest.mark.parametrize('config', LIBRARY, ids=lambda config: config['type'])
def test_a_library_classifier_is_an_mmpretrain_classifier(config):
    network = build_network(config | dict(data_preprocessor=dict(mean=[1.0] * 3, std=[2.0] * 3))).eval()
    images, samples = torch.randn(2, 3, 32, 32), [DataSample().set_gt_label(label) for label in (3, 1)]
    logits = network(images)
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([3, 1]))
    torch.testing.assert_close(network(images, samples, mode='loss')['loss'], expected)
    predicted = network(images, samples, mode='predict')
    assert [sample.pred_label.item() for sample in predicted] == logits.argmax(1).tolist()
    torch.testing.assert_close(predicted[0].pred_score, logits.softmax(1)[0])


@pytest.mark.parametrize('config', LIBRARY, ids=lambda config: config['type'])
def test_checkpoints_of_a_library_student_are_the_librarys_also_inside_the_model(config):
    def model():
        return MODELS.build(
            dict(
                type='Distillation',
                student=config,
                distiller=dict(type='CrossEntropy'),
                data_preprocessor=dict(type='ViewPreprocessor', mean=[1.0] * 3, std=[2.0] * 3),
            )
        )

    saved, target = model(), model()
    weights = get_state_dict(saved)
    library = saved.student.model.state_dict()
    assert weights.keys() == library.keys()
    load_state_dict(target, weights, strict=True)
    assert all(torch.equal(value, library[key]) for key, value in target.student.model.state_dict().items())
    saved.load_state_dict(saved.state_dict())


@pytest.fixture
def hugging_face_folder(tmp_path):
    transformers = pytest.importorskip('transformers', reason='needs transformers, an optional library')
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type='basic', num_labels=5
    )
    model = transformers.ResNetForImageClassification(config).eval()
    model.save_pretrained(tmp_path / 'mine')
    (tmp_path / 'mine' / 'preprocessor_config.json').write_text(
        json.dumps(dict(image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.2, 0.1], size=dict(shortest_edge=40)))
    )
    return tmp_path / 'mine', model


@pytest.mark.parametrize(
    'form',
    [
        str,
        lambda folder: f'hf::{folder}',
        lambda folder: dict(type='HuggingFaceClassifier', model_name=str(folder), pretrained=True),
    ],
)
def test_a_hugging_face_folder(hugging_face_folder, form):
    folder, model = hugging_face_folder
    teacher = Teacher(form(folder))
    assert (teacher.mean, teacher.std, teacher.size) == ((127.5, 102.0, 76.5), (51.0, 51.0, 25.5), 40)
    assert teacher.num_classes == 5
    images = torch.randn(2, 3, 40, 40)
    torch.testing.assert_close(teacher(images), model(images).logits)


def test_a_hugging_face_student_and_a_file(hugging_face_folder):
    folder, model = hugging_face_folder
    assert count_classes(build_network(str(folder), num_classes=3)) == 3
    network = build_network(str(folder), checkpoint=folder / 'model.safetensors').eval()
    images = torch.randn(2, 3, 40, 40)
    torch.testing.assert_close(network(images), model(images).logits)


def test_a_hugging_face_network_without_a_head_is_refused(hugging_face_folder):
    folder, model = hugging_face_folder
    model.resnet.save_pretrained(folder)
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps(config | dict(num_labels=2)))
    assert 'classifier' in refused(str(folder), checkpoint='own')
    assert '2 classes, not 3' in refused(str(folder), num_classes=3, checkpoint='own')


def test_a_hugging_face_name_without_a_network_says_what_to_fetch(monkeypatch):
    transformers = pytest.importorskip('transformers', reason='needs transformers, an optional library')

    def from_pretrained(name):
        raise OSError('cannot connect')

    monkeypatch.setattr(transformers.AutoConfig, 'from_pretrained', from_pretrained)
    said = refused('hf::microsoft/resnet-34')
    assert 'model.safetensors of microsoft/resnet-34' in said and 'folder' in said


class Processor:
    """Stands in for an image processor of transformers."""

    size = dict(height=40, width=40)

    def __init__(self, change):
        self.change = change

    def __call__(self, images, **_):
        return dict(pixel_values=[self.change(image.astype(float)).transpose(2, 0, 1) for image in images])


@pytest.mark.parametrize(
    ('change', 'mean', 'std', 'bgr'),
    [
        (lambda image: (image / 255 - 0.5) / 0.25, (127.5,) * 3, (63.75,) * 3, False),
        (lambda image: image / 255, (0.0,) * 3, (255.0,) * 3, False),
        (lambda image: image / 127.5 - 1, (127.5,) * 3, (127.5,) * 3, False),
        (lambda image: (image / 255 - 0.5) / 0.5 / 0.5, (127.5,) * 3, (63.75,) * 3, False),
        (lambda image: (image[..., ::-1] - [3.0, 2.0, 1.0]) / [30.0, 20.0, 10.0], (1.0, 2.0, 3.0), (10, 20, 30), True),
    ],
    ids=['normalized', 'rescaled alone', 'another factor', 'divided twice', 'flipped channels'],
)
def test_a_processor_is_measured(change, mean, std, bgr):
    seen = measured(Processor(change), 'mine')
    assert seen == dict(mean=pytest.approx(mean), std=pytest.approx(std), size=40, bgr=bgr)


@pytest.mark.parametrize(
    'change', [lambda image: (image / 255) ** 2, lambda image: image - image.mean(), lambda image: image[::-1]]
)
def test_a_processor_that_does_more_than_normalize_is_refused(change):
    with pytest.raises(InputError, match='no scale and shift of each channel, it differs by up to'):
        measured(Processor(change), 'mine')


@pytest.mark.parametrize(
    ('crop', 'shown'), [(224, None), (192, 86), (256, 114)], ids=['nothing', 'the border', 'a frame added']
)
def test_a_processor_that_crops_is_told_once(crop, shown, log):
    """The ramp of 251 columns is resized to 224 and cropped or padded to ``crop``."""

    class Cropping(Processor):
        def __call__(self, images, do_resize=True, **_):
            if do_resize:
                columns = np.linspace(0, 250, 224).round().astype(int)
                image = images[0][columns][:, columns]
                edge = (crop - 224) // 2
                inner = slice(-edge, 224 + edge) if edge < 0 else slice(None)
                images = [np.pad(image[inner, inner], [(max(edge, 0),) * 2] * 2 + [(0, 0)])]
            return super().__call__(images)

    for _ in range(2):
        assert measured(Cropping(lambda image: image / 255), f'mine of {crop}')['size'] == crop
    assert log.text.count(f'it shows the network {shown} % of the width') == (shown is not None)
    assert log.text.count('crops or pads') == (shown is not None)


@pytest.mark.parametrize(
    ('kind', 'options', 'std', 'bgr'),
    [
        ('ViTImageProcessor', {}, 127.5, False),
        ('ViTImageProcessor', dict(do_normalize=False), 255.0, False),
        ('EfficientNetImageProcessor', {}, 63.75, False),
        ('MobileViTImageProcessor', {}, 255.0, True),
    ],
)
def test_processors_of_transformers(kind, options, std, bgr):
    transformers = pytest.importorskip('transformers', reason='needs transformers, an optional library')
    seen = measured(getattr(transformers, kind)(**options), kind)
    assert seen['std'] == pytest.approx((std,) * 3) and seen['bgr'] is bgr


def test_a_segmentation_network_of_torchvision():
    network = build_network('torchvision::lraspp_mobilenet_v3_large', num_classes=5, checkpoint='random').eval()
    assert count_classes(network) == 5
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 64, 48)).shape == (2, 5, 64, 48)
    assert all(not name.startswith('model.') for name in network.state_dict())
    with pytest.raises(InputError, match="mode must be 'tensor', not 'loss': train it with Distillation"):
        network(torch.zeros(2, 3, 64, 48), mode='loss')


def test_the_auxiliary_head_is_there_where_weights_are_named():
    spec = resolve('torchvision::deeplabv3_resnet101.COCO_WITH_VOC_LABELS_V1')
    assert spec.config == dict(
        type='TorchvisionSegmenter', model_name='deeplabv3_resnet101', num_classes=21, aux_loss=True
    )
    assert spec.mean == pytest.approx((123.675, 116.28, 103.53)) and spec.size is None
    assert 'aux_loss' not in resolve('torchvision::deeplabv3_resnet101').config
    assert 'aux_loss' not in resolve('torchvision::lraspp_mobilenet_v3_large.COCO_WITH_VOC_LABELS_V1').config
