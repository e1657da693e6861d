"""Proving gradients: independent witnesses, hard inputs, planted mistakes. Needs the extra ``testing``."""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError as _error:
    from jaxspk.errors import MissingExtraError as _MissingExtraError

    raise _MissingExtraError("checking gradients (jaxspk.testing)", "testing") from _error

from jaxspk.testing._certificate import Certificate as Certificate
from jaxspk.testing._certificate import write_certificate as write_certificate
from jaxspk.testing._check import assert_gradient as assert_gradient
from jaxspk.testing._check import check_gradient as check_gradient
from jaxspk.testing._compare import Discrepancy as Discrepancy
from jaxspk.testing._exact import Dual as Dual
from jaxspk.testing._exact import complex_step_gradient as complex_step_gradient
from jaxspk.testing._exact import exact_gradient as exact_gradient
from jaxspk.testing._examples import Example as Example
from jaxspk.testing._report import GradientReport as GradientReport
from jaxspk.testing._report import TaylorRow as TaylorRow
from jaxspk.testing._run import run_suite as run_suite
from jaxspk.testing._strategies import bin_weights as bin_weights
from jaxspk.testing._strategies import class_labels as class_labels
from jaxspk.testing._strategies import codes as codes
from jaxspk.testing._strategies import flags as flags
from jaxspk.testing._strategies import numbers as numbers
from jaxspk.testing._strategies import rows as rows
from jaxspk.testing._strategies import seeds as seeds
