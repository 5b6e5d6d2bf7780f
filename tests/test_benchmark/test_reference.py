"""The reference protocol does the same arithmetic as ours, in its slow way."""

from __future__ import annotations

import pytest
import torch

from crld_zoo.benchmark import Options
from crld_zoo.benchmark.reference import ReferenceTraining, one_by_one, pil_options
from crld_zoo.benchmark.setup import measured_config
from crld_zoo.distillers import Prediction, Progress
from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS
from crld_zoo.views import ViewPreprocessor


def training(recipe, tmp_path, **overrides) -> ReferenceTraining:
    return ReferenceTraining(measured_config(Options(recipe, random_weights=True, overrides=overrides), tmp_path))


@pytest.mark.parametrize('inner', ['KD', 'DKD', 'NKD', 'MLLD'])
@pytest.mark.parametrize('mask_by', ['term', 'target_view'])
def test_the_loss_is_the_distillers(inner, mask_by):
    crld = DISTILLERS.build(dict(type='CRLD', distiller=dict(type=inner), mask_by=mask_by, tau_w=0.5, tau_s=0.3))
    crld.begin(Progress(epoch=3, iteration=20, epochs=240, iterations=2400))
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        {
            name: Prediction(3 * torch.randn(16, 5, generator=generator, dtype=torch.float64))
            for name in ('weak', 'strong')
        }
        for _ in range(2)
    )
    target = torch.randint(0, 5, (16,), generator=generator)
    losses = crld(student, teacher, target)
    assert 0 < losses['keep_weak'] < 1
    total = sum(loss for name, loss in losses.items() if 'loss' in name)
    torch.testing.assert_close(one_by_one(crld, student, teacher, target), total)


def test_another_distillers_loss_is_its_own():
    mlld = DISTILLERS.build(dict(type='MLLD'))
    student, teacher = ({name: Prediction(torch.randn(6, 5)) for name in ('weak', 'strong')} for _ in range(2))
    target = torch.arange(6) % 5
    losses = mlld(student, teacher, target)
    torch.testing.assert_close(one_by_one(mlld, student, teacher, target), sum(losses.values()))


def test_a_step_is_a_step_of_ours(recipe, tmp_path):
    """On the same views, the same weights come out as from the model's own train step."""
    from mmengine.optim import OptimWrapper

    reference, ours = (training(recipe, tmp_path) for _ in range(2))
    ours.model.student.load_state_dict(reference.model.student.state_dict())
    ours.model.teacher.load_state_dict(reference.model.teacher.state_dict())
    weak, strong, target = next(reference.batches(0))
    assert weak.shape == strong.shape == (4, 3, 8, 8)
    loss = reference.step([weak, strong, target])
    losses = ours.model(dict(weak=weak, strong=strong), target, mode='loss')
    total, _ = ours.model.parse_losses(losses)
    assert loss == pytest.approx(total.item(), rel=1e-4)
    OptimWrapper(ours.optimizer).update_params(total)
    for own, other in zip(ours.model.student.parameters(), reference.model.student.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-5)


def test_it_runs_as_described(recipe, tmp_path):
    reference = training(recipe, tmp_path)
    assert reference.batch_size == 4
    widths = []
    for network in (reference.model.student, reference.model.teacher.network):
        network.register_forward_pre_hook(lambda module, inputs: widths.append(tuple(inputs[0].shape)))
        assert all(parameter.is_contiguous() and parameter.dtype == torch.float32 for parameter in network.parameters())
    reference.step(next(reference.batches(0)))
    assert widths == [(4, 3, 8, 8)] * 4, 'each view by itself, in both networks'


def test_precision_and_layout_of_the_recipe_do_not_reach_it(recipe, tmp_path):
    reference = training(
        recipe, tmp_path, **{'model.teacher.dtype': 'bfloat16', 'optim_wrapper.type': 'Bf16OptimWrapper'}
    )
    assert next(reference.model.teacher.parameters()).dtype == torch.float32
    logits = []
    reference.model.student.register_forward_hook(lambda module, inputs, output: logits.append(output.dtype))
    reference.step(next(reference.batches(0)))
    assert set(logits) == {torch.float32}


def test_workers_make_the_same_batches(recipe, tmp_path):
    batches = training(recipe, tmp_path).batches(1)
    weak, strong, target = next(batches)
    batches.close()
    assert weak.shape == strong.shape == (4, 3, 8, 8)
    assert not torch.equal(weak, strong)
    assert target.dtype == torch.long


VIEWS = dict(
    weak=[dict(type='RandomCrop', size=8, padding=2), dict(type='RandomFlip')],
    strong=[
        dict(type='RandomCrop', size=8, padding=2),
        dict(type='RandomFlip'),
        dict(type='RandAugment'),
        dict(type='Cutout'),
    ],
)


def test_options_of_the_pillow_views_are_the_recipes():
    options = pil_options(ViewPreprocessor([51.0, 102.0, 204.0], [25.5, 51.0, 102.0], views=VIEWS))
    assert options['size'] == 8
    assert options['padding'] == 2
    assert options['mean'] == pytest.approx([0.2, 0.4, 0.8])
    assert options['std'] == pytest.approx([0.1, 0.2, 0.4])


@pytest.mark.parametrize(
    'views',
    [
        None,
        dict(VIEWS, weak=VIEWS['weak'][:1]),
        dict(weak=VIEWS['weak']),
        dict(VIEWS, weak=[dict(type='RandomCrop', size=8, padding=1), VIEWS['weak'][1]]),
    ],
)
def test_other_views_have_no_pillow_way(views):
    assert pil_options(ViewPreprocessor([120.0] * 3, [60.0] * 3, views=views)) is None


def test_what_cannot_be_compared_is_refused(recipe, tmp_path):
    for overrides in (
        {'model.distiller': dict(type='KD', _delete_=True)},
        {'model.data_preprocessor.views.strong': []},
    ):
        with pytest.raises(InputError, match='this recipe trains on other views'):
            training(recipe, tmp_path, **overrides)
