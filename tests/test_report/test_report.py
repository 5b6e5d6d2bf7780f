"""The command that draws a report, on real runs; and the page in a real browser."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from mmengine.registry import VISBACKENDS

pytest.importorskip('matplotlib', reason="the extra 'report' is not installed")
pytest.importorskip('sklearn', reason="the extra 'report' is not installed")

from crld_zoo.errors import InputError, MissingFileError, UnknownNameError
from crld_zoo.launch import report as report_module
from crld_zoo.launch.config import load_config
from crld_zoo.launch.options import ConfigOptions
from crld_zoo.launch.report import find_runs, main, run_report
from crld_zoo.launch.student import load_student

from . import browser


class _Page(HTMLParser):
    """The tables of a page as text and values, and every address in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables, self.addresses, self.text = [], [], ''
        self._cell = None
        self.feed(text)

    def handle_starttag(self, tag, attributes) -> None:
        attributes = dict(attributes)
        self.addresses += [attributes[name] for name in ('src', 'href') if name in attributes]
        if tag == 'table':
            self.tables.append([])
        elif tag == 'tr':
            self.tables[-1].append([])
        elif tag in ('td', 'th'):
            self._cell = ''

    def handle_endtag(self, tag) -> None:
        if tag in ('td', 'th'):
            self.tables[-1][-1].append(self._cell)
            self._cell = None

    def handle_data(self, data) -> None:
        self.text += data
        if self._cell is not None:
            self._cell += data


@pytest.fixture(scope='module')
def page(runs, tmp_path_factory):
    """The page of all runs."""
    return run_report([runs], tmp_path_factory.mktemp('report'), samples=60)


@pytest.fixture(scope='module')
def parsed(page):
    return _Page(page.read_text(encoding='utf-8'))


def test_figures_are_files_in_both_forms(page):
    names = {'classes', 'confidence', 'curves', 'embeddings', 'reliability', 'similarity', 'terms'}
    for kind, start in (('png', b'\x89PNG'), ('pdf', b'%PDF')):
        files = list(page.parent.glob(f'figures/*.{kind}'))
        assert {file.stem for file in files} == names
        assert all(file.read_bytes().startswith(start) for file in files)


def test_the_page_needs_nothing_else(page, parsed):
    inside = [address for address in parsed.addresses if not address.startswith(('data:', '#', 'figures/'))]
    assert inside == []
    assert all((page.parent / address).is_file() for address in parsed.addresses if address.startswith('figures/'))
    assert not re.search(r'url\(|@import', page.read_text(encoding='utf-8'))


def test_the_table_is_mean_and_deviation_of_what_the_students_say(parsed, runs):
    last, best, cost = parsed.tables[:3]
    assert last[0][:5] == ['row', 'seeds', 'epochs', 'top-1 %', '− CE']
    for table, checkpoint in ((last, 'last'), (best, 'best')):
        shown, means = {row[0]: row for row in table[1:]}, {}
        for name in ('CE', 'DKD+CRLD'):
            top1 = []
            for seed in (0, 1):
                logits, labels = load_student(runs / name / f'seed_{seed}', checkpoint).outputs(split='test')
                top1.append(100 * (logits.argmax(1) == labels).double().mean().item())
            assert shown[name][1:4] == ['2', '2', f'{np.mean(top1):.2f} ± {np.std(top1, ddof=1):.2f}']
            means[name] = np.mean(top1)
        assert shown['CE'][4] == '-'
        assert shown['DKD+CRLD'][4].startswith(f'{means["DKD+CRLD"] - means["CE"]:+.2f} ± ')
    assert [row[0] for row in last[1:]] == ['CE', 'DKD+CRLD', 'teacher']
    assert [row[:2] for row in cost] == [['row', 'parameters'], ['CE', '78,042'], ['DKD+CRLD', '78,042']]


def test_classes_are_held_against_the_baseline(parsed):
    table = parsed.tables[3]
    assert table[0] == ['class', 'images', 'CE', 'DKD+CRLD', 'difference']
    assert [row[0] for row in table[1:]] == [str(digit) for digit in range(10)]
    assert sum(int(row[1]) for row in table[1:]) == 500
    for row in table[1:]:
        assert float(row[4]) == pytest.approx(float(row[3]) - float(row[2]), abs=0.11)


def test_what_was_measured_on_what_is_said(parsed):
    for words in (
        '4 runs in 2 rows on 500 test images of 10 classes',
        '60 test images of 10 of the 10 classes',
        'in the views of 50 training images',
        't-SNE',
        'labels_per_class=5',
        'PyTorch: ',
        'DKD+CRLD, seed 1: 2 of 2 epochs',
    ):
        assert words in parsed.text


