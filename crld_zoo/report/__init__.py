"""What is made of measurements: tables."""

from .statistics import mean_and_deviation, paired_difference, t_quantile
from .table import FORMATS, format_table, summarize

__all__ = ['FORMATS', 'format_table', 'mean_and_deviation', 'paired_difference', 'summarize', 't_quantile']
