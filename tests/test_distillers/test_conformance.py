"""What every distiller must keep, alone and under every decorator that takes it.

The registry is enumerated: a new method is tested here without an edit, unless it has an option that none had before
(give it an entry in ``ALTERNATIVES``) or an option without a default (``REQUIRED``).
"""

from __future__ import annotations

import copy
import inspect
import itertools
import pickle

import pytest
import torch
from mmengine.model import BaseModel
from torch import Tensor

from crld_zoo import registry
from crld_zoo.distillers import CRLD, Distiller, PairDistiller, Prediction
from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from .testers import Views, begin, close, random_batch, total

REQUIRED: dict[str, dict] = {}
"""Options of a distiller that have no default, by its name."""

ALTERNATIVES = dict(
    temperature=2.5,
    temperature_norm=1.3,
    alpha=0.3,
    beta=2.5,
    gamma=0.7,
    warmup=7,
    ce_weight=0.35,
    kd_weight=0.45,
    label_smoothing=0.3,
    class_weight=[0.5, 2.0, 1.0, 1.0, 3.0, 0.1],
    level='instance',
    student_view='strong',
    teacher_view='strong',
    unlabeled='refuse',
    variant='paper',
    wv_weight=1.1,
    cv_weight=1.7,
    tau_w=0.5,
    tau_s=0.6,
    mask_by='target_view',
    distiller=dict(type='NKD'),
)
"""A value of each option that is no distiller's default."""

DECIDED_WHEN_BUILT = {('MLLD', 'student_view'), ('MLLD', 'teacher_view')}
"""Options that a distiller refuses to have changed."""

STOPPED_GRADIENT = {'TfNKD'}
"""Methods whose published gradient is not the derivative of their loss: they hold a weight constant."""

VIEW_NAMES = ('weak', 'strong')


def options_of(name: str) -> dict[str, inspect.Parameter]:
    return registry.options_of(DISTILLERS.get(name))


def enumerate_cases() -> dict[str, dict]:
    """Configs by a readable name: every distiller, then up to two decorators around whatever they accept."""
    DISTILLERS.import_from_location()
    names = sorted(DISTILLERS.module_dict)
    decorators = [name for name in names if 'distiller' in options_of(name)]
    layer = {name: dict(type=name, **REQUIRED.get(name, {})) for name in names if name not in decorators}
    cases = dict(layer)
    for _ in range(2):
        decorated = {}
        for decorator, (name, inner) in itertools.product(decorators, layer.items()):
            config = dict(type=decorator, distiller=inner, **REQUIRED.get(decorator, {}))
            try:
                DISTILLERS.build(config)
            except InputError:  # which ones are refused is test_base's matter
                continue
            decorated[f'{decorator}({name})'] = config
        cases |= decorated
        layer = decorated
    return cases


CASES = enumerate_cases()


def build(case: str) -> Distiller:
    return begin(DISTILLERS.build(copy.deepcopy(CASES[case])), 240)


PAIRS = [case for case in CASES if isinstance(build(case), PairDistiller)]
every_case = pytest.mark.parametrize('case', CASES)
every_pair = pytest.mark.parametrize('case', PAIRS)


def test_enumeration_finds_what_is_there():
    assert {'KD', 'DKD', 'NKD', 'MLLD', 'TfNKD', 'CrossEntropy'} <= CASES.keys()
    assert {
        'CRLD(LogitStandardization(DKD))',
        'CRLD(MLLD)',
        'NormKD(DKD)',
    } <= CASES.keys()
    assert {f'CRLD({case})' for case in PAIRS if case.count('(') < 2} <= CASES.keys(), 'CRLD takes every pair loss'


def test_a_newly_registered_distiller_is_enumerated():
    @DISTILLERS.register_module()
    class Newcomer(PairDistiller):
        def __init__(self, ce_weight: float = 1.0, kd_weight: float = 1.0) -> None:
            super().__init__(ce_weight=ce_weight, kd_weight=kd_weight)

        def pair_loss(self, student, teacher, target):
            return (student.logits - teacher.logits).square().mean(1)

    try:
        assert {'Newcomer', 'CRLD(Newcomer)', 'CRLD(LogitStandardization(Newcomer))'} <= enumerate_cases().keys()
    finally:
        del DISTILLERS.module_dict['Newcomer']


def gradients(student: Views) -> list[Tensor]:
    return [p.logits.grad if p.logits.grad is not None else torch.zeros_like(p.logits) for p in student.values()]


@every_case
def test_gives_scalars_that_mmengine_sums_or_logs(case):
    student, teacher, target = random_batch(5, 4)
    distiller = build(case)
    losses = distiller(student, teacher if distiller.needs_teacher else {}, target)
    assert set(distiller.views) <= set(VIEW_NAMES)
    for name, value in losses.items():
        assert value.shape == () and value.isfinite(), name
        assert value.requires_grad == ('loss' in name), f'{name}: a loss has a graph, a statistic has none'
    summed, _ = BaseModel.parse_losses(None, losses)
    close(summed, total(losses))
    summed.backward()
    for view, prediction in student.items():
        assert (prediction.logits.grad is not None) == (view in distiller.views), 'the views named are those used'