def test_the_views_are_those_of_the_first_epoch(train, tmp_path, monkeypatch):
    """What the figure shows of the teacher's confidence is what the distiller's keep rate was in epoch 1."""
    options = {'model.distiller.tau_w': 0.3, 'model.distiller.tau_s': 0.3, 'default_hooks.logger.interval': 1}
    options |= {'log_processor.window_size': 1}
    folder = train('dkd+crld_r20_r8_digits', tmp_path / 'run', 3, epochs=1, **options)
    made = {}
    from crld_zoo.report import page

    monkeypatch.setattr(page, 'write_report', lambda report, out: made.update(report=report))
    run_report([folder], tmp_path / 'out', samples=60)
    report = made['report']
    assert report.thresholds == dict(weak=0.3, strong=0.3)
    for view, confidence in report.confidence.items():
        kept = report.rows[0].runs[0].history.train[f'keep_{view}'][1][0]
        assert (confidence >= 0.3).mean() == pytest.approx(kept), view
        assert 0 < kept < 1, 'the threshold tells images apart'


@pytest.fixture(scope='module')
def tab(page, tmp_path_factory):
    """The page in a browser."""
    command = browser.find()
    if command is None:
        pytest.skip('there is no Chromium (apt-get install chromium)')
    with browser.Browser(command, tmp_path_factory.mktemp('profile')) as tab:
        tab.open(page)
        yield tab


def test_a_browser_has_nothing_to_complain_of(tab):
    assert tab.complaints() == []
    images = tab.evaluate('[...document.images].map(image => image.complete && image.naturalWidth > 0)')
    assert len(images) > 7 and all(images)
    assert [address for address in tab.requests() if not address.startswith(('file:', 'data:'))] == []
    assert len([address for address in tab.requests() if address.startswith('file:')]) == 1, 'the page alone'


def test_a_browser_sorts_the_table(tab):
    def column(number: int) -> list[str]:
        script = "[...document.querySelectorAll('table')[0].tBodies[0].rows].map(row => row.cells[NUMBER].textContent)"
        return tab.evaluate(script.replace('NUMBER', str(number)))

    first = column(3)
    tab.click('table thead button', 3)
    down = column(3)
    tab.click('table thead button', 3)
    up = column(3)
    numbers = [float(text.split()[0]) for text in first]
    assert [float(text.split()[0]) for text in down] == sorted(numbers, reverse=True)
    assert up == down[::-1]
    tab.click('table thead button', 8)
    assert column(8)[-1] == '-', 'what has no value is last'
    tab.click('table thead button', 0)
    assert column(0) == ['CE', 'DKD+CRLD', 'teacher']
    assert tab.evaluate("document.querySelectorAll('th')[0].getAttribute('aria-sort')") == 'ascending'
    assert tab.complaints() == []


def test_a_browser_complaint_is_noticed(tab, tmp_path):
    """What the other tests rely on."""
    bad = tmp_path / 'bad.html'
    bad.write_text('<img src="none.png"><script>console.error("one"); throw new Error("two")</script>')
    tab.open(bad)
    assert len(tab.complaints()) == 3
    assert tab.evaluate('document.images[0].naturalWidth') == 0


def test_runs_are_found_alone_and_in_folders(runs):
    found, left_out = find_runs([runs / 'CE', runs / 'DKD+CRLD' / 'seed_1'])
    assert [(folder.row, folder.path.name) for folder in found] == [
        ('CE', 'seed_0'),
        ('CE', 'seed_1'),
        ('DKD+CRLD', 'seed_1'),
    ]
    assert left_out == []


@pytest.fixture
def copied(runs, tmp_path):
    """Copies of runs, to spoil."""

    def copy(run: str, to: str):
        return shutil.copytree(runs / run, tmp_path / to)

    return copy


def test_no_run(tmp_path, runs):
    with pytest.raises(MissingFileError, match=r'there is no run .*gone'):
        run_report([tmp_path / 'gone'], tmp_path / 'out')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputError, match=r'empty is no run and holds none'):
        run_report([runs, tmp_path / 'empty'], tmp_path / 'out')
    with pytest.raises(InputError, match=r'seed_0 is named twice'):
        run_report([runs / 'CE' / 'seed_0', runs], tmp_path / 'out')
    with pytest.raises(UnknownNameError, match=r"no row 'DKD' \(nearest: DKD\+CRLD"):
        run_report([runs], tmp_path / 'out', baseline='DKD')
    assert not (tmp_path / 'out').exists()


