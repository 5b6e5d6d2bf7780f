"""What a compare file asks for, and what it may not."""

from __future__ import annotations

import pytest

from crld_zoo.config_files import CONFIGS
from crld_zoo.errors import InputError, MissingFileError, UnknownNameError
from crld_zoo.launch.compare_file import check_unchanged, read_comparison, read_record, write_json, write_record

CE, KD = 'crld_zoo::quickstart/ce_r8_digits.py', 'crld_zoo::quickstart/kd_r20_r8_digits.py'
CRLD = 'crld_zoo::quickstart/dkd+crld_r20_r8_digits.py'
FILE = f"""
seeds = [3, 1]
share = dict(cfg_options={{'train_cfg.max_epochs': 2, 'model.teacher.expected_top1': 90.0}})
rows = {{
    'CE': '{CE}',
    'KD': dict(recipe='{KD}', cfg_options={{'train_cfg.max_epochs': 3, 'model.distiller.temperature': 2.0}}, seeds=[1]),
}}
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / 'mine.py'
        path.write_text(text)
        return path

    return write


def test_runs_have_their_options_seeds_and_folders(file, tmp_path):
    comparison = read_comparison(file(FILE), tmp_path / 'work', cfg_options={'train_dataloader.batch_size': 5})
    assert comparison.reference == {'KD': 'CE'} and comparison.rows == ['CE', 'KD']
    runs = {(run.row, run.seed): run for run in comparison.runs}
    assert list(runs) == [('CE', 3), ('CE', 1), ('KD', 1)]
    ce, kd = runs['CE', 1].config, runs['KD', 1].config
    assert (ce.train_cfg.max_epochs, kd.train_cfg.max_epochs) == (2, 3), 'a row goes before what is shared'
    assert ce.train_dataloader.batch_size == kd.train_dataloader.batch_size == 5
    assert kd.model.distiller.temperature == 2.0 and kd.model.teacher.expected_top1 == 90.0
    assert ce.model.get('teacher') is None, 'what is shared by teachers leaves a row without one alone'
    assert ce.randomness.seed == 1 and runs['CE', 3].config.randomness.seed == 3
    assert runs['KD', 1].folder == tmp_path / 'work' / 'KD' / 'seed_1' and kd.work_dir == str(runs['KD', 1].folder)
    assert runs['CE', 1].teacher == runs['KD', 1].teacher, 'all students are held against the one teacher'
    (alone,) = read_comparison(file(FILE), rows=['CE'], seeds=[1]).runs
    assert alone.teacher == runs['CE', 1].teacher, 'whichever rows are trained now'


def test_a_student_that_is_its_own_teacher_is_held_against_that_of_the_others(file):
    average = "{'model.teacher': dict(_delete_=True, type='EMATeacher', decay=0.9)}"
    text = FILE.replace('rows = {', f"rows = {{'EMA': dict(recipe='{KD}', cfg_options={average}),")
    runs = read_comparison(file(text), cfg_options={'model.teacher.cache': 'kept'}).runs
    ema, kd = (next(run for run in runs if run.row == row) for row in ('EMA', 'KD'))
    assert ema.config.model.teacher == dict(type='EMATeacher', decay=0.9), 'no option of a trained teacher is one of it'
    assert ema.teacher == kd.teacher != ema.config.model.teacher


def test_the_folder_is_named_like_the_file(file):
    assert str(read_comparison(file(FILE)).work_dir) == 'work_dirs/mine'


def test_rows_and_seeds_are_chosen(file):
    chosen = read_comparison(file(FILE), rows=['CE'], seeds=[1]).runs
    assert [run.name for run in chosen] == ['CE, seed 1']


def test_a_shared_cache_is_one_folder_for_what_sees_the_same_views(file):
    text = f"""
seeds = [0, 1]
share = dict(cfg_options={{'model.teacher.cache': 'kept'}})
other = {{'model.data_preprocessor.views.weak': []}}
rows = {{'CE': '{CE}', 'KD': '{KD}', 'CRLD': '{CRLD}', 'views': dict(recipe='{KD}', cfg_options=other),
        'AT': dict(recipe='{KD}', cfg_options={{'model.distiller': dict(_delete_=True, type='AT')}}),
        'student': dict(recipe='{KD}', cfg_options={{'model.student.model': 'crld_zoo::resnet20'}})}}
