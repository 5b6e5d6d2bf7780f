"""What every distiller must keep, alone and under every decorator that takes it.

The registry is enumerated: a new method is tested here without an edit. What cannot be derived from its options and
attributes its own test module states, see :mod:`.cases`.
"""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from crld_zoo.distillers import CRLD, Distiller, PairDistiller
from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from .cases import (
    CASES,
    DECORATED,
    PAIRS,
    WITHOUT_STOPPED_GRADIENT,
    alternatives,
    build,
    default_config,
    draws,
    enumerate_cases,
    options_of,
    ready,
    where,
)
from .testers import Batch, begin, close, losses, observe, pair, random_predictions, statistics, total

every_case = pytest.mark.parametrize('case', CASES)
every_pair = pytest.mark.parametrize('case', PAIRS)


def test_enumeration_finds_what_is_there():
    assert {'KD', 'DKD', 'NKD', 'MLLD', 'TfNKD', 'CrossEntropy'} <= CASES.keys()
    assert {'CRLD(LogitStandardization(DKD))', 'CRLD(MLLD)', 'NormKD(DKD)'} <= CASES.keys()
    assert {f'CRLD({case})' for case in DECORATED if '(' not in case} <= CASES.keys(), 'CRLD takes every pair loss'


def test_a_newly_registered_distiller_is_enumerated():
    @DISTILLERS.register_module()
    class Newcomer(PairDistiller):
        def __init__(self, ce_weight: float = 1.0, kd_weight: float = 1.0) -> None:
            super().__init__(ce_weight=ce_weight, kd_weight=kd_weight)

        def pair_loss(self, student, teacher, target):
            return (student.logits - teacher.logits).square().mean(1)

    try:
        assert {'Newcomer', 'CRLD(Newcomer)', 'LogitStandardization(Newcomer)'} <= enumerate_cases().keys()
    finally:
        del DISTILLERS.module_dict['Newcomer']


def assert_finite_gradients(batch: Batch) -> None:
    for (view, name), gradient in batch.gradients().items():
        assert gradient is None or gradient.isfinite().all(), f'the gradient of {name} on the view {view}'


@every_case
def test_gives_scalars_that_mmengine_sums_or_logs(case):
    distiller, batch = ready(case, 6, 5)
    found = losses(distiller, batch)
    for name, value in found.items():
        assert value.shape == () and value.isfinite(), name
        assert value.requires_grad == ('loss' in name), f'{name}: a loss has a graph, a statistic has none'
    assert not distiller.groups or {name for name in found if 'loss' in name} <= distiller.groups.keys()
    summed, _ = BaseModel.parse_losses(None, found)
    close(summed, total(found))


@every_case
def test_what_it_names_is_what_it_uses(case):
    """Its views, its taps, its parameters: each gets a gradient, and no other view does."""
    distiller, batch = ready(case, 6, 5)
    total(losses(distiller, batch)).backward()
    used = {place for place, gradient in batch.gradients().items() if gradient is not None}
    assert {view for view, _ in used} == set(distiller.student_views)
    assert {name for _, name in used} >= set(distiller.student_taps)
    idle = [name for name, value in distiller.named_parameters() if value.requires_grad and value.grad is None]
    assert not idle, 'parameters without gradient stop a training on several processes'


@every_pair
@pytest.mark.parametrize('shape', [(1, 2), (4, 7)], ids=str)
def test_pair_loss_has_one_value_a_sample(case, shape):
    distiller, batch = ready(case, *shape, steps=0)
    try:
        assert pair(distiller, batch).shape == shape[:1]
    except InputError:  # one sentence where a method compares samples
        assert not distiller.per_sample and shape[0] == 1


@pytest.mark.parametrize('case', DECORATED)
def test_crld_of_identical_views_is_the_pair_loss(case):
    distiller, batch = ready(case, 6, 5)
    if draws(distiller, batch):
        return
    decorated = CRLD(distiller, ce_weight=0.0, wv_weight=0.5, cv_weight=0.0, tau_w=0.0, tau_s=0.0)
    student, teacher, target = batch.predictions()
    views = [{view: p[own] for view in ('weak', 'strong')} for p, own in _own_views(distiller, student, teacher)]
    found = decorated(*views, target)
    plain = pair(distiller, batch).mean()
    close(total(found), plain, rtol=1e-12)
    assert found['keep_weak'] == found['keep_strong'] == 1
    leaves = list(batch.student[distiller.student_view].values())
    expected = torch.autograd.grad(plain, leaves, allow_unused=True)
    actual = torch.autograd.grad(total(found), leaves, allow_unused=True)
    for one, other in zip(actual, expected, strict=True):
        assert (one is None or not one.any()) if other is None else close(one, other, rtol=1e-10) is None


