"""Named views: what they compose, what they draw, what they refuse."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from crld_zoo.errors import InputError, UnknownNameError
from crld_zoo.registry import VIEWS
from crld_zoo.views import PoolOperation, ViewOperation, Views

from .conftest import keys, noise

CROP_FLIP = [dict(type='RandomCrop', size=16, padding=2), dict(type='RandomFlip')]
PAIR = dict(weak=CROP_FLIP, strong=[*CROP_FLIP, dict(type='RandAugment'), dict(type='Cutout')])

DERIVED = dict(
    weak=CROP_FLIP,
    turned=dict(of='weak', operations=[dict(type='Rotations')]),
    changed=dict(of='turned', operations=[dict(type='RandAugment'), dict(type='Resize', size=12)]),
)


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_views_of_a_batch():
    images = noise(50, 16, 16)
    result = Views(PAIR)(images, keys(50))
    assert list(result) == ['weak', 'strong']
    assert all(view.shape == images.shape and view.dtype == torch.uint8 for view in result.values())
    assert not result['weak'].is_inference()


def test_any_number_of_views_with_any_names():
    views = Views({'plain': [], 'second.crop': CROP_FLIP, 'type': CROP_FLIP})
    images = noise(50, 16, 16)
    result = views(images, keys(50))
    assert list(result) == ['plain', 'second.crop', 'type'] and 'type' in views and 'weak' not in views
    assert torch.equal(result['plain'], images)
    assert result['plain'].data_ptr() != images.data_ptr()
    assert not torch.equal(result['second.crop'], result['type']), 'each view draws its own numbers'


@pytest.mark.parametrize('names', [['weak'], ['strong'], ['strong', 'weak']])
def test_a_view_does_not_depend_on_the_others(names):
    images = noise(20, 16, 16)
    every = Views(dict(PAIR, another=CROP_FLIP))(images, keys(20))
    some = Views(PAIR)(images, keys(20), names)
    alone = Views({name: PAIR[name] for name in names})(images, keys(20))
    assert set(some) == set(names)
    assert all(torch.equal(every[name], made[name]) for name in names for made in (some, alone))


@pytest.mark.parametrize('batch', [1, 64, 250])
def test_a_sample_has_its_view_in_any_batch(batch):
    images, of_all = noise(250, 16, 16), keys(250)
    order = torch.randperm(250)
    expected = Views(DERIVED)(images, of_all)
    views = Views(DERIVED)
    for index in order.split(batch)[:20]:
        own = of_all._replace(samples=of_all.samples[index], copies=of_all.copies[index])
        made = views(images[index], own)
        for name, view in expected.items():
            assert torch.equal(made[name], view.unflatten(0, (250, -1))[index].flatten(0, 1)), name


@pytest.mark.cuda
def test_a_sample_has_its_view_on_any_device():
    images, own = noise(64, 32, 32), keys(64)
    on_gpu = own._replace(samples=own.samples.cuda(), copies=own.copies.cuda())
    made, expected = Views(DERIVED)(images.cuda(), on_gpu), Views(DERIVED)(images, own)
    assert same({name: view.cpu() for name, view in made.items()}, expected)


def test_a_view_made_of_another():
    images = noise(10, 16, 16)
    made = Views(DERIVED)(images, keys(10), ['turned'])
    assert set(made) == {'weak', 'turned'}, 'what it is made of is made as well'
    assert made['turned'].shape == (30, 3, 16, 16)
    for row, view in enumerate(made['turned']):
        turns = row % 3 + 1
        assert torch.equal(view, made['weak'][row // 3].rot90(turns, (1, 2)))
    views = Views(DERIVED)
    assert [views.images_of(name) for name in views.names] == [1, 3, 3]
    assert [views.size_of(name) for name in views.names] == [(16, 16), (16, 16), (12, 12)]


def test_the_order_of_the_config_does_not_matter():
    # MMEngine sorts the keys of a config that it writes: the run of a comparison reads 'turned' before 'weak'
    images, own = noise(10, 16, 16), keys(10)
    assert same(Views(dict(sorted(DERIVED.items())))(images, own), Views(DERIVED)(images, own))
    assert list(dict(sorted(DERIVED.items()))) != list(DERIVED)


def test_each_image_of_a_sample_has_its_own_numbers():
    steps = [dict(type='Rotations'), dict(type='RandomFlip'), dict(type='Brightness', low=0, high=1)]
    made = Views(dict(dark=steps))(torch.full((200, 3, 4, 4), 200, dtype=torch.uint8), keys(200))['dark']
    darkness = made[:, 0, 0, 0].view(200, 3)
    assert (darkness[:, 0] != darkness[:, 1]).float().mean() > 0.9
    assert len(darkness.unique()) > 100


def test_ready_made_views_are_finished():
    images = dict(weak=noise(5, 16, 16), strong=noise(5, 16, 16))
    views = Views(
        dict(
            strong=[dict(type='Brightness', low=0, high=0)], turned=dict(of='weak', operations=[dict(type='Rotations')])
        ),
        given=('weak', 'strong'),
    )
    made = views(images, keys(5))
    assert torch.equal(made['weak'], images['weak']) and not made['strong'].any()
    assert torch.equal(made['turned'][0], images['weak'][0].rot90(1, (1, 2)))
    assert set(views(dict(strong=images['strong']), keys(5))) == {'strong'}


def test_operations_in_the_order_of_the_config():
    class Double(ViewOperation):
        def transform(self, images, uniform):
            return images * 2

    class AddOne(ViewOperation):
        def transform(self, images, uniform):
            return images + 1

    steps = [dict(type=Double), dict(type=AddOne)]
    result = Views(dict(a=steps, b=steps[::-1]))(torch.full((1, 3, 2, 2), 5, dtype=torch.uint8), keys(1))
    assert (result['a'] == 11).all() and (result['b'] == 12).all()


def test_views_are_a_function_of_the_keys():
    images, views = noise(40, 16, 16), Views(PAIR)
    first = views(images, keys(40, seed=1))
    views(noise(3, 30, 30), keys(3))  # whatever was drawn before
    assert same(views(images, keys(40, seed=1)), first)
    others = [keys(40, seed=2), keys(40, seed=1, epoch=1), keys(40, seed=1, first=40)]
    others.append(keys(40, seed=1)._replace(copies=torch.ones(40, dtype=torch.long)))
    assert not any(same(views(images, other), first) for other in others)


@pytest.mark.parametrize('twin', [copy.deepcopy, lambda views: pickle.loads(pickle.dumps(views))])
def test_copies(twin):
    """MMEngine's EMA hook copies the model."""
    images, views = noise(10, 16, 16), Views(PAIR)
    assert same(twin(views)(images, keys(10)), views(images, keys(10)))