@every_pair
@pytest.mark.parametrize('shape', [(1, 2), (1, 9), (6, 2), (4, 7)], ids=str)
def test_pair_loss_has_one_value_a_sample(case, shape):
    student, teacher, target = random_batch(*shape)
    assert build(case).pair(student['weak'], teacher['weak'], target).shape == shape[:1]


@every_pair
def test_crld_of_identical_views_is_the_pair_loss(case):
    student, teacher, target = random_batch(7, 5)
    decorated = CRLD(build(case), ce_weight=0.0, wv_weight=0.5, cv_weight=0.0, tau_w=0.0, tau_s=0.0)
    losses = decorated(
        {view: student['weak'] for view in VIEW_NAMES}, {view: teacher['weak'] for view in VIEW_NAMES}, target
    )
    plain = build(case).pair(student['weak'], teacher['weak'], target).mean()
    close(total(losses), plain, rtol=1e-12)
    assert losses['keep_weak'] == losses['keep_strong'] == 1
    (expected,) = torch.autograd.grad(plain, student['weak'].logits)
    (actual,) = torch.autograd.grad(total(losses), student['weak'].logits)
    close(actual, expected, rtol=1e-10)


@every_pair
@pytest.mark.parametrize('mask_by', ['term', 'target_view'])
def test_empty_mask_gives_0_with_a_live_graph(case, mask_by):
    student, teacher, target = random_batch(6, 5, scale=0.5)
    losses = CRLD(build(case), ce_weight=0.0, tau_w=1.0, tau_s=1.0, mask_by=mask_by)(student, teacher, target)
    assert losses['loss_wv'] == losses['loss_cv'] == losses['keep_weak'] == losses['keep_strong'] == 0
    (losses['loss_wv'] + losses['loss_cv']).backward()
    for prediction in student.values():
        assert torch.equal(prediction.logits.grad, torch.zeros(6, 5).double())


@pytest.mark.parametrize(
    ('name', 'option'), [(name, option) for name in sorted(DISTILLERS.module_dict) for option in options_of(name)]
)
def test_every_option_changes_the_result(name, option):
    assert option in ALTERNATIVES, f'{name} has a new option: give {option} an alternative value in ALTERNATIVES'
    base = dict(type=name, **REQUIRED.get(name, {}))
    if 'distiller' in options_of(name):
        base['distiller'] = dict(type='MLLD' if option == 'level' else 'KD')
    default = base.get(option, options_of(name)[option].default)
    assert ALTERNATIVES[option] != default
    student, teacher, target = random_batch(24, 6)
    if (name, option) in DECIDED_WHEN_BUILT:
        with pytest.raises(InputError):
            DISTILLERS.build(dict(base, **{option: ALTERNATIVES[option]}))
        return
    if option == 'unlabeled':
        if name == 'MLLD':
            return  # reads no labels by itself; under CRLD its pair loss is checked as any other
        target[0] = -1
        with pytest.raises(InputError, match="unlabeled='refuse'"):
            DISTILLERS.build(dict(base, unlabeled='refuse'))(student, teacher, target)
        return
    one, other = (
        total(begin(DISTILLERS.build(dict(base, **change)), 3)(student, teacher, target))  # where a warm-up shows
        for change in ({}, {option: copy.deepcopy(ALTERNATIVES[option])})
    )
    assert not torch.isclose(one, other, rtol=1e-6), f'{option} never reaches the loss'


def extreme_batch(gap: float, dtype: torch.dtype, k: int) -> tuple[Views, Views, Tensor]:
    """Every combination of what can be extreme in a row of student and teacher logits, and of the target.

    A row is constant (0 or ``gap``), or has one logit ``gap`` above or below the others; so student and teacher may be
    equal, opposed or constant.
    """
    peaks = torch.eye(k) * gap
    shapes = torch.cat([peaks, -peaks, torch.zeros(1, k), torch.full((1, k), gap)])
    number = torch.arange(len(shapes))
    s, t, target = torch.cartesian_prod(number, number, torch.arange(k)).unbind(1)

    def views(rows: Tensor, shift: int, requires_grad: bool) -> Views:
        return {
            view: Prediction(shapes[(rows + by) % len(shapes)].to(dtype).requires_grad_(requires_grad))
            for view, by in (('weak', 0), ('strong', shift))
        }

    return views(s, 1, True), views(t, 3, False), target


@every_case
@pytest.mark.parametrize('classes', [2, 5])
@pytest.mark.parametrize(
    ('gap', 'dtype'),
    [(1000.0, torch.float32), (100.0, torch.bfloat16), (100.0, torch.float16)],
    ids=['fp32', 'bf16', 'fp16'],
)
def test_finite_at_extreme_logits(case, gap, dtype, classes):
    student, teacher, target = extreme_batch(gap, dtype, classes)
    losses = build(case)(student, teacher, target)
    assert all(value.isfinite() and value.dtype == torch.float32 for value in losses.values())
    total(losses).backward()
    assert all(gradient.isfinite().all() and gradient.dtype == dtype for gradient in gradients(student))