"""
    runs = {(run.row, run.seed): run.config.model for run in read_comparison(file(text)).runs}
    assert runs['CE', 0].get('teacher') is None
    assert 'cache' not in runs['AT', 0].teacher, 'its method looks inside of the teacher'
    folders = {key: model.teacher.cache for key, model in runs.items() if key[0] not in ('CE', 'AT')}
    assert folders['KD', 0] == folders['CRLD', 0] == folders['student', 0]
    assert len({folders['KD', 0], folders['KD', 1], folders['views', 0]}) == 3
    assert all(folder.startswith('kept/') for folder in folders.values())
    same_data = read_comparison(file(text), rows=['KD'], cfg_options={'train_cfg.data_seed': 7}).runs
    assert same_data[0].config.model.teacher.cache == same_data[1].config.model.teacher.cache
    half = {'model.teacher.cache': dict(_delete_=True, folder='half', dtype='float16')}
    caches = [
        run.config.model.teacher.cache
        for run in read_comparison(file(text), rows=['KD', 'CRLD'], cfg_options=half).runs
    ]
    assert caches[0] == caches[1] and caches[2] == caches[3]
    assert all(cache.dtype == 'float16' and cache.folder.startswith('half/') for cache in caches)
    assert caches[0].folder != caches[2].folder


def test_labels_that_are_left_out_decide_no_prediction_of_the_teacher(file):
    text = f"""
share = dict(cfg_options={{'model.teacher.cache': 'kept'}})
data = 'train_dataloader.dataset'
rows = {{'five': dict(recipe='{KD}', cfg_options={{f'{{data}}.others': 'unlabeled'}}),
        'nine': dict(recipe='{KD}', cfg_options={{f'{{data}}.others': 'unlabeled', f'{{data}}.labels_per_class': 9}}),
        'alone': dict(recipe='{KD}', cfg_options={{f'{{data}}.others': 'drop'}})}}
