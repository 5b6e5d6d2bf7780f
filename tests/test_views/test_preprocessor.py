"""ViewPreprocessor: from every form of a batch to normalized views."""

from __future__ import annotations

import pytest
import torch
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample

from crld_zoo.errors import InputError
from crld_zoo.views import ViewPreprocessor
from crld_zoo.views.preprocessor import targets

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
    data = dict(inputs=[list(weak), list(strong)], data_samples=[DataSample().set_gt_label(0) for _ in weak])
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
    views = preprocessor(dict(inputs=images(), data_samples=torch.zeros(5).long()), training=True)['inputs']
    assert list(views) == ['weak', 'strong']
    assert views['weak'].shape == views['strong'].shape == (5, 3, 8, 8)
    assert not torch.equal(views['weak'], views['strong'])


def test_views_that_nobody_needs_are_not_made():
    data = dict(inputs=images(), data_samples=torch.zeros(5).long())
    both, one = (ViewPreprocessor(MEAN, STD, views=VIEWS, seed=0) for _ in range(2))
    one.needed_views = ('weak',)
    views = one(data, training=True)['inputs']
    assert list(views) == ['weak']
    assert torch.equal(views['weak'], both(data, training=True)['inputs']['weak'])
    multi_view = dict(inputs=[list(images()), list(images())], data_samples=torch.zeros(5).long())
    assert list(one(multi_view, training=True)['inputs']) == ['weak']


def test_cropped_views_are_finished_on_the_device():
    preprocessor = ViewPreprocessor(MEAN, STD, views=dict(strong=[dict(type='Cutout')]), seed=0)
    weak, strong = images(), torch.zeros(5, 3, 8, 8, dtype=torch.uint8)
    data = dict(inputs=[list(weak), list(strong)], data_samples=torch.zeros(5).long())
    views = preprocessor(data, training=True)['inputs']
    torch.testing.assert_close(views['weak'], expected(weak))
    assert not torch.allclose(views['strong'], expected(strong)), 'Cutout fills some of the black images with gray'


def test_views_follow_the_keys_and_not_the_history():
    def view(preprocessor, epoch):
        keys = torch.stack([torch.zeros(5), torch.full((5,), epoch), torch.arange(5), torch.zeros(5)], dim=1).long()
        data = dict(inputs=batch, data_samples=torch.zeros(5).long(), sample_keys=keys)
        return preprocessor(data, training=True)['inputs']['strong']

    batch = images()
    first, resumed = (ViewPreprocessor(MEAN, STD, views=VIEWS) for _ in range(2))
    history = [view(first, epoch) for epoch in range(3)]
    assert torch.equal(view(resumed, 2), history[2])
    assert not torch.equal(history[1], history[2])
    assert not torch.equal(view(ViewPreprocessor(MEAN, STD, views=VIEWS, seed=1), 2), history[2])


@pytest.mark.parametrize('collated', [True, False])
def test_who_names_the_views_gets_the_keys(collated):
    rows = torch.tensor([[7, 3, number, 0] for number in (11, 5)])
    data = dict(inputs=images(2), data_samples=torch.zeros(2).long(), sample_keys=rows if collated else list(rows))
    preprocessor = ViewPreprocessor(MEAN, STD, views=VIEWS)
    assert 'keys' not in preprocessor(data, training=True)
    preprocessor.needed_views = ('weak',)
    keys = preprocessor(data, training=True)['keys']
    assert keys.samples.tolist() == [11, 5] and keys.epoch.tolist() == [3, 3] and keys.seed.tolist() == [7, 7]
    del data['sample_keys']
    assert preprocessor(data, training=True)['keys'] is None


def with_labels(*labels) -> list[DataSample]:
    return [DataSample().set_gt_label(label) for label in labels]


@pytest.mark.parametrize(
    ('labels', 'sentence'),
    [
        (with_labels([0, 2], [1]), 'a sample has 2 labels'),
        (with_labels([0, 2], []), 'labels, and a classifier learns one class an image'),
        (torch.eye(3).long(), 'these are int64 of shape'),
        (torch.zeros(3, 1).long(), 'these are int64 of shape'),
        (torch.tensor([[1.0, 1.0, 0.0]]), 'rows of numbers that do not sum to 1'),
        (torch.tensor([[1.5, -0.5, 0.0]]), 'rows of numbers that do not sum to 1'),
        (torch.tensor([0.0, 1.0]), 'these are float32 of shape'),
        (torch.tensor([0, -100]), 'these are -100, and only -1 has a meaning below 0'),
        (torch.tensor([True, False]), 'these are bool of shape'),
    ],
    ids=['two', 'two and none', 'one-hot', 'a column', 'sum 2', 'below 0', 'float', '-100', 'bool'],
)
def test_labels_that_are_not_one_class_an_image_are_refused(labels, sentence):
    with pytest.raises(InputError, match=sentence):
        targets(labels)


def test_labels_have_one_form():
    assert targets(with_labels(2, 0)).tolist() == targets(torch.tensor([2, 0], dtype=torch.int32)).tolist() == [2, 0]
    assert targets(torch.tensor([-1, 0])).tolist() == [-1, 0]
    mixed = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    assert targets(mixed) is mixed
    assert torch.equal(targets([DataSample().set_gt_score(row) for row in mixed]), mixed)


@pytest.mark.parametrize('options', [dict(mean=[0.5] * 3, std=[0.25] * 3), dict(mean=[0.0] * 3, std=[0.99, 0.9, 0.5])])
def test_a_normalization_on_the_scale_of_0_to_1_is_refused(options):
    with pytest.raises(InputError, match='on the scale 0-1.*multiply both by 255'):
        ViewPreprocessor(**options)


def test_channels_last_changes_the_memory_format_alone():
    batch = images()
    data = dict(inputs=batch, data_samples=torch.zeros(5).long())
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


def test_impossible_normalization_is_refused():
    with pytest.raises(InputError, match='finite numbers, the std above zero|three numbers each'):
        ViewPreprocessor(MEAN, [0.0, 1.0, 1.0])
