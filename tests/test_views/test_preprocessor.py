"""ViewPreprocessor: from every form of a batch to normalized views."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample

from crld_zoo.errors import InputError
from crld_zoo.views import ViewPreprocessor, Views

from .conftest import keys

MEAN, STD = [120.0, 110.0, 100.0], [60.0, 61.0, 62.0]
VIEWS = dict(
    weak=[dict(type='RandomCrop', size=8, padding=2)],
    strong=[dict(type='RandomCrop', size=8, padding=2), dict(type='Cutout')],
)


def images(count: int = 5, size: int = 8) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)


def expected(batch: torch.Tensor) -> torch.Tensor:
    return (batch.float() - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def test_one_tensor_is_the_weak_view_in_training_and_alone_in_evaluation():
    batch = images()
    data = dict(inputs=batch, data_samples=torch.arange(5))
    trained, evaluated = (ViewPreprocessor(MEAN, STD)(data, training) for training in (True, False))
    assert list(trained['inputs']) == ['weak']
    torch.testing.assert_close(trained['inputs']['weak'], expected(batch))
    torch.testing.assert_close(evaluated['inputs'], expected(batch))
    assert torch.equal(trained['data_samples'], torch.arange(5))


def test_a_multi_view_pipeline_gives_named_views():
    weak, strong = images(), images()
    data = dict(inputs=[list(weak), list(strong)], data_samples=[DataSample().set_gt_label(1) for _ in weak])
    views = ViewPreprocessor(MEAN, STD)(data, training=True)['inputs']
    torch.testing.assert_close(views['weak'], expected(weak))
    torch.testing.assert_close(views['strong'], expected(strong))
    swapped = ViewPreprocessor(MEAN, STD, view_names=['strong', 'weak'])(data, training=True)['inputs']
    torch.testing.assert_close(swapped['strong'], expected(weak))


def test_it_normalizes_as_mmpretrain_does():
    batch = images()
    theirs = ClsDataPreprocessor(mean=MEAN, std=STD, to_rgb=True)
    data = dict(inputs=list(batch), data_samples=[DataSample().set_gt_label(0) for _ in batch])
    ours = ViewPreprocessor(MEAN, STD, to_rgb=True)
    torch.testing.assert_close(ours(data)['inputs'], theirs(data)['inputs'])


def test_views_are_made_of_one_batch():
    preprocessor = ViewPreprocessor(MEAN, STD, views=VIEWS, seed=0)
    views = preprocessor(dict(inputs=images(), data_samples=torch.zeros(5, dtype=torch.long)), training=True)['inputs']
    assert list(views) == ['weak', 'strong']
    assert views['weak'].shape == views['strong'].shape == (5, 3, 8, 8)
    assert not torch.equal(views['weak'], views['strong'])


def test_views_that_nobody_needs_are_not_made():
    data = dict(inputs=images(), data_samples=torch.zeros(5, dtype=torch.long))
    both, one = (ViewPreprocessor(MEAN, STD, views=VIEWS, seed=0) for _ in range(2))
    one.needed_views = ('weak',)
    views = one(data, training=True)['inputs']
    assert list(views) == ['weak']
    assert torch.equal(views['weak'], both(data, training=True)['inputs']['weak'])
    multi_view = dict(inputs=[list(images()), list(images())], data_samples=None)
    assert list(one(multi_view, training=True)['inputs']) == ['weak']


def test_cropped_views_are_finished_on_the_device():
    preprocessor = ViewPreprocessor(MEAN, STD, views=dict(strong=[dict(type='Cutout')]), seed=0)
    weak, strong = images(), torch.zeros(5, 3, 8, 8, dtype=torch.uint8)
    data = dict(inputs=[list(weak), list(strong)], data_samples=torch.zeros(5, dtype=torch.long))
    views = preprocessor(data, training=True)['inputs']
    torch.testing.assert_close(views['weak'], expected(weak))
    assert not torch.allclose(views['strong'], expected(strong)), 'Cutout fills some of the black images with gray'


def test_the_views_follow_the_keys_and_not_the_history():
    batch = dict(inputs=images(), data_samples=torch.arange(5))

    def view(preprocessor, **place):
        return preprocessor(dict(batch, keys=keys(5, **place)), training=True)['inputs']['strong']

    first, resumed = (ViewPreprocessor(MEAN, STD, views=VIEWS) for _ in range(2))
    history = [view(first, seed=3, epoch=epoch) for epoch in range(3)]
    assert torch.equal(view(resumed, seed=3, epoch=2), history[2])
    assert not torch.equal(history[1], history[2])
    expected_views = Views(VIEWS)(batch['inputs'], keys(5, seed=3, epoch=2))
    torch.testing.assert_close(history[2], expected(expected_views['strong']))


def test_its_own_seed_overrides_the_keys():
    batch = dict(inputs=images(), data_samples=torch.arange(5))
    made = [
        ViewPreprocessor(MEAN, STD, views=VIEWS, seed=own)(dict(batch, keys=keys(5, seed=seed)), training=True)
        for own, seed in ((9, 1), (9, 2), (None, 9))
    ]
    for other in made[1:]:
        assert torch.equal(made[0]['inputs']['strong'], other['inputs']['strong'])
    assert [result['keys'].seed for result in made] == [9, 9, 9]
    with pytest.raises(InputError, match='seed must be a whole number'):
        ViewPreprocessor(MEAN, STD, seed=1.5)


def test_the_keys_go_on_to_the_model():
    preprocessor = ViewPreprocessor(MEAN, STD, views=VIEWS)
    batch = dict(inputs=images(), data_samples=torch.arange(5), keys=keys(5, first=7))
    assert preprocessor(batch, training=True)['keys'].samples.tolist() == [7, 8, 9, 10, 11]
    assert preprocessor(dict(batch, keys=None), training=True)['keys'] is None
    assert 'keys' not in preprocessor(batch, training=False)


def test_a_batch_without_keys_follows_a_counter_of_the_preprocessor(monkeypatch):
    batch = dict(inputs=images(), data_samples=torch.arange(5))

    def three(seed: int, rank: int = 0) -> list[torch.Tensor]:
        monkeypatch.setattr('crld_zoo.views.preprocessor.get_rank', lambda: rank)
        torch.manual_seed(seed)
        preprocessor = ViewPreprocessor(MEAN, STD, views=VIEWS)
        before = torch.get_rng_state()
        views = [preprocessor(batch, training=True)['inputs']['strong'] for _ in range(3)]
        assert torch.equal(before, torch.get_rng_state()), "torch's stream was drawn from"
        return views

    first, again, *others = three(5), three(5), three(6), three(5, rank=1)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not any(torch.equal(first[0], other[0]) for other in others)


def test_views_derived_from_a_view_that_nobody_needs():
    views = dict(VIEWS, rotated=dict(of='weak', operations=[dict(type='Rotations')]))
    preprocessor = ViewPreprocessor(MEAN, STD, views=views)
    preprocessor.needed_views = ('rotated',)
    batch = dict(inputs=images(), data_samples=torch.arange(5), keys=keys(5))
    made = preprocessor(batch, training=True)['inputs']
    assert {name: tuple(view.shape) for name, view in made.items()} == dict(rotated=(15, 3, 8, 8))
    preprocessor.needed_views = None
    assert torch.equal(preprocessor(batch, training=True)['inputs']['rotated'], made['rotated'])
    crops = dict(inputs=[list(images()), list(images())], data_samples=torch.arange(5), keys=keys(5))
    of_pipeline = ViewPreprocessor(MEAN, STD, views=dict(rotated=views['rotated']))(crops, training=True)['inputs']
    assert list(of_pipeline) == ['weak', 'strong', 'rotated']
    assert torch.equal(of_pipeline['rotated'][0], of_pipeline['weak'][0].rot90(1, (1, 2)))


def test_labels_have_one_form_in_training_and_stay_as_they_are_in_evaluation():
    samples = [DataSample().set_gt_label(label) for label in (3, 1, -1, 0, 2)]
    preprocessor = ViewPreprocessor(MEAN, STD)
    assert preprocessor(dict(inputs=images(), data_samples=samples), True)['data_samples'].tolist() == [3, 1, -1, 0, 2]
    evaluated = preprocessor(dict(inputs=images(), data_samples=samples), False)['data_samples']
    assert [type(sample) for sample in evaluated] == [DataSample] * 5
    with pytest.raises(InputError, match='only training images may lack one'):
        preprocessor(dict(inputs=images(), data_samples=torch.tensor([0, 1, -1, 0, 2])), False)
    with pytest.raises(InputError, match='5 images, but 4 labels'):
        preprocessor(dict(inputs=images(), data_samples=samples[:4]), True)


def test_channels_last_changes_the_memory_format_alone():
    batch = images()
    data = dict(inputs=batch, data_samples=torch.zeros(5, dtype=torch.long))
    last = ViewPreprocessor(MEAN, STD, channels_last=True)(data)['inputs']
    assert last.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last, expected(batch))


def test_it_adds_nothing_to_a_checkpoint():
    assert not ViewPreprocessor(MEAN, STD, views=VIEWS).state_dict()


@pytest.mark.parametrize(
    ('inputs', 'training', 'message'),
    [
        ([images(1, 8)[0], images(1, 9)[0]], False, r'different sizes \(8x8, 9x9\)'),
        ([[images()[0]], [images()[0]]], False, 'several views of an image where one is evaluated'),
        ([[images()[0]]] * 3, True, 'the pipeline makes 3 views, but view_names has only 2 names: weak, strong'),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), True, 'RGB images'),
    ],
)
def test_other_batches_are_refused(inputs, training, message):
    with pytest.raises(InputError, match=message):
        ViewPreprocessor(MEAN, STD)(dict(inputs=inputs, data_samples=None), training)


@pytest.mark.parametrize(
    ('mean', 'std', 'message'),
    [
        (MEAN, [0.0, 1.0, 1.0], 'the std above zero'),
        (MEAN, [1.0, 1.0], 'three numbers each'),
        (
            [0.485, 0.456, 0.406],
            [0.229, 0.224, 0.225],
            'of ViewPreprocessor is on the scale 0-1: .* multiply both by 255',
        ),
        (MEAN, [0.229, 0.224, 0.225], r'std=.* is on the scale 0-1'),
        ([0.485, 0.456, 0.406], [58.0] * 3, r'mean=.* is on the scale 0-1'),
    ],
)
def test_impossible_normalization_is_refused(mean, std, message):
    with pytest.raises(InputError, match=message):
        ViewPreprocessor(mean, std)


MIXUP = dict(augments=[dict(type='Mixup', alpha=1.0)])
CUTMIX = dict(augments=[dict(type='CutMix', alpha=1.0)])
SAME = dict(weak=[], dark=dict(of='weak', operations=[dict(type='Brightness', low=0.5, high=0.5)]))


def mixed(augments: dict, batch: torch.Tensor, labels: torch.Tensor, seed: int = 0) -> dict:
    preprocessor = ViewPreprocessor([0.0] * 3, [1.0] * 3, views=SAME, batch_augments=augments, num_classes=4)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return preprocessor(dict(inputs=batch, data_samples=labels), training=True)


def test_mixup_mixes_images_as_it_mixes_labels():
    """With an image of one brightness for each class, what an image shows is what its label says."""
    labels = torch.tensor([0, 1, 2, 3])
    batch = (10 * 4**labels).clamp(max=255).to(torch.uint8).view(4, 1, 1, 1).expand(4, 3, 8, 8).contiguous()
    out = mixed(MIXUP, batch, labels)
    shares = out['data_samples']
    assert shares.shape == (4, 4)
    assert ((shares > 0) & (shares < 1)).any()
    shown = shares @ torch.tensor([10.0, 40, 160, 255])
    torch.testing.assert_close(out['inputs']['weak'], shown.view(4, 1, 1, 1).expand(4, 3, 8, 8))


@pytest.mark.parametrize('augments', [MIXUP, CUTMIX], ids=['Mixup', 'CutMix'])
def test_all_views_are_mixed_alike(augments):
    """A view of half the brightness is mixed to half of what the other is mixed to."""
    batch = 2 * torch.randint(0, 128, (4, 3, 8, 8), dtype=torch.uint8)
    plain = batch.float()
    changed = 0
    for seed in range(4):
        out = mixed(augments, batch, torch.tensor([0, 1, 2, 3]), seed)['inputs']
        torch.testing.assert_close(2 * out['dark'], out['weak'])
        changed += not torch.equal(out['weak'], plain)
    assert changed


def test_evaluation_mixes_nothing():
    preprocessor = ViewPreprocessor(MEAN, STD, batch_augments=MIXUP, num_classes=4)
    batch = images(4)
    out = preprocessor(dict(inputs=batch, data_samples=torch.arange(4)), training=False)
    torch.testing.assert_close(out['inputs'], expected(batch))
    assert torch.equal(out['data_samples'], torch.arange(4))


def test_what_cannot_be_mixed():
    with pytest.raises(InputError, match='mixed labels are probabilities of classes: set num_classes'):
        ViewPreprocessor(MEAN, STD, batch_augments=MIXUP)
    preprocessor = ViewPreprocessor(MEAN, STD, batch_augments=MIXUP, num_classes=4)
    with pytest.raises(InputError, match='samples without one'):
        preprocessor(dict(inputs=images(2), data_samples=torch.tensor([-1, 0])), training=True)
    views = dict(weak=[], turned=dict(of='weak', operations=[dict(type='Rotations')]))
    preprocessor = ViewPreprocessor(MEAN, STD, views=views, batch_augments=MIXUP, num_classes=4)
    with pytest.raises(InputError, match=r'mixes all views alike.*\(2, 3, 8, 8\)'):
        preprocessor(dict(inputs=images(2), data_samples=torch.tensor([1, 0])), training=True)


def test_labels_of_pixels_pass_where_no_view_moves_the_images():
    labels = torch.zeros(2, 8, 8, dtype=torch.int64)
    data = dict(inputs=images(2), data_samples=labels)
    for training in (True, False):
        assert torch.equal(ViewPreprocessor(MEAN, STD)(dict(data), training)['data_samples'], labels)
    for options in (dict(views=VIEWS), dict(batch_augments=MIXUP, num_classes=4)):
        with pytest.raises(
            InputError, match='the labels are those of pixels, which views and batch_augments would not move'
        ):
            ViewPreprocessor(MEAN, STD, **options)(dict(data), training=True)
