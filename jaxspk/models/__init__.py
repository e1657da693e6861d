"""flax.nnx modules, arrays to arrays."""

from jaxspk.models._autoencoder import SiameseNetwork as SiameseNetwork
from jaxspk.models._autoencoder import logistic as logistic
from jaxspk.models._densenet import CompactDenseNet as CompactDenseNet
from jaxspk.models._densenet import DenseNet as DenseNet
from jaxspk.models._densenet import DenseNet121 as DenseNet121
from jaxspk.models._frame_statistics import StatisticsNetwork as StatisticsNetwork
from jaxspk.models._frame_statistics import band_statistics as band_statistics
from jaxspk.models._pooling import POOLINGS as POOLINGS
from jaxspk.models._pooling import TemporalPooling as TemporalPooling
from jaxspk.models._recurrence import recurrence as recurrence
from jaxspk.models._recurrence import recurrence_grad as recurrence_grad
from jaxspk.models._recurrence import recurrence_plain as recurrence_plain
from jaxspk.models._recurrent import BidirectionalLSTM as BidirectionalLSTM
from jaxspk.models._recurrent import EmbeddingNetwork as EmbeddingNetwork
from jaxspk.models._registry import FRAME_NETWORKS as FRAME_NETWORKS
from jaxspk.models._registry import SPEAKER_NETWORKS as SPEAKER_NETWORKS
from jaxspk.models._resnet import FastResNet34 as FastResNet34
from jaxspk.models._resnet import HalfResNet34 as HalfResNet34
from jaxspk.models._resnet import ThinResNet34 as ThinResNet34
from jaxspk.models._sparse_nmf import SparseNmf as SparseNmf
from jaxspk.models._sparse_nmf import nmf_activations as nmf_activations
from jaxspk.models._sparse_nmf import sparse_nmf as sparse_nmf
from jaxspk.models._speaker_network import SpeakerNetwork as SpeakerNetwork
from jaxspk.models._tdnn import TimeDelayNetwork as TimeDelayNetwork
from jaxspk.models._vgg import VGGM40 as VGGM40
