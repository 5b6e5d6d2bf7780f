"""What the quickstart compares: ResNet8 on digits, five labels a class, alone and with a teacher's help.

python tools/quickstart.py                                     # trains the teacher first
python tools/compare.py configs/compare/quickstart.py          # goes on from a teacher that is there
"""

seeds = [0, 1, 2]
reference = 'CE'
work_dir = 'work_dirs/quickstart'
share = dict(cfg_options={'model.teacher.checkpoint': 'work_dirs/quickstart/teacher/epoch_15.pth'})
rows = {
    'CE': 'crld_zoo::quickstart/ce_r8_digits.py',
    'KD': 'crld_zoo::quickstart/kd_r20_r8_digits.py',
    'KD+CRLD': 'crld_zoo::quickstart/kd+crld_r20_r8_digits.py',
    'DKD+CRLD': 'crld_zoo::quickstart/dkd+crld_r20_r8_digits.py',
}
