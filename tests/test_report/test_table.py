"""The table of rows and seeds in each of its forms."""

from __future__ import annotations

import csv
import json
import re

import pytest

from crld_zoo.errors import InputError, UnknownNameError
from crld_zoo.report import FORMATS, format_table, summarize


def run(row, seed, last, best, **more):
    return dict(row=row, seed=seed, last_top1=last, best_top1=best, best_on_test=True, parameters=1234, **more)


RESULTS = [
    run('CE', 0, 60.0, 61.0),
    run('CE', 1, 62.0, 62.5),
    run('KD+LS_x', 0, 63.0, 63.5, last_kl=0.5, last_ece=0.031),
    run('KD+LS_x', 1, 66.0, 66.0, last_kl=0.7, last_ece=0.011),
    run('KD+LS_x', 2, 64.0, 70.0, last_kl=0.6, last_ece=0.021),
]
REFERENCE = {'KD+LS_x': 'CE'}


def test_last_and_best_are_summarized_apart():
    ce, kd = summarize(RESULTS, REFERENCE)
    assert (ce.row, ce.seeds, kd.row, kd.seeds) == ('CE', 2, 'KD+LS_x', 3)
    assert ce.values['last_top1'] == pytest.approx((61.0, 2**0.5))
    assert ce.values['best_top1'] == pytest.approx((61.75, 1.5 / 2**0.5))
    assert ce.differences == {} and 'last_kl' not in ce.values
    assert kd.differences['last_top1'].mean == pytest.approx(3.5)  # 3 and 4; the third seed has no partner
    assert kd.differences['best_top1'].mean == pytest.approx(3.0)
    assert kd.differences['last_top1'].seeds == 2


def test_text_names_its_columns_and_says_what_they_mean():
    text = format_table(RESULTS, 'text', REFERENCE, width=220)
    assert 'top-1 % last' in text and 'top-1 % best' in text and 'last - CE' in text
    assert '64.33 ± 1.53' in text and '66.50 ± 3.28' in text
    assert '+3.50 ± 6.35 (2 seeds)' in text
    assert 'chosen on the test set itself' in text and '95 % interval' in text


def test_markdown_is_a_table_of_equal_rows():
    lines = [line for line in format_table(RESULTS, 'markdown', REFERENCE).splitlines() if line.startswith('|')]
    assert len(lines) == 4
    assert len({line.count('|') for line in lines}) == 1
    assert lines[3].startswith('| KD+LS_x | 3 | 64.33 ± 1.53 | 66.50 ± 3.28 |')


def test_losses_of_the_training_have_columns_of_their_own():
    (line,) = format_table([run('KD', 0, 60.0, 61.0, loss_first=4.60517, loss_last=1234.5)], 'markdown').splitlines()[
        2:3
    ]
    titles = format_table(RESULTS, 'markdown').splitlines()[0].split(' | ')
    place = titles.index('loss first')
    assert line.split(' | ')[place : place + 2] == ['4.605', '1,234.500'] and titles[place + 1] == 'loss last'


def test_csv_has_the_numbers_themselves():
    ce, kd = csv.DictReader(format_table(RESULTS, 'csv', REFERENCE).splitlines())
    assert float(kd['last_top1_mean']) == pytest.approx(193 / 3)
    assert float(kd['last_ece_mean']) == pytest.approx(0.021)
    assert float(kd['last_top1_difference']) == pytest.approx(3.5) and kd['last_top1_difference_seeds'] == '2'
    assert (
        ce['last_top1_difference'] == ''
        and ce['last_kl_mean'] == ''
        and (ce['reference'], kd['reference']) == ('', 'CE')
    )


def test_json_is_the_results():
    assert json.loads(format_table(RESULTS, 'json', REFERENCE)) == RESULTS


def test_latex_escapes_and_has_as_many_cells_as_columns():
    text = format_table(RESULTS, 'latex', REFERENCE)
    (columns,) = re.findall(r'\\begin\{tabular\}\{(\w+)\}', text)
    rows = [line for line in text.splitlines() if line.endswith(r'\\')]
    assert [row.count(' & ') + 1 for row in rows] == [len(columns)] * 3
    assert r'KD+LS\_x' in text and r'64.33 $\pm$ 1.53' in text and r'top-1 \% last' in text


def test_rows_may_have_a_reference_each():
    results = [*RESULTS, run('CE few', 0, 10.0, 10.0), run('KD few', 0, 11.0, 12.0)]
    text = format_table(results, 'markdown', {**REFERENCE, 'KD few': 'CE few'})
    assert 'last - reference' in text and '| +1.00 [CE few] | +2.00 [CE few] |' in text and '[CE]' in text


def test_names_are_no_markup():
    results = [run('ce', 0, 60.0, 61.0), run('kd [strong]', 0, 62.0, 63.0), run('kd^2 [/x]', 0, 62.0, 63.0)]
    text = format_table(results, 'text', {'kd [strong]': 'ce', 'kd^2 [/x]': 'kd [strong]'}, width=220)
    assert 'kd [strong]' in text and 'kd^2 [/x]' in text and '+2.00 [ce]' in text
    assert r'kd\textasciicircum{}2' in format_table(results, 'latex')


@pytest.mark.parametrize('form', FORMATS)
def test_without_a_reference_there_are_no_differences(form):
    assert 'last - ' not in format_table(RESULTS[:1], form)


def test_bad_input():
    with pytest.raises(UnknownNameError, match='markdwn.*nearest: markdown'):
        format_table(RESULTS, 'markdwn')
    with pytest.raises(InputError, match='no finished run'):
        format_table([])
    with pytest.raises(InputError, match="two results of the row 'CE' with the seed 0"):
        summarize([RESULTS[0], RESULTS[0]])
