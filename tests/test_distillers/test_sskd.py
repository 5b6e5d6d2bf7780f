"""SSKD: reference numbers, the formula in loops, numbers by hand, from the first stage to the second."""

from __future__ import annotations

import copy
import math
import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn

from crld_zoo.distillers import SSKD, Prediction, kd_loss, sskd_loss
from crld_zoo.distillers.features.sskd import load_head
from crld_zoo.distillers.features.sskdhead import projection_head
from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.registry import MODELS

from .test_sskdhead import MODEL, cosine
from .testers import close, golden, kl, leaf, logits_of, networks, prepared, random_batch, softmax, total

_FOLDER = tempfile.TemporaryDirectory()
HEAD = Path(_FOLDER.name) / 'epoch_60.pth'


def save_head(file: Path, width: int) -> dict[str, torch.Tensor]:
    """A checkpoint with the head of a network of so wide embeddings."""
    state = {
        f'head.{name}': torch.full_like(value, 0.1).tril()
        for name, value in projection_head(torch.zeros(2, width)).state_dict().items()
        if value.dim() > 1
    } | {f'head.{layer}.bias': torch.linspace(-1, 1, width) for layer in (0, 2)}
    torch.save(dict(state_dict={}, distiller=state), file)
    return state


save_head(HEAD, networks(6).teacher.fc.in_features)
ROWS = dict(rotated=3)
REQUIRED = dict(head='random')
ALTERNATIVES = dict(head=str(HEAD), ratio_tf=0.2, ratio_ss=0.1)


@pytest.mark.parametrize('row', golden('sskd'))
def test_reference_numbers(row):
    """Rows 4b are plain, 4b + 1 to 4b + 3 turned; the heads leave the projections as they are."""
    given = {key.lower(): value for key, value in row['params'].items()}
    weights = {name: given[f'{name}_weight'] for name in ('ce', 'kd', 'tf', 'ss')}
    distiller = SSKD(head='random', **given)
    distiller.head = distiller.teacher_head = nn.Identity()
    leaves = {name: leaf(row[name]) for name in ('logits_student', 'proj_student')}
    fixed = {name: torch.tensor(row[name], dtype=torch.float64) for name in ('logits_teacher', 'proj_teacher')}
    plain = torch.arange(len(fixed['logits_teacher'])) % 4 == 0

    def views(logits, projections):
        rows = dict(weak=plain, rotated=~plain)
        return {view: Prediction(logits[own], {'embedding': projections[own]}) for view, own in rows.items()}

    student, teacher = views(*leaves.values()), views(*fixed.values())
    losses = distiller(student, teacher, torch.tensor(row['target']))
    for name, expected in row['losses'].items():
        close(losses[f'loss_{name}'], weights[name] * expected)
    close(total(losses), row['loss_total'])
    total(losses).backward()
    close(leaves['logits_student'].grad, row['grad_student'])
    close(leaves['proj_student'].grad, row['grad_proj_student'])
    turned = teacher['rotated'].logits
    label = torch.tensor(row['target']).repeat_interleave(3)
    apart = sskd_loss(torch.zeros_like(turned), turned, label, temperature=4.0, ratio=given['ratio_tf'])
    assert apart.nonzero().squeeze(1).tolist() == row['kept_tf']


def by_loops(student, teacher, target, temperature, ratio):
    ranks = [sum(z > row[y] for z in row) for row, y in zip(teacher, target, strict=True)]
    wrong = sum(rank > 0 for rank in ranks)
    order = sorted(range(len(ranks)), key=lambda n: ranks[n])
    kept = set(order[: len(ranks) - wrong + int(wrong * ratio)])
    return [
        temperature**2 * kl(softmax(t, temperature), softmax(s, temperature)) * len(ranks) / max(len(kept), 1)
        if n in kept
        else 0.0
        for n, (s, t) in enumerate(zip(student, teacher, strict=True))
    ]


@pytest.mark.parametrize('ratio', [0.0, 0.3, 0.75, 1.0])
@pytest.mark.parametrize('shape', [(1, 2), (8, 2), (12, 5), (30, 7)], ids=str)
def test_formula_in_loops(shape, ratio):
    student, teacher, target = random_batch(*shape)
    s, t = student['weak'].logits, teacher['weak'].logits
    expected = by_loops(s.tolist(), t.tolist(), target.tolist(), 3.0, ratio)
    close(sskd_loss(s, t, target, temperature=3.0, ratio=ratio), expected, rtol=1e-10)


def test_number_by_hand():
    # Right, rank 2, rank 1: half of the two errors is one, the one of rank 1. Each counts 3 / 2.
    teacher = logits_of([1 / 2, 1 / 3, 1 / 6], [1 / 2, 1 / 3, 1 / 6], [1 / 2, 1 / 3, 1 / 6])
    loss = sskd_loss(torch.zeros_like(teacher), teacher, torch.tensor([0, 2, 1]), temperature=1.0, ratio=0.5)
    each = 1 / 2 * math.log(3 / 2) + 1 / 6 * math.log(1 / 2)
    close(loss, [1.5 * each, 0, 1.5 * each])


def test_all_errors_kept_is_kd():
    student, teacher, target = random_batch(9, 5)
    s, t = student['weak'].logits, teacher['weak'].logits
    close(sskd_loss(s, t, target, temperature=4.0, ratio=1.0), kd_loss(s, t, temperature=4.0))


