"""What the zoo asks of any classifier of mmpretrain's kind: its logits, its features, its class count."""

from __future__ import annotations

from torch import Tensor, nn

from ..errors import InputError


def logits_and_features(network: nn.Module, inputs: Tensor, need_features: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run a classifier.

    Args:
        network: A classifier whose ``mode='tensor'`` gives logits, as all of mmpretrain's do.
        inputs: Normalized images ``(N, 3, H, W)``.
        need_features: Whether to keep the features. It needs ``extract_feat`` and a head that takes its result.

    Returns:
        Logits ``(N, K)`` and the features that the head saw, empty unless they are asked for.

    Raises:
        InputError: Features are asked of a network that has no separate backbone and head.
    """
    if not need_features:
        return network(inputs, mode='tensor'), ()
    if not getattr(network, 'with_head', False):
        raise InputError(f'the distiller asks for features, but {type(network).__name__} gives logits only: use a '
                         'classifier with backbone and head (mmpretrain\'s ImageClassifier).')
    features = network.extract_feat(inputs)
    return network.head(features), tuple(features)


def class_count(network: nn.Module) -> int:
    """Number of classes of a classifier, from wherever its library keeps it.

    Raises:
        InputError: It is nowhere to be found.
    """
    model = getattr(network, 'model', None)
    for holder in (getattr(network, 'head', None), network, model, getattr(model, 'config', None)):
        for name in ('num_classes', 'num_labels'):
            count = getattr(holder, name, None)
            if isinstance(count, int):
                return count
    raise InputError(f'{type(network).__name__} does not say how many classes it has: give its head num_classes.')
