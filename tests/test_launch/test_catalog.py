"""The lists of what there is; that everything is in them is the business of test_zoo.py."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from crld_zoo.errors import UnknownNameError
from crld_zoo.launch.catalog import Grid, catalog, grids, outside_of_grids

RECIPES = (
    'kd/kd_r56_r20_cifar100',
    'kd/kd_vgg13_vgg8_cifar100',
    'crld/kd+crld_r56_r20_cifar100',
    'dkd/tf_dkd_r56_r20_cifar100',
    'ls/tf_dkd+ls+crld_r56_r20_cifar100',
    'kd/kd_r4_r2_tiny_imagenet',
    'ce/ce_r20_cifar100',
    'ce/ce_r2_tiny_imagenet',
    'own/kd_r56_r20_folder',
)


@pytest.fixture
def configs(tmp_path) -> Path:
    """A small folder of recipes."""
    pairs = [
        f'_base_/pairs/{pair}'
        for pair in ('r56_r20_cifar100', 'vgg13_vgg8_cifar100', 'r4_r2_tiny_imagenet', 'r9_r7_cifar100')
    ]
    for name in (*RECIPES, *pairs):
        path = tmp_path / 'configs' / f'{name}.py'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'"""The recipe {name},\ntold."""\n')
    return tmp_path / 'configs'


def test_a_grid_for_each_data_set(configs):
    assert grids(configs) == [
        Grid(
            'cifar100',
            ['kd', 'kd+crld', 'tf_dkd', 'tf_dkd+ls+crld'],
            {('r56', 'r20'): {'kd', 'kd+crld', 'tf_dkd', 'tf_dkd+ls+crld'}, ('vgg13', 'vgg8'): {'kd'}},
        ),
        Grid('tiny_imagenet', ['kd'], {('r4', 'r2'): {'kd'}}),
    ]


def test_what_has_no_pair_stands_outside(configs):
    outside = outside_of_grids(configs)
    assert list(outside) == [
        f'configs/{name}.py' for name in ('ce/ce_r20_cifar100', 'ce/ce_r2_tiny_imagenet', 'own/kd_r56_r20_folder')
    ]
    assert outside['configs/ce/ce_r20_cifar100.py'] == 'The recipe ce/ce_r20_cifar100, told.'


def test_every_recipe_is_found_by_its_grid_or_stands_outside(root):
    configs = root / 'configs'
    in_grids = [
        f'{method}_{"_".join(pair)}_{grid.dataset}.py'
        for grid in grids(configs)
        for pair, methods in grid.recipes.items()
        for method in methods
    ]
    outside = [Path(name).name for name in outside_of_grids(configs)]
    names = Counter(Path(name).name for name in catalog('configs', configs))
    assert Counter(in_grids + outside) == names
    assert max(names.values()) == 1, 'configs/*/NAME.py would be two files'
    alone = ('ce_', 'tf_nkd_', 'uskd_', 'sskdhead_', 'kd_ema_')
    assert all(name.startswith(alone) or name.endswith(('_folder.py', '_few_labels.py')) for name in outside)


def test_an_unknown_kind(root):
    with pytest.raises(UnknownNameError, match=r"no list of 'view' .nearest: views"):
        catalog('view', root / 'configs')