def test_no_finished_epoch(copied, tmp_path):
    run = copied('CE/seed_0', 'all/CE/seed_0')
    copied('CE/seed_1', 'all/CE/seed_1')
    for file in run.glob('*.pth'):
        file.unlink()
    with pytest.raises(InputError, match=r'seed_0 has no finished epoch: let'):
        run_report([run], tmp_path / 'out')
    found, left_out = find_runs([tmp_path / 'all'])
    assert [folder.path.name for folder in found] == ['seed_1']
    assert re.fullmatch(r'.*seed_0 has no finished epoch: it is left out\.', left_out[0])


def test_other_test_sets(train, runs, tmp_path):
    other = train('ce_r8_digits', tmp_path / 'other', **{'test_dataloader.dataset.split': 'train'})
    sentence = r'seed_0 and .*other have different test sets \(500 and 1,297 images\)'
    with pytest.raises(InputError, match=sentence):
        run_report([runs / 'CE', other], tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_as_many_other_images(copied, runs, tmp_path, monkeypatch):
    """Labels and number agree, and one pixel does not."""
    copied('CE/seed_0', 'other')
    held_out = report_module.Student.held_out

    def spoiled(self, *args, **kwargs):
        for images, labels in held_out(self, *args, **kwargs):
            if 'other' in str(self.checkpoint):
                images = images.clone()
                images[0, 0, 0] += 1
            yield images, labels

    monkeypatch.setattr(report_module.Student, 'held_out', spoiled)
    with pytest.raises(InputError, match=r'different test sets \(as many images, but others\)'):
        run_report([runs / 'CE', tmp_path / 'other'], tmp_path / 'out')


def test_seeds_of_a_row_have_one_config(copied, train, tmp_path):
    copied('CE/seed_0', 'a/CE/seed_0')
    train('ce_r8_digits', tmp_path / 'a' / 'CE' / 'seed_7', 7, epochs=1)
    with pytest.raises(InputError, match=r'seed_0 and .*seed_7 .* differ in train_cfg\.max_epochs: rename'):
        run_report([tmp_path / 'a'], tmp_path / 'out')
    copied('CE/seed_0', 'b/CE/seed_9')
    with pytest.raises(InputError, match=r'seed_0 and .*seed_9 are both seed 0 of the row CE'):
        run_report([tmp_path / 'a' / 'CE' / 'seed_0', tmp_path / 'b'], tmp_path / 'out')


def test_a_missing_teacher_and_an_unfinished_run_are_said(copied, teacher, tmp_path, capsys):
    run = copied('DKD+CRLD/seed_0', 'DKD+CRLD')
    config = next(path for path in run.glob('*.py') if path.name != 'student.py')
    text = config.read_text().replace(str(teacher), str(tmp_path / 'gone.pth')).replace('max_epochs=2', 'max_epochs=9')
    config.write_text(text)
    main([str(run), '-o', str(tmp_path / 'out'), '--samples', '30'])
    assert capsys.readouterr().out.strip() == str(tmp_path / 'out' / 'index.html')
    page = _Page((tmp_path / 'out' / 'index.html').read_text(encoding='utf-8'))
    assert re.search(r'A teacher is not there, and what it would say is left out: .*gone\.pth', page.text)
    assert 'DKD+CRLD, seed 0, stands at epoch 2 of 9.' in page.text
    assert 'agreement %' not in page.tables[0][0]
    assert not (tmp_path / 'out' / 'figures' / 'similarity.png').exists()
    assert ' ± ' not in page.tables[0][1][3], 'one seed has no deviation'


def test_the_page_of_the_documentation_is_true(root, tmp_path, monkeypatch):
    """Its Python runs, and each logger is one option that the command line takes."""
    text = (root / 'docs' / 'report.md').read_text(encoding='utf-8')
    monkeypatch.chdir(tmp_path)
    (python,) = re.findall(r'^```python\n(.*?)^```', text, re.MULTILINE | re.DOTALL)
    exec(python, {})
    assert (tmp_path / 'confidence.pdf').read_bytes().startswith(b'%PDF')
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    found = []
    for option in re.findall(r'^\|.*`(visualizer=.*?)` \|', text, re.MULTILINE):
        options = parser.parse_args(shlex.split(f'--cfg-options {option}')).cfg_options
        cfg = load_config('crld_zoo::quickstart/ce_r8_digits.py', cfg_options=options)
        backends = [backend.type for backend in cfg.visualizer.vis_backends]
        assert backends[0] == 'LocalVisBackend' and cfg.visualizer.type == 'UniversalVisualizer'
        found += [VISBACKENDS.get(backend).__name__ for backend in backends[1:]]
    assert found == ['TensorboardVisBackend', 'WandbVisBackend', 'MLflowVisBackend']


def test_the_extra_is_named_where_it_is_missing(runs, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    with pytest.raises(InputError, match=re.escape("pip install 'crld-zoo[report]'")):
        run_report([runs], tmp_path / 'out')
