"""The metrics against mmpretrain's, against loops, and over processes."""

from __future__ import annotations

import math

import mmpretrain.evaluation
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader

from crld_zoo.datasets import InMemoryDataset, as_batch
from crld_zoo.errors import InputError
from crld_zoo.evaluation import (
    Accuracy,
    BatchPrediction,
    CalibrationError,
    NegativeLogLikelihood,
    PerClassAccuracy,
    agreement,
    expected_calibration_error,
    measure,
)
from crld_zoo.evaluation.per_sample import PerSampleMetric
from crld_zoo.launch.processes import leave_group
from crld_zoo.registry import DATA_SAMPLERS

from ..processes import run_two

OPTIONS = [
    dict(),
    dict(topk=3),
    dict(topk=(1, 5), thrs=(0.0, 0.2, None)),
    dict(topk=(1, 2), thrs=None),
    dict(topk=(5, 1)),
    dict(thrs=0.3),
    dict(topk=(1, 5), prefix='student'),
]


def predictions(count: int = 203, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities that favor the true class somewhat, and labels."""
    target = torch.randint(classes, (count,))
    logits = torch.randn(count, classes)
    logits[torch.arange(count), target] += 1.5
    return logits.softmax(1), target


def as_records(scores, target, batch: int):
    """Lists of samples that know their batch, as the zoo's model gives them for tensors of labels."""
    for start in range(0, len(scores), batch):
        yield BatchPrediction(scores[start : start + batch], target[start : start + batch]).samples()


def as_samples(scores, target, batch: int):
    """Lists of DataSample, as mmpretrain's classifiers give them."""
    for start in range(0, len(scores), batch):
        yield [
            DataSample().set_pred_score(score).set_gt_label(label)
            for score, label in zip(scores[start : start + batch], target[start : start + batch], strict=True)
        ]


def run(metrics, batches, size: int) -> dict[str, float]:
    evaluator = Evaluator(metrics)
    for batch in batches:
        evaluator.process(batch)
    return evaluator.evaluate(size)


@pytest.mark.parametrize('form', [as_records, as_samples])
@pytest.mark.parametrize('options', OPTIONS)
def test_accuracy_is_mmpretrains_to_the_last_digit(form, options):
    scores, target = predictions()
    expected = run(mmpretrain.evaluation.Accuracy(**options), as_samples(scores, target, 64), len(scores))
    assert run(Accuracy(**options), form(scores, target, 64), len(scores)) == expected
    assert all(0 < value < 100 for value in expected.values())


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
def test_accuracy_of_other_types_with_ties(dtype):
    scores, target = predictions(classes=100)
    scores = scores.to(dtype)
    expected = run(mmpretrain.evaluation.Accuracy(topk=(1, 5)), as_samples(scores, target, 64), len(scores))
    assert run(Accuracy(topk=(1, 5)), as_records(scores, target, 50), len(scores)) == expected


def test_accuracy_by_hand():
    scores = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
    target = torch.tensor([0, 1, 2, 1])
    assert run(Accuracy(topk=(1, 2)), as_records(scores, target, 3), 4) == {'accuracy/top1': 50, 'accuracy/top2': 75}
    assert run(Accuracy(thrs=0.7), as_records(scores, target, 3), 4) == {'accuracy/top1': 25}


def test_the_config_names_the_zoos_metrics_and_keeps_mmpretrains():
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        evaluator = Evaluator(
            [
                dict(type='Accuracy', topk=(1, 5)),
                dict(type='CalibrationError'),
                dict(type='SingleLabelMetric', items=['precision']),
            ]
        )
    assert [type(metric) for metric in evaluator.metrics] == [
        Accuracy,
        CalibrationError,
        mmpretrain.evaluation.SingleLabelMetric,
    ]
    assert isinstance(evaluator.metrics[0], mmpretrain.evaluation.Accuracy)


def naive_error(scores, target, bins: int) -> float:
    """Guo et al. 2017, equation 3, sample by sample in float64."""
    groups = [[] for _ in range(bins)]
    for row, label in zip(scores.double().tolist(), target.tolist(), strict=True):
        confidence = max(row)
        groups[max(math.ceil(confidence * bins) - 1, 0)].append((confidence, row.index(confidence) == label))
    return sum(
        len(group)
        / len(target)
        * abs(sum(right for _, right in group) / len(group) - sum(confidence for confidence, _ in group) / len(group))
        for group in groups
        if group
    )


@pytest.mark.parametrize('form', [as_records, as_samples])
@pytest.mark.parametrize('bins', [1, 10, 15])
def test_calibration_error_is_the_papers(form, bins):
    scores, target = predictions(1000)
    result = run(CalibrationError(bins=bins), form(scores, target, 64), len(scores))
    assert result == {'calibration/ece': pytest.approx(naive_error(scores, target, bins), rel=1e-6)}
    assert result['calibration/ece'] > 0.01


@pytest.mark.parametrize('form', [as_records, as_samples])
def test_likelihood_and_per_class_accuracy_are_the_loops(form):
    scores, target = predictions(300)
    target[target == 7] = 6  # a class without a sample
    metrics = run([NegativeLogLikelihood(), PerClassAccuracy()], form(scores, target, 64), len(scores))
    naive = -sum(math.log(row[label]) for row, label in zip(scores.tolist(), target.tolist(), strict=True)) / 300
    assert metrics['likelihood/nll'] == pytest.approx(naive, rel=1e-5)
    right = [[int(row.argmax()) == label for row in scores[target == label]] for label in range(10)]
    expected = [100 * sum(hits) / len(hits) if hits else math.nan for hits in right]
    classwise = metrics['per_class_accuracy/classwise']
    assert classwise == pytest.approx(expected, nan_ok=True) and math.isnan(classwise[7])
    tested = [value for value in expected if not math.isnan(value)]
    assert metrics['per_class_accuracy/mean'] == pytest.approx(sum(tested) / 9)
    assert metrics['per_class_accuracy/lowest'] == pytest.approx(min(tested))


def test_likelihood_of_an_impossible_class_is_finite():
    scores = torch.tensor([[1.0, 0.0]])
    assert run(NegativeLogLikelihood(), as_records(scores, torch.tensor([1]), 1), 1)['likelihood/nll'] < 88


@pytest.mark.parametrize('classes', [3, 10])
def test_one_function_measures_what_the_metrics_do(classes):
    logits, target, teacher = torch.randn(200, classes) * 3, torch.randint(classes, (200,)), torch.randn(200, classes)
    measured = measure(logits, teacher, target)
    metrics = run(
        [Accuracy(topk='auto'), CalibrationError(), NegativeLogLikelihood(), PerClassAccuracy()],
        as_records(logits.softmax(1), target, 64),
        200,
    )
    assert measured['top1'] == pytest.approx(metrics['accuracy/top1'])
    assert measured['top5'] == pytest.approx(metrics[f'accuracy/top{min(5, classes)}'])
    assert measured['ece'] == pytest.approx(metrics['calibration/ece'], abs=1e-6)
    assert measured['nll'] == pytest.approx(metrics['likelihood/nll'], rel=1e-5)
    assert measured['per_class'] == pytest.approx(metrics['per_class_accuracy/classwise'])
    assert measured['agreement'] == 100 * agreement(logits, teacher)
    p, q = teacher.double().softmax(1), logits.double().softmax(1)
    assert measured['kl'] == pytest.approx((p * (p / q).log()).sum().item() / 200) and measured['kl'] > 0.1
    assert measure(logits, logits, target)['kl'] == 0
    assert measure(logits, None, target).keys() == measured.keys() - {'agreement', 'kl'}


@pytest.mark.parametrize('labels', [torch.zeros(3).long(), torch.tensor([0, -1]), torch.zeros(2, 1).long()])
def test_nothing_is_measured_without_labels(labels):
    with pytest.raises(InputError, match='a label for each sample'):
        measure(torch.zeros(2, 3), None, labels)


@pytest.mark.parametrize('k', [4, (1, 5), (5, 1)])
def test_a_k_above_the_number_of_classes_is_refused_as_soon_as_the_classes_are_known(k):
    with pytest.raises(InputError, match="more than the 3 classes: set topk='auto'"):
        Evaluator([Accuracy(topk=k)]).dataset_meta = dict(classes=('a', 'b', 'c'))
    Evaluator([Accuracy(topk=k)]).dataset_meta = dict(classes=tuple('abcde'))


@pytest.mark.parametrize('classes, expected', [(2, {1, 2}), (3, {1, 3}), (5, {1, 5}), (100, {1, 5})])
@pytest.mark.parametrize('told', [True, False])
def test_the_recipes_k_fits_any_number_of_classes(classes, expected, told):
    metric = Accuracy(topk='auto')
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = dict(classes=['x'] * classes) if told else None
    for batch in as_records(*predictions(50, classes), 50):
        evaluator.process(batch)
    assert evaluator.evaluate(50).keys() == {f'accuracy/top{k}' for k in expected}


def test_calibration_error_by_hand():
    # Bins (0, .5] and (.5, 1]: two samples at .5, one right; two at .75 and 1, both right.
    confidence, correct = torch.tensor([0.5, 0.5, 0.75, 1.0]), torch.tensor([True, False, True, True])
    assert expected_calibration_error(confidence, correct, bins=2) == pytest.approx(0.5 * 0 + 0.5 * (1 - 0.875))
    # A bin is closed on its right: in (.25, .5] the gaps of .5 and .3 are averaged before their size is taken.
    pair = expected_calibration_error(torch.tensor([0.5, 0.3]), torch.tensor([True, False]), bins=4)
    assert pair == pytest.approx((0.5 - 0.3) / 2)
    assert expected_calibration_error(torch.tensor([0.0]), torch.tensor([True]), bins=15) == 1


def test_agreement():
    scores = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    assert agreement(scores, scores * 5 - 1) == 1
    assert agreement(scores, scores.flip(0)) == 0
    assert agreement(scores, torch.tensor([[2.0, 1], [1, 2], [1, 2], [1, 2]])) == 0.75


@pytest.mark.parametrize('shapes', [((4, 2), (4, 3)), ((4, 2), (3, 2)), ((4,), (4,)), ((0, 2), (0, 2))])
def test_agreement_of_different_samples(shapes):
    with pytest.raises(InputError, match='must be .N, K. of the same samples'):
        agreement(*(torch.zeros(shape) for shape in shapes))


def test_a_second_pass_starts_anew():
    scores, target = predictions(50)
    evaluator = Evaluator([Accuracy(), CalibrationError()])
    results = []
    for _ in range(2):
        for batch in as_records(scores, target, 8):
            evaluator.process(batch)
        results.append(evaluator.evaluate(50))
    assert results[0] == results[1]


def test_metrics_keep_rows_not_scores():
    scores, target = predictions(classes=1000)
    for metric in (Accuracy(topk=(1, 5)), CalibrationError()):
        metric.process(None, BatchPrediction(scores, target).samples())
        (rows,) = metric.results
        assert rows.shape[0] == len(scores) and rows.shape[1] <= 4


PROBABILITIES, LABELS = torch.full((4, 3), 1 / 3), torch.zeros(4).long()


@pytest.mark.parametrize(
    'build, message',
    [
        (lambda: run(CalibrationError(), [], 4), 'CalibrationError: the data set to evaluate on gave no sample'),
        (lambda: Accuracy(topk=0), 'topk must be 1 or more, not 0'),
        (lambda: Accuracy(topk=()), 'topk must be 1 or more'),
        (lambda: CalibrationError(bins=0), 'bins must be 1 or more, not 0'),
        (
            lambda: Accuracy(topk=(1, 5)).process(None, BatchPrediction(PROBABILITIES, LABELS).samples()),
            'topk=5 is more than the 3 classes.* val_evaluator',
        ),
        (lambda: Accuracy().process(None, [dict(gt_label=LABELS[:1])]), 'Accuracy: .*hold no pred_score'),
        (lambda: CalibrationError().process(None, [dict(pred_score=PROBABILITIES[0])]), 'hold no gt_label'),
        (
            lambda: Accuracy().process(None, [dict(pred_score=PROBABILITIES[0], gt_label=LABELS[:2])]),
            '2 labels for 1 predictions',
        ),
        (
            lambda: Accuracy().process(None, [dict(pred_score=PROBABILITIES, gt_label=LABELS)]),
            r'scores of shape \(4, 3\) and 4 labels for 1 predictions',
        ),
        (
            lambda: run(Accuracy(), as_records(PROBABILITIES, torch.tensor([0, -1, 1, 2]), 2), 4),
            'Accuracy: 1 of 4 images to evaluate on have no label',
        ),
        (
            lambda: run(CalibrationError(), as_records(torch.randn(4, 3) * 5, LABELS, 4), 4),
            'must be probabilities.*are they logits',
        ),
    ],
)
def test_bad_input(build, message):
    with pytest.raises(InputError, match=message):
        build()


SIZES = (101, 6, 1)
"""Data set sizes: uneven shares and batches; shares of one short batch; fewer samples than processes."""


class FirstScores(PerSampleMetric):
    """Tells the order of the samples."""

    def rows(self, scores, target):
        return scores[:, :1]

    def summarize(self, rows):
        return dict(first_scores=rows.flatten().tolist())


def evaluate_in_process(rank: int, folder) -> None:
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder / "store"}', rank=rank, world_size=2)
    scores, target = torch.load(folder / 'predictions.pt')
    results = {}
    for size in SIZES:
        # the first pixels of each image say which prediction is its own
        images = torch.zeros(size, 3, 1, 1, dtype=torch.uint8)
        images[:, 0, 0, 0] = torch.arange(size)
        dataset = InMemoryDataset(images, target[:size], [str(label) for label in range(10)])
        for round_up in (True, False):
            sampler = DATA_SAMPLERS.build(
                dict(type='DefaultSampler', dataset=dataset, shuffle=False, round_up=round_up)
            )
            loader = DataLoader(dataset, batch_size=8, sampler=sampler, collate_fn=as_batch)
            evaluator = Evaluator([Accuracy(topk=(1, 5), thrs=(0.0, 0.2)), CalibrationError(), FirstScores()])
            for batch in loader:
                index = batch['inputs'][:, 0, 0, 0].long()
                evaluator.process(BatchPrediction(scores[index], batch['data_samples']).samples())
            results[size, round_up] = evaluator.evaluate(size)
    torch.save(results, folder / f'{rank}.pt')
    leave_group()


def test_two_processes_give_the_numbers_of_one_and_leave_no_file(tmp_path, monkeypatch):
    current = tmp_path / 'current'
    current.mkdir()
    monkeypatch.chdir(current)
    scores, target = predictions(max(SIZES))
    torch.save((scores, target), tmp_path / 'predictions.pt')
    run_two(evaluate_in_process, tmp_path)
    assert not list(current.iterdir())
    shares = [torch.load(tmp_path / f'{rank}.pt') for rank in range(2)]
    assert shares[0] == shares[1] and len(shares[0]) == 2 * len(SIZES)
    for (size, _), result in shares[0].items():
        assert result.pop('first_scores') == scores[:size, 0].tolist()
        metrics = [Accuracy(topk=(1, 5), thrs=(0.0, 0.2)), CalibrationError()]
        assert result == run(metrics, as_records(scores[:size], target[:size], 8), size)