def test_each_term_has_its_weight_temperature_and_ratio():
    options = dict(kd_t=2.0, tf_t=3.0, ss_t=0.7, ratio_tf=0.5, ratio_ss=0.25)
    weights = dict(ce_weight=0.2, kd_weight=0.3, tf_weight=0.5, ss_weight=0.7)
    distiller, batch = prepared(SSKD(head=str(HEAD), **options, **weights), 5, 4, rows=ROWS)
    student, teacher, target = batch.predictions()
    losses = distiller(student, teacher, target)
    s, t = ({view: each.logits.tolist() for view, each in views.items()} for views in (student, teacher))
    labels = [y for y in target.tolist() for _ in range(3)]

    def cosines(views, head):
        plain, turned = (head(views[view].features['embedding']).tolist() for view in ('weak', 'rotated'))
        return [[cosine(x, y) for y in plain] for x in turned]

    alike = cosines(student, distiller.head), cosines(teacher, distiller.teacher_head)

    def mean(values):
        return sum(values) / len(values)

    close(losses['loss_ce'], 0.2 * mean([-math.log(softmax(row)[y]) for row, y in zip(s['weak'], target, strict=True)]))
    close(
        losses['loss_kd'],
        0.3 * mean([4 * kl(softmax(b, 2), softmax(a, 2)) for a, b in zip(s['weak'], t['weak'], strict=True)]),
    )
    close(losses['loss_tf'], 0.5 * mean(by_loops(s['rotated'], t['rotated'], labels, 3.0, 0.5)))
    close(losses['loss_ss'], 0.7 * mean(by_loops(*alike, [n // 3 for n in range(15)], 0.7, 0.25)))


def test_the_teacher_s_head_is_the_file_s_and_stays():
    state = torch.load(HEAD)['distiller']
    distiller, batch = prepared(SSKD(head=str(HEAD)), 5, 4, rows=ROWS, dtype=torch.float32)
    for name, value in distiller.teacher_head.state_dict().items():
        assert torch.equal(value, state[f'head.{name}'])
    total(distiller(*batch.predictions())).backward()
    assert all(value.grad is None for value in distiller.teacher_head.parameters())
    assert all(value.grad.any() for value in distiller.head.parameters())


def test_a_sample_without_a_label_is_of_the_teacher_s_class_of_its_plain_image():
    distiller, batch = prepared(SSKD(head='random', ratio_tf=0.5), 6, 5, rows=ROWS)
    student, teacher, target = batch.predictions()
    unlabeled = torch.where(torch.arange(6) % 2 == 0, -1, target)
    filled = torch.where(unlabeled < 0, teacher['weak'].logits.argmax(1), target)
    found, expected = distiller(student, teacher, unlabeled), distiller(student, teacher, filled)
    close(found['loss_tf'], expected['loss_tf'])
    assert not torch.equal(found['loss_ce'], expected['loss_ce'])


def test_defaults_are_the_published_ones():
    distiller = SSKD(head='random')
    assert (distiller.kd_t, distiller.tf_t, distiller.ss_t) == (4, 4, 0.5)
    assert (distiller.ratio_tf, distiller.ratio_ss) == (1, 0.75)
    assert (distiller.ce_weight, distiller.kd_weight) == (0.1, 0.9)
    assert (distiller.tf_weight, distiller.ss_weight) == (2.7, 10)


def test_from_the_first_stage_to_the_second(tmp_path):
    """The checkpoint of the first is the teacher's and has its head; a step of the second, all images at once."""
    torch.manual_seed(0)
    first = MODELS.build(copy.deepcopy(MODEL))
    file = tmp_path / 'epoch_60.pth'
    torch.save(dict(state_dict=first.state_dict(), distiller=first.distiller.state_dict()), file)
    second = MODELS.build(
        dict(
            copy.deepcopy(MODEL),
            student=dict(model='crld_zoo::resnet8', num_classes=4),
            teacher=dict(model='crld_zoo::resnet8', num_classes=4, checkpoint=str(file)),
            distiller=dict(type='SSKD', head=str(file)),
            student_forward='concat',
        )
    ).train()
    for name, value in second.distiller.teacher_head.state_dict().items():
        assert torch.equal(value, first.distiller.head.state_dict()[name])
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    batch = second.data_preprocessor(dict(inputs=images, data_samples=torch.arange(4)), True)
    norm = next(module for module in second.student.modules() if isinstance(module, nn.BatchNorm2d))
    sizes = []
    norm.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    losses = second(**batch, mode='loss')
    assert sizes == [16]
    assert losses.keys() == {'loss_ce', 'loss_kd', 'loss_tf', 'loss_ss', 'top1'}
    total(losses).backward()
    assert all(value.grad is not None for value in second.student.parameters())


def test_a_head_that_cannot_be_had(tmp_path):
    head = projection_head(torch.zeros(2, 8))
    with pytest.raises(MissingFileError, match='no checkpoint'):
        load_head(head, str(tmp_path / 'none.pth'))
    torch.save(dict(state_dict={}), tmp_path / 'best.pth')
    with pytest.raises(InputError, match=r'best.pth holds no projection head: .*SSKDHead'):
        load_head(head, str(tmp_path / 'best.pth'))
    save_head(tmp_path / 'other.pth', 9)
    with pytest.raises(InputError, match=r'other.pth is not of this teacher, whose embeddings have 8 numbers'):
        load_head(head, str(tmp_path / 'other.pth'))


def test_mixed_labels_are_refused():
    distiller, batch = prepared(SSKD(head='random'), 6, 5, rows=ROWS)
    student, teacher, target = batch.predictions()
    with pytest.raises(InputError, match='one class index a sample'):
        distiller(student, teacher, nn.functional.one_hot(target, 5).double())
