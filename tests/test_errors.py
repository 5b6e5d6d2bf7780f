"""Errors that a user can mend: readable sentences, and the nearest names."""

from __future__ import annotations

import pytest

from crld_zoo.errors import InputError, MissingFileError, UnknownNameError, nearest_names


@pytest.mark.parametrize(
    ('error', 'builtin'),
    [(InputError, ValueError), (UnknownNameError, KeyError), (MissingFileError, FileNotFoundError)],
)
def test_is_a_builtin_error_and_prints_its_sentence(error, builtin):
    raised = error("no 'x' in y.")
    assert isinstance(raised, InputError) and isinstance(raised, builtin)
    assert str(raised) == "no 'x' in y."
    assert str(error()) == ''


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('DKDD', 'nearest: DKD, KD, NKD'),
        ('dkd', 'nearest: DKD, KD, NKD'),
        ('LogitStandardisation', 'nearest: LogitStandardization'),
        ('zzzzzzzz', 'known: DKD, KD, LogitStandardization, NKD'),
    ],
)
def test_nearest_names(name, expected):
    assert nearest_names(name, ['NKD', 'KD', 'LogitStandardization', 'DKD']) == expected


def test_of_many_names_only_the_nearest_are_given_however_far():
    sentence = nearest_names('fc9', [f'layer{number}' for number in range(30)] + ['head.fc'])
    assert sentence.startswith('nearest: head.fc') and sentence.count(',') == 2


def test_nearest_names_are_limited_in_number():
    assert nearest_names('KD', ['KD1', 'KD2', 'KD3', 'KD4'], count=2).count(',') == 1


def test_nearest_names_where_nothing_is_known():
    assert nearest_names('KD', []) == 'there is none'
