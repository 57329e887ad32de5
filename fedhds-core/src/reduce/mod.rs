//! Fewer columns: t-SNE, PCA, kernel PCA, shared random projection.
