"""The gradient of channels_last maps lies in memory as they do: the layers before would convert it, or be slow."""

from __future__ import annotations

import pytest
import torch

from crld_zoo.distillers.features.at import attention_loss
from crld_zoo.distillers.features.fitnet import fitnet_loss
from crld_zoo.distillers.features.mgd import mgd_loss
from crld_zoo.distillers.features.ofd import ofd_loss
from crld_zoo.distillers.features.sp import similarity_loss
from crld_zoo.distillers.features.vid import vid_loss

ZEROS = [torch.zeros(3)]


@pytest.mark.parametrize(
    ('loss', 'arguments', 'options'),
    [
        (attention_loss, [], dict(p=2)),
        (fitnet_loss, [], {}),
        (mgd_loss, [], {}),
        (ofd_loss, [ZEROS], {}),
        (similarity_loss, [], {}),
        (vid_loss, [ZEROS], dict(eps=1e-5)),
    ],
    ids=lambda value: getattr(value, '__name__', ''),
)
def test_gradient_lies_as_its_map(loss, arguments, options):
    one, other = (torch.rand(2, 3, 8, 8).to(memory_format=torch.channels_last) for _ in range(2))
    one.requires_grad_()
    (gradient,) = torch.autograd.grad(loss([one], [other], *arguments, **options).sum(), one)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
