"""Scores, computed in float64 by NumPy and SciPy whatever ``jax_enable_x64`` says, and never differentiated."""

from jaxspk.metrics._separation import BssEval as BssEval
from jaxspk.metrics._separation import best_permutation as best_permutation
from jaxspk.metrics._separation import bss_eval as bss_eval
from jaxspk.metrics._separation import si_sdr as si_sdr
