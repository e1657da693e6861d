"""LOSSES: the one table of losses, read by the gradient suite, the documentation and the tests.

A public loss without a row here, or a row without inputs in ``jaxspk.testing``, fails a test.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Array

from jaxspk.losses import _autoembedder as autoembedder
from jaxspk.losses import _classification as classification
from jaxspk.losses import _deep_clustering as dc
from jaxspk.losses import _definitions_autoembedder as ae_definitions
from jaxspk.losses import _definitions_deep_clustering as dc_definitions
from jaxspk.losses import _definitions_metric_learning as ml_definitions
from jaxspk.losses import _definitions_siamese as siamese_definitions
from jaxspk.losses import _ge2e as ge2e
from jaxspk.losses import _pairs as pairs
from jaxspk.losses import _prototypes as prototypes
from jaxspk.losses import _regularized_siamese as regularized_siamese
from jaxspk.losses import _semi_hard as semi_hard
from jaxspk.losses import _siamese as siamese
from jaxspk.losses import _softmax_prototypical as softmax_prototypical


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossEntry:
    """One loss and everything needed to prove its gradient.

    Attributes:
      loss: the public function, gradient wired in.
      plain: the same value, no custom rule.
      grad: the hand-derived vector-Jacobian product in the differentiable arguments, public.
      definition: the source's formula written out naively in NumPy; shares no code with the others.
      differentiable: names of the differentiable arguments, in argument order.
      reference: paper and equation.
      domain: where value and gradient are finite and right.
      family: the system it belongs to, and so the file of ``gradcheck/`` that proves it.
    """

    loss: Callable[..., Array]
    plain: Callable[..., Array]
    grad: Callable[..., Any]
    definition: Callable[..., Any]
    differentiable: tuple[str, ...]
    reference: str
    domain: str
    family: str


_ALL_REAL = "all real inputs; inf where the value exceeds the dtype's range"
_SCALE_FREE = "zero vectors and entries up to 1e30 in size; finite for every such input"

LOSSES: Mapping[str, LossEntry] = {
    "deep_clustering_loss": LossEntry(
        loss=dc.deep_clustering_loss,
        plain=dc.deep_clustering_loss_plain,
        grad=dc.deep_clustering_loss_grad,
        definition=dc_definitions.deep_clustering_definition,
        differentiable=("embeddings",),
        reference="Hershey et al. 2016 (arXiv:1508.04306), the affinity cost and its partition-weighted form",
        domain="all real embeddings; value and gradient are inf where they exceed the dtype's range",
        family="deep_clustering",
    ),
    "mean_distance": LossEntry(
        loss=siamese.mean_distance,
        plain=siamese.mean_distance_plain,
        grad=siamese.mean_distance_grad,
        definition=siamese_definitions.mean_distance_definition,
        differentiable=("codes_1", "codes_2"),
        reference="Chen and Salman 2011, appendix, D_m and eq. (A.2)",
        domain=_ALL_REAL,
        family="regularized_siamese",
    ),
    "covariance_distance": LossEntry(
        loss=siamese.covariance_distance,
        plain=siamese.covariance_distance_plain,
        grad=siamese.covariance_distance_grad,
        definition=siamese_definitions.covariance_distance_definition,
        differentiable=("codes_1", "codes_2"),
        reference="Chen and Salman 2011, appendix, D_S and eq. (A.3)",
        domain=f"{_ALL_REAL}; two frames at least",
        family="regularized_siamese",
    ),
    "siamese_discrimination_loss": LossEntry(
        loss=siamese.siamese_discrimination_loss,
        plain=siamese.siamese_discrimination_loss_plain,
        grad=siamese.siamese_discrimination_loss_grad,
        definition=siamese_definitions.siamese_discrimination_definition,
        differentiable=("codes_1", "codes_2"),
        reference="Chen and Salman 2011, appendix, L_D and eq. (A.1) to (A.3)",
        domain=f"{_ALL_REAL}; two frames at least",
        family="regularized_siamese",
    ),
    "reconstruction_loss": LossEntry(
        loss=regularized_siamese.reconstruction_loss,
        plain=regularized_siamese.reconstruction_loss_plain,
        grad=regularized_siamese.reconstruction_loss_grad,
        definition=siamese_definitions.reconstruction_definition,
        differentiable=("reconstructions",),
        reference="Chen and Salman 2011, L_R (its form is this project's choice)",
        domain=_ALL_REAL,
        family="regularized_siamese",
    ),
    "regularized_siamese_loss": LossEntry(
        loss=regularized_siamese.regularized_siamese_loss,
        plain=regularized_siamese.regularized_siamese_loss_plain,
        grad=regularized_siamese.regularized_siamese_loss_grad,
        definition=siamese_definitions.regularized_siamese_definition,
        differentiable=("reconstructions_1", "reconstructions_2", "codes_1", "codes_2"),
        reference="Chen and Salman 2011, the whole loss",
        domain=f"{_ALL_REAL}; two frames at least",
        family="regularized_siamese",
    ),
    "autoembedder_loss": LossEntry(
        loss=autoembedder.autoembedder_loss,
        plain=autoembedder.autoembedder_loss_plain,
        grad=autoembedder.autoembedder_loss_grad,
        definition=ae_definitions.autoembedder_definition,
        differentiable=("embeddings_1", "embeddings_2"),
        reference="Mridha, Ohi et al. 2021 (arXiv:2102.03868), eq. (2) to (4)",
        domain=f"{_ALL_REAL}; kinks (gradient 0 taken) at the cap and at equal embeddings that must be apart",
        family="u_vectors",
    ),
    "softmax_loss": LossEntry(
        loss=classification.softmax_loss,
        plain=classification.softmax_loss_plain,
        grad=classification.softmax_loss_grad,
        definition=ml_definitions.softmax_definition,
        differentiable=("embeddings", "class_weights", "class_bias"),
        reference="Chung et al. 2020 (arXiv:2003.11982), softmax",
        domain=_ALL_REAL,
        family="metric_learning",
    ),
    "am_softmax_loss": LossEntry(
        loss=classification.am_softmax_loss,
        plain=classification.am_softmax_loss_plain,
        grad=classification.am_softmax_loss_grad,
        definition=ml_definitions.am_softmax_definition,
        differentiable=("embeddings", "class_weights"),
        reference="Wang et al. 2018 (arXiv:1801.05599), eq. (6)",
        domain=_SCALE_FREE,
        family="metric_learning",
    ),
    "aam_softmax_loss": LossEntry(
        loss=classification.aam_softmax_loss,
        plain=classification.aam_softmax_loss_plain,
        grad=classification.aam_softmax_loss_grad,
        definition=ml_definitions.aam_softmax_definition,
        differentiable=("embeddings", "class_weights"),
        reference="Deng et al. 2019 (arXiv:1801.07698), eq. (3)",
        domain=f"{_SCALE_FREE}; kinks (gradient 0 taken) at target cosines 1 and -1, jumps where its two branches meet",
        family="metric_learning",
    ),
    "contrastive_loss": LossEntry(
        loss=pairs.contrastive_loss,
        plain=pairs.contrastive_loss_plain,
        grad=pairs.contrastive_loss_grad,
        definition=ml_definitions.contrastive_definition,
        differentiable=("embeddings_1", "embeddings_2"),
        reference="Hadsell et al. 2006, eq. (4), times two",
        domain=f"{_ALL_REAL}; kink (gradient 0 taken) at equal embeddings of different speakers",
        family="metric_learning",
    ),
    "triplet_loss": LossEntry(
        loss=pairs.triplet_loss,
        plain=pairs.triplet_loss_plain,
        grad=pairs.triplet_loss_grad,
        definition=ml_definitions.triplet_definition,
        differentiable=("anchors", "positives", "negatives"),
        reference="Schroff et al. 2015 (arXiv:1503.03832), eq. (2)",
        domain=f"{_ALL_REAL}; kink (gradient 0 taken) at the hinge",
        family="metric_learning",
    ),
    "semi_hard_triplet_loss": LossEntry(
        loss=semi_hard.semi_hard_triplet_loss,
        plain=semi_hard.semi_hard_triplet_loss_plain,
        grad=semi_hard.semi_hard_triplet_loss_grad,
        definition=ml_definitions.semi_hard_triplet_definition,
        differentiable=("embeddings",),
        reference="Schroff et al. 2015 (arXiv:1503.03832), eq. (4)",
        domain=f"{_SCALE_FREE}; jumps where the choice of negatives changes, kink (gradient 0 taken) at the hinge",
        family="metric_learning",
    ),
    "prototypical_loss": LossEntry(
        loss=prototypes.prototypical_loss,
        plain=prototypes.prototypical_loss_plain,
        grad=prototypes.prototypical_loss_grad,
        definition=ml_definitions.prototypical_definition,
        differentiable=("embeddings",),
        reference="Snell et al. 2017 (arXiv:1703.05175), eq. (2), as Chung et al. 2020 use it",
        domain=_ALL_REAL,
        family="metric_learning",
    ),
    "angular_prototypical_loss": LossEntry(
        loss=prototypes.angular_prototypical_loss,
        plain=prototypes.angular_prototypical_loss_plain,
        grad=prototypes.angular_prototypical_loss_grad,
        definition=ml_definitions.angular_prototypical_definition,
        differentiable=("embeddings", "scale", "bias"),
        reference="Chung et al. 2020 (arXiv:2003.11982), angular prototypical",
        domain=_SCALE_FREE,
        family="metric_learning",
    ),
    "ge2e_softmax_loss": LossEntry(
        loss=ge2e.ge2e_softmax_loss,
        plain=ge2e.ge2e_softmax_loss_plain,
        grad=ge2e.ge2e_softmax_loss_grad,
        definition=ml_definitions.ge2e_softmax_definition,
        differentiable=("embeddings", "scale", "bias"),
        reference="Wan et al. 2018 (arXiv:1710.10467), eq. (6) and (9)",
        domain=f"{_SCALE_FREE}; with a floor, a kink where a cosine equals it (the gradient of the cosine taken)",
        family="metric_learning",
    ),
    "ge2e_contrast_loss": LossEntry(
        loss=ge2e.ge2e_contrast_loss,
        plain=ge2e.ge2e_contrast_loss_plain,
        grad=ge2e.ge2e_contrast_loss_grad,
        definition=ml_definitions.ge2e_contrast_definition,
        differentiable=("embeddings", "scale", "bias"),
        reference="Wan et al. 2018 (arXiv:1710.10467), eq. (7) and (9)",
        domain=f"{_SCALE_FREE}; kink where the most similar centroids tie (their mean taken)",
        family="metric_learning",
    ),
    "softmax_prototypical_loss": LossEntry(
        loss=softmax_prototypical.softmax_prototypical_loss,
        plain=softmax_prototypical.softmax_prototypical_loss_plain,
        grad=softmax_prototypical.softmax_prototypical_loss_grad,
        definition=ml_definitions.softmax_prototypical_definition,
        differentiable=("embeddings", "class_weights", "class_bias", "scale", "bias"),
        reference="Heo et al. 2020 (arXiv:2009.14153)",
        domain=_ALL_REAL,
        family="metric_learning",
    ),
}