def _own_views(distiller: PairDistiller, student, teacher):
    return (student, distiller.student_view), (teacher, distiller.teacher_view)


@pytest.mark.parametrize('case', DECORATED)
def test_empty_mask_gives_0_with_a_live_graph(case):
    distiller, batch = ready(case, 6, 5)
    batch = batch.map(lambda leaf, view, name: leaf / 8 if name == 'logits' else leaf)  # no teacher is quite sure
    for mask_by in ('term', 'target_view'):
        found = losses(CRLD(distiller, ce_weight=0.0, tau_w=1.0, tau_s=1.0, mask_by=mask_by), batch)
        assert found['loss_wv'] == found['loss_cv'] == found['keep_weak'] == found['keep_strong'] == 0
        (found['loss_wv'] + found['loss_cv']).backward()
        gradients = [gradient for gradient in batch.gradients().values() if gradient is not None]
        assert gradients and not any(gradient.any() for gradient in gradients)


COURSES: dict[str, Tensor] = {}
"""Those of the defaults, by config."""


def course(config: dict) -> Tensor:
    """What two steps give: losses, and the size of the gradients of the student and of what is learned."""
    distiller, batch = ready(config, 8, 6, epoch=3)  # where a warm-up shows
    seen = []
    for each in (batch, random_predictions(distiller, 8, 6, seed=1, rows=batch.rows)):
        found = total(losses(distiller, each))
        found.backward()
        leaves = [*each.gradients().values(), *(value.grad for value in distiller.parameters())]
        seen += [found.detach(), *(leaf.abs().sum() for leaf in leaves if leaf is not None)]
        observe(distiller, each)
    return torch.stack(seen)


@pytest.mark.parametrize(
    ('name', 'option'), [(name, option) for name in sorted(DISTILLERS.module_dict) for option in options_of(name)]
)
def test_every_option_changes_the_result(name, option):
    base = {**default_config(name), **where(name, option)}
    values = alternatives(name, option)
    assert values, f'{name}: state another value of {option} in ALTERNATIVES of its test module'
    method = DISTILLERS.get(name)
    if option in ('student_view', 'teacher_view') and len(method.views) > 1:
        with pytest.raises(InputError, match='leave student_view and teacher_view out'):
            DISTILLERS.build(dict(base, **{option: values[0]}))
        return
    if option == 'unlabeled':
        distiller, batch = ready(dict(base, unlabeled='refuse'), 6, 5)
        batch.target[0] = -1
        with pytest.raises(InputError, match="unlabeled='refuse'"):
            pair(distiller, batch)
        return
    if (key := repr(base)) not in COURSES:
        COURSES[key] = course(base)
    expected, refused = COURSES[key], []
    for value in values:
        try:
            actual = course(dict(base, **{option: copy.deepcopy(value)}))
        except InputError as error:
            refused.append(error)
            continue
        assert actual.shape != expected.shape or not torch.allclose(actual, expected, rtol=1e-6), (
            f'{option}={value!r} never reaches the losses'
        )
        return
    pytest.fail(f'{name}: state another value of {option} in ALTERNATIVES of its test module; refused: {refused}')


def extreme(distiller: Distiller, batch: Batch, gap: float, dtype: torch.dtype) -> Batch:
    """Many combinations of what can be extreme in a sample.

    A row of logits is constant (0 or ``gap``), or has one value ``gap`` above or below the others, the target among
    them; a map is 0, constant, 1,000 times as large, or as it is; so student and teacher may be equal, opposed or
    constant, on either view.
    """
    k = batch.student['weak']['logits'].shape[1]
    peaks = torch.eye(k) * gap
    shapes = torch.cat([peaks, -peaks, torch.zeros(1, k), torch.full((1, k), gap)])
    number = torch.arange(len(shapes))
    s, t, target = torch.cartesian_prod(number, number, torch.arange(k))[:: 1 if k == 2 else 7].unbind(1)
    if distiller.student_taps or distiller.teacher_taps or distiller.needs_images:
        s, t, target = (each[::3] for each in (s, t, target))
    n, shifts = len(target), dict(weak=0, strong=1)

    def change(rows: Tensor, side: str):
        def of_leaf(leaf: Tensor, view: str, name: str) -> Tensor:
            multiple = batch.rows.get(view, 1)
            number = (rows + shifts.get(view, 2) * (1 if side == 'student' else 3)).repeat_interleave(multiple)
            if name == 'logits':
                return shapes[number % len(shapes)].to(dtype)
            leaf = leaf[torch.arange(n * multiple) % len(leaf)].float()
            factor, base = torch.tensor([[0.0, 0], [0, 1], [1000, 0], [1, 0]])[number % 4].unbind(1)
            each = (-1, *[1] * (leaf.dim() - 1))
            return leaf * factor.view(each) + base.view(each)

        return of_leaf

    batch = batch.map(change(s, 'student'), ['student']).map(change(t, 'teacher'), ['teacher'])
    return dataclasses.replace(batch, target=target, samples=torch.arange(n) % len(batch.samples))


