//! Groups of rows, and their centroids.
