"""Clustering on the device."""

from jaxspk.clustering._counting import MOST_CLUSTERS as MOST_CLUSTERS
from jaxspk.clustering._counting import STATISTICS as STATISTICS
from jaxspk.clustering._counting import ClusterCount as ClusterCount
from jaxspk.clustering._counting import CountingRule as CountingRule
from jaxspk.clustering._counting import cluster_statistics as cluster_statistics
from jaxspk.clustering._counting import count_clusters as count_clusters
from jaxspk.clustering._counting import fit_counting_rule as fit_counting_rule
from jaxspk.clustering._estimation import COUNT_METHODS as COUNT_METHODS
from jaxspk.clustering._estimation import ClusterMethod as ClusterMethod
from jaxspk.clustering._estimation import CountMethod as CountMethod
from jaxspk.clustering._estimation import EmbeddingClusters as EmbeddingClusters
from jaxspk.clustering._estimation import cluster_embeddings as cluster_embeddings
from jaxspk.clustering._estimation import mean_by_group as mean_by_group
from jaxspk.clustering._estimation import nearest_neighbour_eigengap as nearest_neighbour_eigengap
from jaxspk.clustering._kmeans import KMeans as KMeans
from jaxspk.clustering._kmeans import kmeans as kmeans
from jaxspk.clustering._kmeans import soft_assignments as soft_assignments
from jaxspk.clustering._spectral import DEGREE_RULES as DEGREE_RULES
from jaxspk.clustering._spectral import DegreeRule as DegreeRule
from jaxspk.clustering._spectral import SpectralClustering as SpectralClustering
from jaxspk.clustering._spectral import SpectralEmbedding as SpectralEmbedding
from jaxspk.clustering._spectral import spectral_clustering as spectral_clustering
from jaxspk.clustering._spectral import spectral_embedding as spectral_embedding
