"""How configs are found and read."""

from __future__ import annotations

import pytest

from crld_zoo.config_files import CONFIGS, PREFIX, config_name, find_config, read_config
from crld_zoo.errors import InputError, MissingFileError

RECIPE = 'crld/dkd+crld_r34_r18_imagenet.py'


def test_a_recipe_is_found_by_its_name():
    assert find_config(PREFIX + RECIPE) == find_config(CONFIGS / RECIPE) == CONFIGS / RECIPE
    assert config_name(CONFIGS / RECIPE) == f'configs/{RECIPE}'


@pytest.mark.parametrize('name', [PREFIX + 'crld/dkd+crld_r34_r18_imagnet.py', 'dkd+crld_r34_r18_imagnet.py'])
def test_a_missing_one_names_the_nearest(name):
    with pytest.raises(
        MissingFileError, match=r'there is no config .*imagnet.py \(nearest: .*dkd\+crld_r34_r18_imagenet'
    ):
        find_config(name)


def test_recipes_are_bases_by_name(tmp_path):
    (tmp_path / 'mine.py').write_text(f"_base_ = '{PREFIX}{RECIPE}'\nmodel = dict(distiller=dict(tau_w=0.5))\n")
    mine, own = read_config(tmp_path / 'mine.py'), read_config(PREFIX + RECIPE)
    own.model.distiller.tau_w = 0.5
    assert mine.to_dict() == own.to_dict()
    (tmp_path / 'mine.py').write_text(f"_base_ = '{PREFIX}kd/no.py'\n")
    with pytest.raises(MissingFileError, match='no config crld_zoo::kd/no.py'):
        read_config(tmp_path / 'mine.py')


def test_a_missing_module_is_said_in_one_sentence(tmp_path):
    (tmp_path / 'mine.py').write_text("custom_imports = dict(imports=['no_such_module'])\n")
    with pytest.raises(InputError, match="imports of .*mine.py .*No module named 'no_such_module'.*PYTHONPATH"):
        read_config(tmp_path / 'mine.py')


@pytest.mark.parametrize('folder', ["it's mine", 'say "cheese"', 'back\\slash\\new', '{{x}} $HOME', 'Grüße'])
def test_images_lie_in_a_folder_of_any_name(tmp_path, monkeypatch, folder):
    for split in ('train', 'val'):
        for name in 'ab':
            (tmp_path / folder / split / name).mkdir(parents=True)
    monkeypatch.setenv('IMAGES', str(tmp_path / folder))
    cfg = read_config(PREFIX + 'your_data/dkd+crld_r34_r18_folder.py')
    assert cfg.train_dataloader.dataset.data_root == str(tmp_path / folder / 'train')
    cfg.dump(tmp_path / 'dumped.py')
    assert read_config(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()
