"""KDIGA: the formula on a network that can be differentiated by hand, real networks, two processes, bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed
from mmengine.model import MMDistributedDataParallel

from crld_zoo.distillers import CRLD, CTKD, KD, KDIGA, LogitStandardization, NormKD, Prediction, Sum, kdiga_loss
from crld_zoo.errors import InputError
from crld_zoo.launch.processes import leave_group
from crld_zoo.registry import MODELS

from ..processes import run_two
from .testers import begin, close, kl, softmax, total

N, K = 3, 4


def linear(seed: int) -> torch.Tensor:
    """The weights of a linear classifier of images of 3 x 2 x 2."""
    return torch.randn(12, K, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def predictions(weights: torch.Tensor, images: torch.Tensor) -> Prediction:
    return Prediction(images.flatten(1) @ weights, images=images)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(N, 3, 2, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return images.requires_grad_(), torch.tensor([2, 0, 3])


def oracle(weights_s, weights_t, image, target, lambda_, temperature):
    """Of one image: a linear network's gradient is the weights times (p - onehot)."""
    found = []
    for weights in (weights_s, weights_t):
        logits = [sum(x * w[k] for x, w in zip(image, weights, strict=True)) for k in range(K)]
        error = [p - (k == target) for k, p in enumerate(softmax(logits))]
        found.append((logits, [sum(w * e for w, e in zip(row, error, strict=True)) for row in weights]))
    (logits_s, gradient_s), (logits_t, gradient_t) = found
    distance = sum((a - b) ** 2 for a, b in zip(gradient_s, gradient_t, strict=True))
    divergence = kl(softmax(logits_t, temperature), softmax(logits_s, temperature))
    return temperature**2 * divergence + lambda_ * distance


@pytest.mark.parametrize('lambda_', [0.0, 0.7])
def test_formula_in_loops(lambda_):
    images, target = batch()
    student, teacher = (predictions(linear(seed), images) for seed in (0, 1))
    actual = kdiga_loss(student, teacher, target, lambda_=lambda_, temperature=2.0)
    expected = [
        oracle(linear(0).tolist(), linear(1).tolist(), image, y, lambda_, 2.0)
        for image, y in zip(images.flatten(1).tolist(), target.tolist(), strict=True)
    ]
    close(actual, expected, rtol=1e-10)


def test_number_by_hand():
    """One pixel, two classes: gradients of (p_1 - 1) (w_1 - w_0) at p = 1/2, of 1 and of 3."""
    images = torch.zeros(1, 1, 1, 1, dtype=torch.float64, requires_grad=True)
    student, teacher = (predictions(torch.tensor([[0.0, slope]], dtype=torch.float64), images) for slope in (2.0, 6.0))
    close(kdiga_loss(student, teacher, torch.tensor([1]), lambda_=0.5, temperature=1.0), [2.0])


def test_the_gradient_passes_through_the_student_twice():
    """Against differences of the loss; the teacher gets none."""
    images, target = batch()
    weights = [linear(seed).requires_grad_() for seed in (0, 1)]

    def loss(own: torch.Tensor) -> torch.Tensor:
        student, teacher = (predictions(each, images) for each in (own, weights[1]))
        return kdiga_loss(student, teacher, target, lambda_=2.0, temperature=1.0).mean()

    assert torch.autograd.gradcheck(loss, weights[0])
    loss(weights[0]).backward()
    assert weights[1].grad is None


def test_without_the_gradients_it_is_kd():
    images, target = batch()
    student, teacher = ({'weak': predictions(linear(seed), images)} for seed in (0, 1))
    one = KDIGA(lambda_=0.0, temperature=3.0, ce_weight=0.1, kd_weight=0.9)(student, teacher, target)
    other = KD(temperature=3.0)(student, teacher, target)
    assert one.keys() == other.keys()
    for name, value in other.items():
        close(one[name], value)


