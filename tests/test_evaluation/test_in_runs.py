"""What MMEngine and mmpretrain measure and draw of single images, on data sets in memory."""

from __future__ import annotations

import pickle

import mmpretrain.evaluation
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.fileio import load
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

from crld_zoo.datasets import SyntheticImages
from crld_zoo.errors import InputError
from crld_zoo.evaluation import BatchPrediction, Sample, scores_and_labels

CLASSES = 4


def predictions(count: int = 21) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(count, CLASSES).softmax(1), torch.randint(CLASSES, (count,))


def runner(work_dir, evaluator, batch_size: int = 8, dataset: dict | None = None, **options) -> Runner:
    """Validates a student with random weights on 21 images in memory."""
    return Runner(
        model=dict(
            type='Distillation',
            student=dict(model='crld_zoo::resnet8', num_classes=CLASSES),
            distiller=dict(type='CrossEntropy'),
            data_preprocessor=dict(type='ViewPreprocessor', mean=[127.0] * 3, std=[60.0] * 3),
        ),
        work_dir=str(work_dir),
        val_dataloader=dict(
            batch_size=batch_size,
            num_workers=0,
            dataset=dict(type='SyntheticImages', num_images=21, num_classes=CLASSES, size=8, **(dataset or {})),
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='as_batch'),
        ),
        val_evaluator=evaluator,
        val_cfg=dict(),
        visualizer=dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')]),
        default_scope='crld_zoo',
        log_level='ERROR',
        experiment_name=work_dir.name,
        **options,
    )


@pytest.mark.parametrize('batch_size', [1, 8, 21])
def test_every_metric_in_one_run(tmp_path, batch_size):
    metrics = runner(
        tmp_path,
        [
            dict(type='Accuracy', topk='auto'),
            dict(type='CalibrationError'),
            dict(type='NegativeLogLikelihood'),
            dict(type='PerClassAccuracy'),
            dict(type='ConfusionMatrix'),
            dict(type='SingleLabelMetric', items=('precision', 'recall', 'f1-score', 'support')),
            dict(type='SingleLabelMetric', items=('recall',), average=None, prefix='each'),
            dict(type='DumpResults', out_file_path=str(tmp_path / 'predictions.pkl')),
        ],
        batch_size,
        default_hooks=dict(visualization=dict(type='VisualizationHook', enable=True, interval=7)),
    ).val()
    assert metrics['confusion_matrix/result'].sum() == 21
    right = int(metrics['confusion_matrix/result'].diagonal().sum())
    assert metrics['accuracy/top1'] == pytest.approx(100 * right / 21)
    assert metrics['each/recall_classwise'] == pytest.approx(metrics['per_class_accuracy/classwise'])
    assert metrics['single-label/recall'] == pytest.approx(metrics['per_class_accuracy/mean'])
    dumped = load(tmp_path / 'predictions.pkl')
    labels = SyntheticImages(21, CLASSES, size=8).labels
    assert [int(row['gt_label']) for row in dumped] == labels.tolist()
    assert sum(int(row['pred_label']) == int(row['gt_label']) for row in dumped) == right
    assert all(int(row['pred_score'].argmax()) == int(row['pred_label']) for row in dumped)
    drawn = {path.name for path in tmp_path.rglob('vis_image/*.png')}
    assert drawn == {'0_0.png', '7_0.png', '14_0.png'}


def test_a_k_above_the_classes_ends_before_a_validation(tmp_path):
    with pytest.raises(InputError, match='topk=5 is more than the 4 classes'):
        runner(tmp_path, dict(type='Accuracy', topk=(1, 5))).val()


def test_validation_images_without_label_are_refused(tmp_path):
    unlabeled = dict(labels_per_class=3, others='unlabeled')
    run = runner(tmp_path, dict(type='Accuracy'), dataset=unlabeled)
    with pytest.raises(InputError, match='only training images may lack one'):
        run.val()
    run.register_hook(dict(type='DataCheckHook'))
    run.model.val_step = lambda *_: pytest.fail('said before the first batch')
    with pytest.raises(InputError, match='val_dataloader: 9 of 21 images have no label'):
        run.val()


@pytest.mark.parametrize('count', [1, 21])
@pytest.mark.parametrize('name', ['Accuracy', 'ConfusionMatrix', 'SingleLabelMetric'])
def test_metrics_of_single_images_see_what_they_see_of_mmpretrains_models(name, count):
    scores, target = predictions(count)
    theirs = [
        DataSample().set_pred_score(score).set_pred_label(score.argmax()).set_gt_label(label)
        for score, label in zip(scores, target, strict=True)
    ]
    results = []
    for samples in (BatchPrediction(scores, target).samples(), theirs):
        evaluator = Evaluator([getattr(mmpretrain.evaluation, name)()])
        evaluator.process(samples)
        results.append({key: torch.as_tensor(value).tolist() for key, value in evaluator.evaluate(count).items()})
    assert results[0] == results[1]


def test_the_zoos_metrics_take_no_batch_apart(monkeypatch):
    scores, target = predictions()
    samples = BatchPrediction(scores, target).samples()
    monkeypatch.setattr(Sample, '__getitem__', lambda *_: pytest.fail('a sample was cut out of its batch'))
    taken = scores_and_labels(samples)
    assert taken[0] is scores and torch.equal(taken[1], target)


@pytest.mark.parametrize('order', [slice(None, None, -1), slice(3, 9), slice(0, 20)])
def test_any_choice_of_samples_is_what_it_seems(order):
    scores, target = predictions()
    taken = scores_and_labels(BatchPrediction(scores, target).samples()[order])
    index = list(range(21))[order]
    assert torch.equal(taken[0], scores[index]) and torch.equal(taken[1], target[index])


def test_a_sample_is_pickled_as_a_small_plain_dict():
    sample = BatchPrediction(torch.rand(1000, 100), torch.zeros(1000).long(), torch.arange(1000) + 7).samples()[3]
    data = pickle.dumps(sample)
    assert len(data) < 3000
    again = pickle.loads(data)
    assert type(again) is dict and again['sample_idx'] == 10 and torch.equal(again['pred_score'], sample.pred_score)
    assert not hasattr(sample, 'img_path') and sample.get('img_path') is None
