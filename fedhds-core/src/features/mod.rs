//! Features of records from the layers of a model.