@every_case
@pytest.mark.parametrize(
    ('gap', 'dtype', 'classes'),
    [(1000.0, torch.float32, 5), (100.0, torch.bfloat16, 2), (100.0, torch.float16, 2)],
    ids=['fp32', 'bf16', 'fp16'],
)
def test_finite_at_extreme_inputs(case, gap, dtype, classes):
    distiller, batch = ready(case, 6, classes, dtype=torch.float32)
    batch = extreme(distiller, batch, gap, dtype)
    found = losses(distiller, batch)
    assert all(value.isfinite() and value.dtype == torch.float32 for value in found.values())
    total(found).backward()
    assert_finite_gradients(batch)


@every_pair
def test_finite_for_each_sample_at_extreme_inputs(case):
    distiller, batch = ready(case, 6, 3, dtype=torch.float32)
    assert pair(distiller, extreme(distiller, batch, 1000.0, torch.float32)).isfinite().all()


@every_case
def test_finite_for_a_student_that_equals_its_teacher(case):
    distiller, batch = ready(case, 6, 5, dtype=torch.float32)

    def of_teacher(leaf: Tensor, view: str, name: str) -> Tensor:
        other = batch.teacher[view].get(name)
        return other if other is not None and other.shape == leaf.shape else leaf

    batch = batch.map(of_teacher, ['student'])
    found = losses(distiller, batch)
    total(found).backward()
    assert total(found).isfinite()
    assert_finite_gradients(batch)


@every_pair
def test_split_and_stacked_batches(case):
    """A per-sample loss does not see the other samples; one that does must say so."""
    distiller, batch = ready(case, 6, 5)
    if draws(distiller, batch):
        return
    whole = pair(distiller, batch)
    parts = torch.cat([pair(distiller, batch[:3]), pair(distiller, batch[3:])])
    if distiller.per_sample:
        close(parts, whole, rtol=1e-12)
        close(torch.cat([pair(distiller, batch[i : i + 1]) for i in range(6)]), whole, rtol=1e-12)
    else:
        assert not torch.allclose(parts, whole, rtol=1e-6), 'per_sample=False, yet each sample stands alone'


@every_case
def test_a_batch_of_one_is_refused_where_it_says_so(case):
    distiller, batch = ready(case, 6, 5)
    batch = batch[:1]
    normalizes = any(isinstance(each, nn.BatchNorm2d) for each in distiller.modules())
    if not (distiller.needs_two or normalizes):
        assert all(value.isfinite() for value in losses(distiller, batch).values())
        return
    with pytest.raises(InputError, match='two or more|one sample'):
        losses(distiller, batch)


@pytest.mark.parametrize('case', [case for case in DECORATED if build(case).per_sample])
def test_crld_does_not_change_when_the_batch_is_split(case):
    distiller, batch = ready(case, 6, 5)
    if draws(distiller, batch):
        return
    decorated = CRLD(distiller, tau_w=0.6, tau_s=0.4)
    whole, first, second = (losses(decorated, batch[rows]) for rows in (slice(None), slice(0, 3), slice(3, 6)))
    for name, value in whole.items():
        close((first[name] + second[name]) / 2, value, rtol=1e-12)


@every_case
def test_no_gradient_reaches_the_teacher(case):
    distiller, batch = ready(case, 6, 5)
    for leaves in batch.teacher.values():
        for leaf in leaves.values():
            leaf.requires_grad_()
    found = losses(distiller, batch)
    assert not any(value.requires_grad for name, value in found.items() if 'loss' not in name)
    total(found).backward()
    for place, gradient in batch.gradients('teacher').items():
        assert gradient is None or not gradient.any(), place


@every_case
def test_inputs_and_buffers_are_left_as_they_are(case):
    """What a method keeps of a step it keeps in ``observe``; batch norms alone keep their statistics at once."""
    distiller, batch = ready(case, 6, 5)
    tensors = {
        **{
            f'{name} of {side} on {view}': leaf
            for side in ('student', 'teacher')
            for view, leaves in getattr(batch, side).items()
            for name, leaf in leaves.items()
        },
        **{name: value for name, value in distiller.named_buffers() if name not in statistics(distiller)},
        'target': batch.target,
        'samples': batch.samples,
    }
    before = {name: (tensor._version, tensor.detach().clone()) for name, tensor in tensors.items()}
    total(losses(distiller, batch)).backward()
    for name, (version, value) in before.items():
        assert tensors[name]._version == version and torch.equal(tensors[name], value), name