def test_nothing_to_save_or_train():
    views = Views(PAIR)
    views(noise(2, 16, 16), keys(2))
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
    assert same(Views(PAIR)(images, keys(12)), Views(PAIR)(odd, keys(12)))


def test_large_batches_go_in_pieces(monkeypatch):
    """The CPU works on some images at a time; each still has its own numbers and its own place."""
    monkeypatch.setattr('crld_zoo.views.compose._PIECE', 3 * 16 * 16 * 7)
    images = noise(20, 16, 16)
    pieces = Views(dict(DERIVED, plain=[]))(images, keys(20))
    monkeypatch.undo()
    assert torch.equal(pieces['plain'], images)
    assert same(pieces, Views(dict(DERIVED, plain=[]))(images, keys(20)))


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
        result = views(torch.zeros(5, 3, 4, 4, dtype=torch.uint8), keys(5))
    finally:
        VIEWS.module_dict.pop('Shift')
    assert (result['a'] == 3).all() and (result['b'] == 6).all()


@pytest.mark.parametrize(
    ('views', 'message'),
    [
        ({}, 'a dict with a list of operations'),
        ([dict(type='RandomFlip')], 'a dict with a list of operations'),
        (dict(weak=dict(type='RandomFlip')), "view 'weak' must be a list of operations, or"),
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
        (dict(a=dict(of='a', operations=[])), "'a' of 'a': none is made of itself"),
        (dict(a=dict(of='b', operations=[]), b=dict(of='a', operations=[])), 'none is made of itself'),
        (dict(weak=[], a=dict(of='week', operations=[])), "view 'a' is made of 'week', .* the views are weak, a"),
        (dict(weak=[], a=dict(of='weak')), "view 'a' must be a list of operations, or dict"),
    ],
)
def test_refused_when_built(views, message):
    with pytest.raises(InputError, match=message):
        Views(views)


@pytest.mark.parametrize(
    ('name', 'near'),
    [('RandomCorp', 'RandomCrop'), ('randaugment', 'RandAugment'), ('CutOut', 'Cutout'), ('ShearZ', 'ShearX')],
)
def test_unknown_operation(name, near):
    with pytest.raises(UnknownNameError, match=f"view 'strong': unknown view operation '{name}' .*{near}"):
        Views(dict(strong=[dict(type=name)]))


def test_views_may_differ_in_size():
    made = Views(dict(weak=[], small=[dict(type='RandomCrop', size=8)]))(noise(2, 16, 16), keys(2))
    assert {name: tuple(view.shape) for name, view in made.items()} == dict(weak=(2, 3, 16, 16), small=(2, 3, 8, 8))


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
        Views(PAIR)(images, keys(2))
