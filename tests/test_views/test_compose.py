"""Named views: what they compose, which random numbers they draw, what they refuse."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from crld_zoo.errors import InputError, UnknownNameError
from crld_zoo.registry import VIEWS
from crld_zoo.views import PoolOperation, SampleKeys, ViewOperation, Views
from crld_zoo.views.keys import uniform

from .conftest import noise

CROP_FLIP = [dict(type='RandomCrop', size=16, padding=2), dict(type='RandomFlip')]
PAIR = dict(weak=CROP_FLIP, strong=[*CROP_FLIP, dict(type='RandAugment'), dict(type='Cutout')])


def keys(count: int) -> SampleKeys:
    """Of samples 100, 101, … in the third pass under seed 7."""
    return SampleKeys.of_batch(count, 3, 7, torch.device('cpu'))._replace(samples=torch.arange(100, 100 + count))


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_views_of_a_batch():
    images = noise(50, 16, 16)
    result = Views(PAIR, seed=0)(images)
    assert list(result) == ['weak', 'strong']
    assert all(view.shape == images.shape and view.dtype == torch.uint8 for view in result.values())
    assert not result['weak'].is_inference()


def test_any_number_of_views_with_any_names():
    views = Views({'plain': [], 'second.crop': CROP_FLIP, 'type': CROP_FLIP}, seed=0)
    images = noise(50, 16, 16)
    result = views(images)
    assert list(result) == ['plain', 'second.crop', 'type'] and 'type' in views and 'weak' not in views
    assert torch.equal(result['plain'], images)
    assert result['plain'].data_ptr() != images.data_ptr()
    assert not torch.equal(result['second.crop'], result['type']), 'each view draws its own numbers'


def test_a_view_does_not_depend_on_which_others_are_made():
    images = noise(20, 16, 16)
    both, alone = Views(PAIR, seed=3), Views(PAIR, seed=3)
    assert torch.equal(both(images, keys(20))['weak'], alone.make(['weak'], images, keys(20))['weak'])


def test_operations_in_the_order_of_the_config():
    class Double(ViewOperation):
        def transform(self, images, uniform):
            return images * 2

    class AddOne(ViewOperation):
        def transform(self, images, uniform):
            return images + 1

    steps = [dict(type=Double), dict(type=AddOne)]
    result = Views(dict(a=steps, b=steps[::-1]))(torch.full((1, 3, 2, 2), 5, dtype=torch.uint8))
    assert (result['a'] == 11).all() and (result['b'] == 12).all()


@pytest.mark.parametrize('size', [1, 7, 64])
def test_a_sample_has_the_same_view_at_any_batch_size(size):
    images, all_keys, views = noise(70, 16, 16), keys(70), Views(PAIR)
    whole = views(images, all_keys)
    for name, view in whole.items():
        parts = [
            views.make([name], images[start : start + size], all_keys.rows(slice(start, start + size)))[name]
            for start in range(0, 70, size)
        ]
        assert torch.equal(torch.cat(parts), view), name


def test_a_sample_has_the_same_view_in_any_order():
    images, all_keys, views = noise(40, 16, 16), keys(40), Views(PAIR)
    order = torch.randperm(40)
    shuffled = views(images[order], SampleKeys(*(column[order] for column in all_keys)))
    for name, view in views(images, all_keys).items():
        assert torch.equal(shuffled[name], view[order]), name


@pytest.mark.parametrize('column', SampleKeys._fields)
def test_every_part_of_the_key_counts(column):
    images, views = noise(40, 16, 16), Views(PAIR)
    other = keys(40)._replace(**{column: getattr(keys(40), column) + 1})
    assert not same(views(images, keys(40)), views(images, other))
    assert same(views(images, other), views(images, other))


def test_a_seed_of_its_own_takes_the_place_of_the_keys():
    images = noise(40, 16, 16)
    own = keys(40)._replace(seed=torch.full((40,), 9))
    assert same(Views(PAIR, seed=9)(images, keys(40)), Views(PAIR)(images, own))


def test_without_keys_each_call_is_a_pass_of_its_own():
    images, views, other = noise(40, 16, 16), Views(PAIR, seed=1), Views(PAIR, seed=1)
    first = views(images)
    assert same(first, other(images))
    assert not same(first, views(images))


def test_global_stream_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Views(PAIR)(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), keys(4))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_sample_draws_the_same_numbers_on_a_gpu():
    there = SampleKeys(*(column.cuda() for column in keys(64)))
    assert torch.equal(uniform(there, 'weak', 9).cpu(), uniform(keys(64), 'weak', 9))


def test_the_numbers_are_uniform_and_independent():
    """Over samples, passes, views, seeds and places; thresholds of about four standard errors."""
    count = 20_000
    base = SampleKeys.of_batch(count, 0, 0, torch.device('cpu'))
    numbers = {
        'weak': uniform(base, 'weak', 3),
        'strong': uniform(base, 'strong', 3),
        'next pass': uniform(base._replace(epoch=base.epoch + 1), 'weak', 3),
        'next seed': uniform(base._replace(seed=base.seed + 1), 'weak', 3),
        'next sample': uniform(base._replace(samples=base.samples + 1), 'weak', 3),
    }
    rows = torch.cat(list(numbers.values()))
    assert rows.dtype == torch.float64 and rows.min() >= 0 and rows.max() < 1
    assert ((rows.mean(1) - 0.5).abs() < 4 / (12 * count) ** 0.5).all()
    expected = count / 50
    for row in rows:
        chi_square = ((torch.histc(row, 50, 0, 1) - expected) ** 2 / expected).sum()
        assert 49 - 4.5 * 98**0.5 < chi_square < 49 + 4.5 * 98**0.5
    related = torch.corrcoef(rows[:12]) - torch.eye(12)  # the last three are the first ones, moved by one sample
    assert related.abs().max() < 4.5 / count**0.5
    assert torch.equal(numbers['next sample'][:, :-1], numbers['weak'][:, 1:])
    successive = torch.corrcoef(torch.stack([rows[0][:-1], rows[0][1:]]))[0, 1]
    assert abs(successive) < 4 / count**0.5
    assert len(set(rows[:12].flatten().tolist())) == 12 * count, 'no number comes twice'


def test_a_view_of_a_view():
    images = noise(5, 16, 16)
    views = Views(dict(PAIR, rotated=dict(of='weak', operations=[dict(type='Rotations')])))
    made = views(images, keys(5))
    assert made['rotated'].shape == (15, 3, 16, 16)
    for number, image in enumerate(made['weak']):
        for turn in range(3):
            assert torch.equal(made['rotated'][3 * number + turn], image.rot90(turn + 1, (1, 2)))
    assert torch.equal(views.make(['rotated'], images, keys(5))['rotated'], made['rotated'])


def test_views_of_different_sizes():
    views = Views(dict(weak=[dict(type='Resize', size=16)], small=[dict(type='Resize', size=8)]))
    made = views(noise(2, 32, 32), keys(2))
    assert [tuple(view.shape[2:]) for view in made.values()] == [(16, 16), (8, 8)]
    assert views.size_of('small') == (8, 8)


@pytest.mark.parametrize('spec', [dict(of='strongest', operations=[]), dict(of='rotated', operations=[])])
def test_a_view_of_no_view_is_refused(spec):
    with pytest.raises(InputError, match='which is no view of the image'):
        Views(dict(PAIR, rotated=spec))


@pytest.mark.parametrize('twin', [copy.deepcopy, lambda views: pickle.loads(pickle.dumps(views))])
def test_copies(twin):
    """MMEngine's EMA hook copies the model."""
    images, views = noise(10, 16, 16), Views(PAIR, seed=1)
    assert same(views(images, keys(10)), twin(views)(images, keys(10)))


