"""The one training loop; names no paper."""

from jaxspk.training._checkpoints import Checkpoint as Checkpoint
from jaxspk.training._checkpoints import Checkpoints as Checkpoints
from jaxspk.training._config import config_differences as config_differences
from jaxspk.training._config import config_from_dict as config_from_dict
from jaxspk.training._config import config_to_dict as config_to_dict
from jaxspk.training._config import may_change as may_change
from jaxspk.training._fit_config import FitConfig as FitConfig
from jaxspk.training._log import read_metrics as read_metrics
from jaxspk.training._loop import fit as fit
from jaxspk.training._optimizers import OptimizerConfig as OptimizerConfig
from jaxspk.training._optimizers import make_optimizer as make_optimizer
from jaxspk.training._optimizers import make_schedule as make_schedule
from jaxspk.training._parallel import ParallelConfig as ParallelConfig
from jaxspk.training._processes import EXIT_LOST as EXIT_LOST
from jaxspk.training._processes import Processes as Processes
from jaxspk.training._processes import connect as connect
from jaxspk.training._processes import processes as processes
from jaxspk.training._result import FitResult as FitResult
from jaxspk.training._run import Run as Run
from jaxspk.training._run import read_config as read_config
from jaxspk.training._step import BatchIterator as BatchIterator
from jaxspk.training._supervisor import Command as Command
from jaxspk.training._supervisor import Started as Started
from jaxspk.training._supervisor import supervise as supervise
