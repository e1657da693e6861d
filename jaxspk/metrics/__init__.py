"""Scores, computed in float64 by NumPy and SciPy whatever ``jax_enable_x64`` says, and never differentiated."""

from jaxspk.metrics._clustering import adjusted_mutual_information as adjusted_mutual_information
from jaxspk.metrics._clustering import adjusted_rand_index as adjusted_rand_index
from jaxspk.metrics._clustering import clustering_accuracy as clustering_accuracy
from jaxspk.metrics._clustering import normalized_mutual_information as normalized_mutual_information
from jaxspk.metrics._separation import BssEval as BssEval
from jaxspk.metrics._separation import best_permutation as best_permutation
from jaxspk.metrics._separation import bss_eval as bss_eval
from jaxspk.metrics._separation import si_sdr as si_sdr
from jaxspk.metrics._verification import DetCurve as DetCurve
from jaxspk.metrics._verification import EqualErrorRate as EqualErrorRate
from jaxspk.metrics._verification import cllr as cllr
from jaxspk.metrics._verification import det_curve as det_curve
from jaxspk.metrics._verification import equal_error_rate as equal_error_rate
from jaxspk.metrics._verification import min_cllr as min_cllr
from jaxspk.metrics._verification import min_dcf as min_dcf