def test_nothing_to_save_or_train():
    views = Views(PAIR, seed=1)
    views(noise(2, 16, 16))
    assert not views.state_dict() and not list(views.parameters()) and not list(views.buffers())


@pytest.mark.parametrize('layout', ['channels last', 'every other image', 'transposed'])
def test_layout_of_the_input(layout):
    images = noise(12, 16, 16)
    odd = dict(
        zip(
            ('channels last', 'every other image', 'transposed'),
            (
                images.contiguous(memory_format=torch.channels_last),
                images.repeat_interleave(2, 0)[::2],
                images.mT.contiguous().mT,
            ),
            strict=True,
        )
    )[layout]
    plain, strange = Views(PAIR, seed=1), Views(PAIR, seed=1)
    assert same(plain(images), strange(odd))


def test_large_batches_go_in_pieces(monkeypatch):
    """The CPU works on some images at a time; each still has its own numbers and its own place."""
    monkeypatch.setattr('crld_zoo.views.compose._PIECE', 3 * 16 * 16 * 7)
    images = noise(20, 16, 16)
    views = Views(dict(plain=[], weak=CROP_FLIP), seed=0)
    result = views(images)
    assert torch.equal(result['plain'], images) and len(result['weak']) == 20
    black = Views(dict(dark=[dict(type='Brightness', low=0, high=1)]), seed=0)(torch.full_like(images, 255))['dark']
    assert len(black[:, 0, 0, 0].unique()) > 15, 'pieces repeat each other'


