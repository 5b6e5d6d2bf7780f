"""What is made of measurements: tables, figures, a page. Numbers and arrays come in; no network runs here."""

from .statistics import mean_and_deviation, paired_difference, t_quantile
from .table import FORMATS, format_table, summarize

__all__ = ['FORMATS', 'format_table', 'mean_and_deviation', 'paired_difference', 'summarize', 't_quantile']