"""
    folders = [run.config.model.teacher.cache for run in read_comparison(file(text)).runs]
    assert folders[0] == folders[1] != folders[2]


@pytest.mark.parametrize(
    ('old', 'new', 'kind', 'says'),
    [
        ('kd_r20_r8', 'kdd_r20_r8', MissingFileError, "the row 'KD': there is no config .*kdd.*nearest: .*kd_r20_r8"),
        ("'KD':", "'CE':", InputError, "line 4: 'CE' stands there twice"),
        ('[3, 1]', '[3, 1, 3]', InputError, "the seed 3 of the row 'CE' stands there twice"),
        ('seeds=[1]', 'seeds=[1.5]', InputError, "seeds of the row 'KD': a list of whole numbers"),
        ('seeds=[1]', 'seed=[1]', UnknownNameError, "the row 'KD' .* no option 'seed' .*nearest: seeds"),
        ("'CE':", "'a/CE':", InputError, "the row 'a/CE' names a folder"),
        ('temperature', 'temprature', UnknownNameError, "the row 'KD': .*'temprature'.*nearest: temperature"),
        ('max_epochs', 'max_epoch', UnknownNameError, "the row 'CE': .*'max_epoch'.*nearest: max_epochs"),
        ('rows =', 'row =', InputError, 'is no compare file'),
        ('seeds = ', "reference = 'KDD'\nseeds = ", UnknownNameError, "no row 'KDD' .*nearest: KD"),
    ],
)
def test_a_bad_file_gets_one_sentence(file, old, new, kind, says):
    with pytest.raises(kind, match=says) as error:
        read_comparison(file(FILE.replace(old, new)))
    assert '\n' not in str(error.value)


def test_bad_choices_get_one_sentence(file):
    path = file(FILE)
    with pytest.raises(UnknownNameError, match="--rows: there is no row 'DK' .nearest: KD"):
        read_comparison(path, rows=['DK'])
    with pytest.raises(InputError, match='no row has the seed 7, only'):
        read_comparison(path, seeds=[7])
    with pytest.raises(InputError, match='a seed stands there twice'):
        read_comparison(path, seeds=[1, 1])
    with pytest.raises(MissingFileError, match='there is no config'):
        read_comparison(path.with_name('yours.py'))


def test_a_run_of_another_config_is_refused(file, tmp_path):
    path = file(FILE)
    (run,) = read_comparison(path, tmp_path / 'work', rows=['KD']).runs
    check_unchanged(run)
    write_record(run)
    check_unchanged(
        read_comparison(path, tmp_path / 'work', rows=['KD'], cfg_options={'train_cfg.max_epochs': 9}).runs[0]
    )
    (run.folder / 'epoch_1.pth').touch()  # from here on there is something to mix
    check_unchanged(run)
    assert read_record(run.folder)['seed'] == 1
    record = read_record(run.folder)
    record['config']['pair'] = "'r20_r8'"  # a variable of a recipe's base, which nobody reads
    write_json(record, run.folder / 'run.json')
    cached = {'model.teacher.cache': 'kept', 'log_level': 'ERROR'}  # the same numbers
    check_unchanged(read_comparison(path, tmp_path / 'work', rows=['KD'], cfg_options=cached).runs[0])
    (other,) = read_comparison(file(FILE.replace('2.0', '2.5')), tmp_path / 'work', rows=['KD']).runs
    with pytest.raises(InputError, match='model.distiller.temperature was 2.0 and is 2.5.*new name'):
        check_unchanged(other)


def test_a_run_whose_teacher_has_other_weights_is_refused(file, tmp_path):
    weights, hub = tmp_path / 'teacher.pth', tmp_path / 'hub'
    hub.mkdir()
    for path, content in ((weights, 'first'), (hub / 'config.json', '{}'), (hub / 'model.safetensors', 'first')):
        path.write_text(content)
    named = {'model.teacher.checkpoint': str(weights), 'model.teacher.size': None, 'model.teacher.model': str(hub)}
    path = file(FILE)

    def runs():
        return read_comparison(path, tmp_path / 'work', seeds=[1], cfg_options=named).runs

    ce, kd = runs()
    for run in (ce, kd):
        write_record(run)
        (run.folder / 'epoch_1.pth').touch()
        check_unchanged(run)
    (hub / 'model.safetensors').write_text('second')
    with pytest.raises(InputError, match=rf'the file {hub} was [0-9a-f]{{8}}… and is .*delete that folder'):
        check_unchanged(kd)
    (hub / 'model.safetensors').write_text('first')
    weights.write_text('second')
    check_unchanged(ce)  # is only measured against it, and was not yet
    for run in (ce, kd):
        (run.folder / 'results.json').write_text('{}')
    with pytest.raises(InputError, match=rf'trained with another config .*the file {weights} was'):
        check_unchanged(kd)
    with pytest.raises(InputError, match=rf'measured against another teacher .*the file {weights} was.*results.json'):
        check_unchanged(ce)
    record = read_record(kd.folder)
    del record['files']  # as earlier versions wrote it
    write_json(record, kd.folder / 'run.json')
    check_unchanged(kd)


@pytest.mark.parametrize('path', sorted((CONFIGS / 'compare').glob('*.py')), ids=lambda path: path.stem)
def test_our_own_files_are_read(path, tmp_path):
    splits = () if path.stem == 'quickstart' else ('train', 'val', 'test')  # scikit-learn brings its images
    here = {f'{split}_dataloader.dataset.data_root': str(tmp_path) for split in splits}
    comparison = read_comparison(path, seeds=[0], cfg_options=here)
    assert set(comparison.reference.values()) <= set(comparison.rows)
    assert len({run.folder for run in comparison.runs}) == len(comparison.runs)


def test_a_training_of_somebody_else_is_refused(file, tmp_path):
    (run, *_) = read_comparison(file(FILE), tmp_path / 'work').runs
    run.folder.mkdir(parents=True)
    (run.folder / 'epoch_1.pth').touch()
    with pytest.raises(InputError, match='holds a training that is not of a comparison'):
        check_unchanged(run)
