"""flax.nnx modules, arrays to arrays."""

from jaxspk.models._recurrent import BidirectionalLSTM as BidirectionalLSTM
from jaxspk.models._recurrent import EmbeddingNetwork as EmbeddingNetwork