def test_plugin_operations():
    class Shift(PoolOperation):
        """Add a constant."""

        def prepare(self, images, magnitude):
            return images + magnitude.to(torch.uint8).view(-1, 1, 1, 1)

    VIEWS.register_module(module=Shift)
    try:
        views = Views(
            dict(
                a=[dict(type='Shift', low=3, high=3)],
                b=[dict(type='RandAugment', num_ops=2, pool=[dict(type='Shift', low=3, high=3)])],
            )
        )
        result = views(torch.zeros(5, 3, 4, 4, dtype=torch.uint8))
    finally:
        VIEWS.module_dict.pop('Shift')
    assert (result['a'] == 3).all() and (result['b'] == 6).all()


@pytest.mark.parametrize(
    ('views', 'message'),
    [
        ({}, 'a dict with a list of operations'),
        ([dict(type='RandomFlip')], 'a dict with a list of operations'),
        (dict(weak=dict(type='RandomFlip')), "view 'weak' is a list of operations, or dict"),
        (dict(weak='RandomFlip'), "view 'weak' must be a list"),
        (dict(weak=['RandomFlip']), "an operation of view 'weak' must be a dict with a type"),
        (dict(weak=[dict(prob=0.5)]), "view 'weak': .* needs a type"),
        (
            dict(weak=[dict(type='RandomFlip', probability=0.5)]),
            "view 'weak': .*'RandomFlip' has no option 'probability'",
        ),
        (dict(weak=[dict(type='RandomCrop')]), "view 'weak': .*RandomCrop.*'?size'?"),
        (dict(weak=[dict(type='RandomCrop', size=0)]), "view 'weak': RandomCrop: size must be"),
        (dict(weak=[dict(type=torch.nn.ReLU)]), 'is not a ViewOperation'),
    ],
)
def test_refused_when_built(views, message):
    with pytest.raises(InputError, match=message):
        Views(views)


@pytest.mark.parametrize('seed', ['1', 1.5, True])
def test_impossible_seed(seed):
    with pytest.raises(InputError, match='seed must be a whole number'):
        Views(PAIR, seed=seed)


@pytest.mark.parametrize(
    ('name', 'near'),
    [('RandomCorp', 'RandomCrop'), ('randaugment', 'RandAugment'), ('CutOut', 'Cutout'), ('ShearZ', 'ShearX')],
)
def test_unknown_operation(name, near):
    with pytest.raises(UnknownNameError, match=f"view 'strong': unknown view operation '{name}' .*{near}"):
        Views(dict(strong=[dict(type=name)]))


@pytest.mark.parametrize(
    ('images', 'message'),
    [
        (torch.rand(2, 3, 16, 16), 'uint8 tensor .* not torch.float32'),
        (noise(2, 16, 16).numpy(), 'not ndarray'),
        (noise(2, 16, 16)[0], r'\(3, 16, 16\)'),
        (noise(2, 16, 16)[:, :1], r'\(2, 1, 16, 16\)'),
        (noise(2, 16, 16)[:0], r'\(0, 3, 16, 16\)'),
        (torch.zeros(2, 4, 16, 16, dtype=torch.uint8), r'\(2, 4, 16, 16\)'),
    ],
)
def test_wrong_images(images, message):
    with pytest.raises(InputError, match=message):
        Views(PAIR)(images)