def test_defaults():
    images, target = batch()
    student, teacher = ({'weak': predictions(linear(seed), images)} for seed in (0, 1))
    losses = KDIGA()(student, teacher, target)
    expected = kdiga_loss(student['weak'], teacher['weak'], target, lambda_=0.1, temperature=1.0)
    close(losses['loss_kd'], expected.mean())
    close(losses['loss_ce'], torch.nn.functional.cross_entropy(student['weak'].logits, target))


def model_of(distiller: dict):
    torch.manual_seed(0)
    network = dict(model='crld_zoo::resnet8', num_classes=K)
    model = MODELS.build(
        dict(
            type='Distillation',
            student=network,
            teacher=dict(**network, checkpoint='random'),
            distiller=distiller,
            data_preprocessor=dict(type='ViewPreprocessor', mean=[0.0] * 3, std=[255.0] * 3),
        )
    ).double()
    return begin_all(model.train())


def begin_all(model):
    model.student.eval()  # each image by itself
    begin(model.distiller, 5)
    return model


@pytest.mark.parametrize('distiller', [dict(type='KDIGA'), dict(type='CRLD', distiller=dict(type='KDIGA'), tau_w=0.0)])
def test_real_networks(distiller):
    """Every weight of the student learns, nothing of the teacher does, and the images keep no gradient."""
    model = model_of(distiller)
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    losses = model({'weak': images, 'strong': images.flip(3)}, torch.arange(4), mode='loss')
    total(losses).backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.student.parameters())
    assert all(value.grad is None for value in model.teacher.parameters())
    assert not images.requires_grad and images.grad is None


def test_who_holds_it():
    assert CRLD(KDIGA()).needs_images and Sum([KDIGA(), KD()]).needs_images
    for decorate in (LogitStandardization, NormKD, CTKD):
        with pytest.raises(InputError, match='cannot decorate KDIGA: it differentiates the logits that the networks'):
            decorate(KDIGA())


IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def gradients(model, part: slice) -> dict[str, torch.Tensor]:
    losses = model({'weak': IMAGES[part]}, (torch.arange(8) % K)[part], mode='loss')
    total(losses).backward()
    return {name: value.grad.clone() for name, value in getattr(model, 'module', model).student.named_parameters()}


def _work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    half = slice(4 * rank, 4 * rank + 4)
    found = gradients(MMDistributedDataParallel(model_of(dict(type='KDIGA'))), half)  # gone before its group is
    torch.save(found, folder / f'{rank}.pth')
    torch.distributed.barrier()
    leave_group()


def test_two_processes_of_half_a_batch_are_one(tmp_path):
    """DDP reduces the second derivative as any other."""
    run_two(_work, tmp_path)
    whole = gradients(model_of(dict(type='KDIGA')), slice(None))
    for rank in range(2):
        half = torch.load(tmp_path / f'{rank}.pth')
        for name, value in whole.items():
            torch.testing.assert_close(half[name], value, rtol=1e-9, atol=1e-12)


def test_bad_input_ends_in_a_sentence():
    images, target = batch()
    student = predictions(linear(0), images)
    with pytest.raises(InputError, match=r'and the prediction carries none: give Prediction\(logits, images=…\)'):
        kdiga_loss(student._replace(images=None), student, target, lambda_=1.0, temperature=1.0)
    smaller = torch.zeros(N, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    teacher = predictions(linear(0)[:3], smaller)
    with pytest.raises(InputError, match=r'images of \(3, 2, 2\) and the teacher of \(3, 1, 1\): let both views have'):
        kdiga_loss(student, teacher, target, lambda_=1.0, temperature=1.0)
    with pytest.raises(InputError, match='KDIGA: lambda_ must be a number of at least 0'):
        KDIGA(lambda_=-1.0)
    with pytest.raises(InputError, match='KDIGA looks inside of the student, which a compiled network does not allow'):
        MODELS.build(
            dict(
                type='Distillation',
                student=dict(model='crld_zoo::resnet8', num_classes=K),
                distiller=dict(type='KDIGA'),
                compile=True,
            )
        )