@every_pair
def test_finite_for_each_sample_at_extreme_logits(case):
    student, teacher, target = extreme_batch(1000.0, torch.float32, 3)
    assert build(case).pair(student['weak'], teacher['weak'], target).isfinite().all()


@every_case
def test_finite_for_a_student_that_equals_its_teacher(case):
    _, teacher, target = random_batch(6, 5, dtype=torch.float32)
    student = {view: Prediction(p.logits.clone().requires_grad_()) for view, p in teacher.items()}
    losses = build(case)(student, teacher, target)
    total(losses).backward()
    assert total(losses).isfinite() and all(gradient.isfinite().all() for gradient in gradients(student))


@every_pair
def test_split_and_stacked_batches(case):
    """A per-sample loss does not see the other samples; one that does must say so."""
    student, teacher, target = random_batch(8, 5)
    distiller = build(case)

    def pair_loss(rows: slice) -> Tensor:
        return distiller.pair(
            Prediction(student['weak'].logits[rows]), Prediction(teacher['weak'].logits[rows]), target[rows]
        )

    whole, parts = pair_loss(slice(None)), torch.cat([pair_loss(slice(0, 3)), pair_loss(slice(3, 8))])
    if distiller.per_sample:
        close(parts, whole, rtol=1e-12)
        close(torch.cat([pair_loss(slice(i, i + 1)) for i in range(8)]), whole, rtol=1e-12)
    else:
        assert not torch.isclose(parts, whole, rtol=1e-3).any(), 'per_sample=False, yet each sample stands alone'


@pytest.mark.parametrize('case', [case for case in PAIRS if build(case).per_sample])
def test_crld_does_not_change_when_the_batch_is_split(case):
    student, teacher, target = random_batch(8, 5)
    decorated = CRLD(build(case), tau_w=0.6, tau_s=0.4)

    def run(rows: slice) -> dict[str, Tensor]:
        return decorated(
            {view: Prediction(p.logits[rows]) for view, p in student.items()},
            {view: Prediction(p.logits[rows]) for view, p in teacher.items()},
            target[rows],
        )

    whole, first, second = run(slice(None)), run(slice(0, 4)), run(slice(4, 8))
    for name, value in whole.items():
        close((first[name] + second[name]) / 2, value, rtol=1e-12)


@every_case
def test_no_gradient_reaches_the_teacher(case):
    student, teacher, target = random_batch(6, 5)
    for prediction in teacher.values():
        prediction.logits.requires_grad_()
    losses = build(case)(student, teacher, target)
    assert not any(value.requires_grad for name, value in losses.items() if 'loss' not in name)
    total(losses).backward()
    assert all(p.logits.grad is None or not p.logits.grad.any() for p in teacher.values())


@every_case
def test_inputs_are_left_as_they_are(case):
    student, teacher, target = random_batch(6, 5)
    tensors = [p.logits for views in (student, teacher) for p in views.values()] + [target]
    before = [(tensor._version, tensor.detach().clone()) for tensor in tensors]
    total(build(case)(student, teacher, target)).backward()
    for tensor, (version, value) in zip(tensors, before, strict=True):
        assert tensor._version == version and torch.equal(tensor, value)
    assert student.keys() == teacher.keys() == set(VIEW_NAMES)


@every_case
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16], ids=['fp32', 'bf16', 'fp16'])
def test_computed_in_fp32_under_autocast(case, dtype):
    student, teacher, target = random_batch(6, 5, dtype=dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = build(case)(student, teacher, target)
    wide = [{view: Prediction(p.logits.float()) for view, p in views.items()} for views in (student, teacher)]
    assert all(value.dtype == torch.float32 for value in losses.values())
    torch.testing.assert_close(losses, build(case)(*wide, target), rtol=0, atol=0)


@every_case
def test_float64_stays_float64(case):
    student, teacher, target = random_batch(6, 5)
    losses = build(case)(student, teacher, target)
    assert all(value.dtype == torch.float64 for value in losses.values())
    total(losses).backward()
    single = build(case)(*random_batch(6, 5, dtype=torch.float32))
    torch.testing.assert_close(single, {name: value.float() for name, value in losses.items()}, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('case', [case for case in CASES if case not in STOPPED_GRADIENT])
def test_gradient_is_the_derivative(case):
    student, teacher, target = random_batch(4, 3)
    distiller = build(case)
    used = [student[view].logits for view in distiller.views]

    def value(*logits: Tensor) -> Tensor:
        return total(distiller(dict(zip(distiller.views, map(Prediction, logits), strict=True)), teacher, target))

    assert torch.autograd.gradcheck(value, used)


@every_case
@pytest.mark.parametrize(
    'copied', [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))], ids=['deepcopy', 'pickle']
)
def test_copies_give_the_same(case, copied):
    batch = random_batch(6, 5)
    distiller = begin(build(case), 2)
    torch.testing.assert_close(copied(distiller)(*batch), distiller(*batch), rtol=0, atol=0)
