"""flax.nnx modules, arrays to arrays."""

from jaxspk.models._recurrent import BidirectionalLSTM as BidirectionalLSTM
from jaxspk.models._recurrent import EmbeddingNetwork as EmbeddingNetwork
from jaxspk.models._sparse_nmf import SparseNmf as SparseNmf
from jaxspk.models._sparse_nmf import nmf_activations as nmf_activations
from jaxspk.models._sparse_nmf import sparse_nmf as sparse_nmf
