"""Averaged weights beside a distiller."""

from __future__ import annotations

import mmengine.hooks

from crld_zoo.networks.classifiers import LibraryNames, put_versions_in
from crld_zoo.registry import HOOKS


@HOOKS.register_module()
class EMAHook(mmengine.hooks.EMAHook):
    """MMEngine's hook, with averaged and running tensors paired by name.

    MMEngine pairs them by their order, which the parameters and buffers of a distiller, whom the average lacks, would
    shift.
    """

    def before_run(self, runner) -> None:
        """Make the average, which loads the versions of its modules too."""
        super().before_run(runner)
        self.ema_model._register_load_state_dict_pre_hook(self._name_versions)

    def _name_versions(self, state_dict: dict, *_) -> None:
        """As the model does where it is loaded by itself: PyTorch shows the versions to the outermost module alone."""
        versions, student = getattr(state_dict, '_metadata', None), getattr(self.src_model, 'student', None)
        if student is not None:
            put_versions_in(versions, 'module.', 'student')
        if isinstance(student, LibraryNames):
            put_versions_in(versions, 'module.student.', 'model')

    def _swap_ema_parameters(self) -> None:
        averaged = self.ema_model.module
        pairs = [(averaged.named_parameters(), dict(self.src_model.named_parameters()))]
        if self.ema_model.update_buffers:
            pairs.append((averaged.named_buffers(), dict(self.src_model.named_buffers())))
        for tensors, running in pairs:
            for name, average in tensors:
                kept = average.data.clone()
                average.data.copy_(running[name].data)
                running[name].data.copy_(kept)
