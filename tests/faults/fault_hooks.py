"""What the fault tests plug into a run."""

from __future__ import annotations

from pathlib import Path

from mmengine.hooks import Hook

from crld_zoo.registry import HOOKS


@HOOKS.register_module()
class ReportProgress(Hook):
    """Writes down after each iteration how many are done, so that a test knows what a kill cost."""

    def before_train(self, runner) -> None:
        self.file = Path(runner.work_dir, 'iterations_done')
        self.file.write_text(f'{runner.iter:6}')

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self.file.write_text(f'{runner.iter + 1:6}')
