"""Clustering on the device."""

from jaxspk.clustering._kmeans import KMeans as KMeans
from jaxspk.clustering._kmeans import kmeans as kmeans
from jaxspk.clustering._kmeans import soft_assignments as soft_assignments