@every_case
def test_computed_in_fp32_under_autocast(case):
    """What convolves features by itself relies on :class:`Distillation`, which suspends autocast around it."""
    distiller, wide = ready(case, 6, 5, dtype=torch.float32)
    projects = any(value.dim() > 1 for value in distiller.parameters())
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        batch = wide.to(dtype)
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=not projects):
            found = losses(distiller, batch)
        assert all(value.dtype == torch.float32 for value in found.values())
        torch.testing.assert_close(found, losses(distiller, batch.to(torch.float32)), rtol=0, atol=0)


@every_case
def test_float64_stays_float64(case):
    distiller, batch = ready(case, 6, 5)
    found = losses(distiller, batch)
    assert all(value.dtype == torch.float64 for value in found.values())
    total(found).backward()
    single = losses(*ready(case, 6, 5, dtype=torch.float32))
    torch.testing.assert_close(single, {name: value.float() for name, value in found.items()}, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('case', WITHOUT_STOPPED_GRADIENT)
def test_gradient_is_the_derivative(case):
    distiller, batch = ready(case, 4, 3)
    places = [(view, name) for view in distiller.student_views for name in batch.student[view] if name != 'images']

    def value(*leaves: Tensor) -> Tensor:
        student = {view: dict(each) for view, each in batch.student.items()}
        for (view, name), leaf in zip(places, leaves, strict=True):
            student[view][name] = leaf
        return total(losses(distiller, dataclasses.replace(batch, student=student)))

    leaves = [batch.student[view][name] for view, name in places]
    assert torch.autograd.gradcheck(value, leaves, fast_mode=True)


@every_case
def test_copies_give_the_same(case):
    distiller, batch = ready(case, 6, 5, epoch=2)
    expected = losses(distiller, batch)
    for copied in (copy.deepcopy(distiller), pickle.loads(pickle.dumps(distiller))):
        torch.testing.assert_close(losses(copied, batch), expected, rtol=0, atol=0)


@every_case
def test_its_state_is_all_that_it_remembers(case):
    """A fresh one that is set up, connected and given the state goes on as the first would have."""
    distiller, batch = ready(case, 6, 5, epoch=2)
    with torch.no_grad():
        for value in distiller.parameters():
            value.mul_(0.9)
    fresh, _ = ready(case, 6, 5, epoch=2, steps=0)
    fresh.load_state_dict(distiller.state_dict())
    for each in (distiller, fresh):
        begin(each, 3)
        observe(each, batch)
    _, last = ready(case, 6, 5, epoch=2, seed=4)
    torch.testing.assert_close(losses(fresh, last), losses(distiller, last), rtol=0, atol=0)


@every_case
def test_samples_without_a_label(case):
    """They have no part in the cross-entropy, and count as of the teacher's class where a pair loss reads labels."""
    distiller, batch = ready(case, 6, 5)
    unlabeled = dataclasses.replace(batch, target=torch.where(torch.arange(6) % 3 == 0, -1, batch.target))
    try:
        found = losses(distiller, unlabeled)
    except InputError as error:  # a method that needs all labels says so
        assert 'label' in str(error)
        return
    assert all(value.isfinite() for value in found.values())
    total(found).backward()
    assert_finite_gradients(unlabeled)
    views = distiller.label_views or distiller.student_views
    if 'loss_ce' in found and not distiller.label_smoothing:
        labeled = unlabeled.target >= 0
        student, _, _ = unlabeled.predictions()
        logits = [distiller.label_logits(student[view])[labeled] for view in views if batch.rows.get(view, 1) == 1]
        if len(logits) == len(views) and not distiller.needs_images:
            expected = sum(nn.functional.cross_entropy(each, unlabeled.target[labeled]) for each in logits)
            close(found['loss_ce'], distiller.ce_weight * expected)
    if isinstance(distiller, PairDistiller):
        classes = unlabeled.predictions()[1][distiller.teacher_view].logits.argmax(1)
        filled = dataclasses.replace(batch, target=torch.where(unlabeled.target < 0, classes, unlabeled.target))
        close(pair(distiller, unlabeled), pair(distiller, filled), rtol=1e-12)


@pytest.mark.parametrize('case', [case for case in PAIRS if '(' not in case and 'unlabeled' in options_of(case)])
def test_labels_for_all_are_taken_as_they_are(case):
    (one, batch), (other, _) = (ready(dict(CASES[case], unlabeled=value), 6, 5) for value in ('teacher', 'refuse'))
    torch.testing.assert_close(losses(one, batch), losses(other, batch), rtol=0, atol=0)
