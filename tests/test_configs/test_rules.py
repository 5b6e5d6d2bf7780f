"""What every recipe keeps to: its name, its first lines, no default repeated, nothing from outside of ``configs``."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from mmengine.config import Config

from crld_zoo.config_files import read_config
from crld_zoo.launch import prepare
from crld_zoo.registry import DISTILLERS, MODELS, VIEWS

from .recipes import CONFIGS, LEAVES, METHODS, TABLES, load

DECORATORS = {'crld': 'CRLD', 'ls': 'LogitStandardization', 'sdd': 'SDD', 'dense': 'Dense'}
NETWORKS = {
    **{f'r{depth}': f'resnet{depth}' for depth in (8, 20, 32, 56, 110)},
    'r8x4': 'resnet8x4',
    'r32x4': 'resnet32x4',
    'wrn16-2': 'wrn_16_2',
    'wrn40-1': 'wrn_40_1',
    'wrn40-2': 'wrn_40_2',
    'vgg8': 'vgg8',
    'vgg13': 'vgg13',
    'mbv1': 'mobilenet_?v1',
    'mbv2': 'mobilenet_v2_half|mobilenet-v2',
    'shuv1': 'shufflenet_v1',
    'shuv2': 'shufflenet_v2|shufflenet-v2',
    'swin-t': 'swin-tiny',
    'swin-l': 'swin-large',
    'deit-t': 'deit-tiny|deit_tiny',
    'deit3-s': 'deit3-small',
    'vitl16-384': 'vit_large_patch16_384',
    'r18': 'resnet18|resnet-18',
    'r34': 'resnet34|resnet-34',
    'r50': 'resnet50|resnet-50',
    'r101': 'resnet101',
    'bit-r50': 'resnetv2_50x1_bit',
    'dl3-r101': 'deeplabv3_resnet101',
    'lraspp-mbv3': 'lraspp_mobilenet_v3_large',
    'bit-r152x2': 'resnetv2_152x2_bit',
    'regnety-16gf': 'regnety_160',
    'regnetx-1.6gf': 'regnetx-1.6gf',
    'r56-300e': 'resnet56',
    't2t-7': 't2t_vit',
    'pit-t': 'pit_ti',
    'pvt-t': 'pcpvt',
    'ema': 'ema',
}
DATASETS = ('voc', 'cifar100', 'tiny_imagenet', 'imagenet', 'digits', 'folder', 'few_labels')
NAME = re.compile(
    rf'(?P<method>{"|".join(METHODS)})(?:\+(?P<decorator>{"|".join(DECORATORS)}))?'
    rf'(?:_(?P<teacher>[^_]+))?_(?P<student>(?!tiny_)[^_]+)_(?P<dataset>{"|".join(DATASETS)})'
)
FOLDERS = {'ce': 'cross_entropy', 'crld': 'crld', 'ls': 'logit_standardization', 'seq_kd': 'logit_mse'}
OF_NO_METHOD = ('function_matching', 'mean_teacher', 'quickstart', 'takd', 'your_data')
PUBLISHED = [name for name in LEAVES if name.split('/')[0] not in ('quickstart', 'your_data')]


def docstring(name: str) -> list[str]:
    return ast.get_docstring(ast.parse(LEAVES[name].read_text(encoding='utf-8'))).splitlines()


def architecture(network: str | dict) -> str:
    """The name of a student or teacher in the words of its source."""
    if isinstance(network, dict):
        if network.get('type') == 'EMATeacher':
            return 'ema'
        if 'model' in network:
            return architecture(network['model'])
        if 'model_name' in network:
            return network['model_name']
        backbone = network['backbone']
        return '-'.join([backbone['type'], *([str(backbone['depth'])] if 'depth' in backbone else [])]).lower()
    return network.split('::')[-1]


@pytest.mark.parametrize('name', LEAVES)
def test_name_says_what_it_is(name):
    parts = NAME.fullmatch(Path(name).name)
    assert parts, f'{name} is not <method>[+<decorator>]_<teacher>_<student>_<dataset>'
    cfg = load(name)
    distiller = cfg.model.distiller
    if parts['decorator']:
        assert distiller.type == DECORATORS[parts['decorator']]
        distiller = distiller.distiller
    assert distiller.type == METHODS[parts['method']]
    assert bool(cfg.model.get('teacher')) == (parts['teacher'] is not None)
    for role in ('teacher', 'student'):
        if parts[role]:
            known = NETWORKS[parts[role]]
            assert re.fullmatch(f'(?:{known})(?:[-_.].*)?', architecture(cfg.model[role])), (role, known)
    key = parts['decorator'] or parts['method']
    assert name.split('/')[0] in (FOLDERS.get(key, key), *OF_NO_METHOD)


@pytest.mark.parametrize('name', LEAVES)
def test_first_lines_end_with_the_command(name):
    lines = docstring(name)
    assert lines[0].endswith('.') and len(lines[0]) <= 117
    assert lines[1] == '' and lines[-2] == ''
    assert lines[-1] == f'python tools/train.py configs/{name}.py'


@pytest.mark.parametrize('name', PUBLISHED)
def test_first_lines_name_the_source(name):
    lines = docstring(name)
    for label in ('Source: ', 'Deviation: ', 'Published top-1: '):
        assert sum(line.startswith(label) for line in lines) == 1, label
    assert any('arXiv' in line or 'CVPR' in line or 'no paper known' in line for line in lines)


def defaults_repeated(config: dict, build) -> list[str]:
    """Options of one configured module, or of those inside it, that are its defaults."""
    parameters = inspect.signature(build(config['type'])).parameters
    found = [
        f'{config["type"]}.{key}'
        for key, value in config.items()
        if key in parameters and parameters[key].default == value
    ]
    return found + (defaults_repeated(config['distiller'], build) if 'distiller' in config else [])


@pytest.mark.parametrize('name', [name for name in LEAVES if not name.startswith('quickstart/')])
def test_no_default_is_repeated(name):
    model = load(name).model
    found = defaults_repeated(model.distiller, DISTILLERS.get)
    if model.get('teacher'):
        found += defaults_repeated({'type': 'Teacher', **model.teacher}, MODELS.get)
    if model.data_preprocessor.type == 'ViewPreprocessor':
        found += defaults_repeated(model.data_preprocessor, MODELS.get)
        for view in (model.data_preprocessor.get('views') or {}).values():
            operations = view['operations'] if isinstance(view, dict) else view
            found += [repeated for operation in operations for repeated in defaults_repeated(operation, VIEWS.get)]
    assert not found


@pytest.mark.parametrize('path', sorted(CONFIGS.rglob('*.py')), ids=lambda path: str(path.relative_to(CONFIGS)))
def test_nothing_is_inherited_from_outside(path):
    for line in (node for node in ast.parse(path.read_text(encoding='utf-8')).body if isinstance(node, ast.Assign)):
        if getattr(line.targets[0], 'id', None) == '_base_':
            bases = ast.literal_eval(line.value)
            for base in [bases] if isinstance(bases, str) else bases:
                assert (path.parent / base).resolve().is_relative_to(CONFIGS)
                assert (path.parent / base).is_file()
    assert ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))


@pytest.mark.parametrize('path', sorted((CONFIGS / '_base_' / 'pairs').glob('*.py')), ids=lambda path: path.stem)
def test_a_pair_says_which_one_it_is(path):
    assert Config.fromfile(path).pair == path.stem


def test_every_base_is_used():
    used = {
        (path.parent / base).resolve()
        for path in CONFIGS.rglob('*.py')
        for base in re.findall(r"'([\w./+-]+\.py)'", path.read_text(encoding='utf-8'))
    }
    assert set((CONFIGS / '_base_').rglob('*.py')) <= used


@pytest.mark.parametrize('name', LEAVES)
def test_batch_that_the_learning_rate_is_for_is_known(name):
    cfg = load(name)
    assert cfg.auto_scale_lr.base_batch_size > 0
    if not cfg.auto_scale_lr.get('enable'):
        assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size
    assert cfg.train_cfg.type == 'EpochBasedTrainLoop'


def test_teachers_are_what_other_recipes_leave():
    """A checkpoint under work_dirs is the last one of a recipe that trains this very network on this data."""
    for name in LEAVES:
        cfg = load(name)
        checkpoint = (cfg.model.get('teacher') or {}).get('checkpoint') or ''
        if checkpoint.startswith('work_dirs/'):
            _, run, file = checkpoint.split('/')
            (recipe,) = [other for other in LEAVES if Path(other).name == run]
            maker = load(recipe)
            assert file == f'epoch_{maker.train_cfg.max_epochs}.pth', name
            assert architecture(maker.model.student).replace('-', '') in architecture(cfg.model.teacher), name
            assert maker.train_dataloader.dataset.type == cfg.train_dataloader.dataset.type, name
            if expected := cfg.model.teacher.get('expected_top1'):
                assert any(line.startswith(f'Published top-1: {expected:.2f}') for line in docstring(recipe)), name


@pytest.mark.parametrize('method, pair', TABLES)
def test_two_lines_give_a_pair_the_values_of_its_table(method, pair, tmp_path):
    bases = [name for name in LEAVES if Path(name).name == f'kd_{pair}']
    if not bases:
        assert any(Path(name).name == f'{method}_{pair}' for name in LEAVES), 'a pair in no recipe'
        return
    mine = tmp_path / 'mine.py'
    mine.write_text(
        f"_base_ = ['{CONFIGS}/{bases[0]}.py', '{CONFIGS}/_base_/methods/{method}.py']\n"
        f'model = dict(distiller=dict(_delete_=True, **_base_.{method.replace("+", "_")}[_base_.pair]))\n',
        encoding='utf-8',
    )
    model = read_config(mine).model
    assert model.distiller == TABLES[method, pair]
    assert model.student == load(bases[0]).model.student
    assert not defaults_repeated(model.distiller, DISTILLERS.get)
    prepare(read_config(mine))


@pytest.mark.parametrize('document', ['README.md', 'docs/recipes.md'])
def test_two_line_configs_of_the_documents_load(root, tmp_path, document):
    blocks = [
        block
        for block in re.findall(r'```python\n(.*?)```', (root / document).read_text(encoding='utf-8'), re.S)
        if block.startswith('_base_')
    ]
    assert blocks
    for block in blocks:
        assert len(block.splitlines()) == 2
        mine = tmp_path / 'mine.py'
        mine.write_text(block.replace("'configs/", f"'{root}/configs/"), encoding='utf-8')
        DISTILLERS.build(Config.fromfile(mine).model.distiller)


@pytest.mark.parametrize('name', LEAVES)
def test_every_option_of_every_part_is_one_that_it_has(name):
    prepare(load(name))


@pytest.mark.parametrize('name', [name for name in LEAVES if name.startswith('sskd/')])
def test_a_projection_head_is_where_its_recipe_puts_it(name):
    cfg = load(name)
    _, recipe, file = Path(cfg.model.distiller.head).parts
    maker = load(f'sskdhead/{recipe}')
    assert file == f'epoch_{maker.train_cfg.max_epochs}.pth'
    assert (maker.model.student.model, maker.model.student.checkpoint) == (
        cfg.model.teacher.model,
        cfg.model.teacher.checkpoint,
    )
    assert maker.model.data_preprocessor.views.rotated == cfg.model.data_preprocessor.views.rotated
