"""What must be true of the data before a run begins."""

from __future__ import annotations

from mmengine.hooks import Hook

from crld_zoo.datasets.labels import check_labeled
from crld_zoo.registry import HOOKS


@HOOKS.register_module()
class DataCheckHook(Hook):
    """Refuses a validation or test set with images that have no label, before the first iteration."""

    def before_run(self, runner) -> None:
        """Look at the data of the loops that are built.

        Raises:
            InputError: An image to evaluate on has no label.
        """
        for name in ('val', 'test'):
            loop = getattr(runner, f'_{name}_loop')
            if hasattr(loop, 'dataloader'):
                check_labeled(loop.dataloader.dataset, f'{name}_dataloader')
