//! The handle of an adapter, which a build of selection alone names and never makes.

use crate::handle::Handle;
use fedhds_core::types::Adapter;
use std::sync::Arc;

/// A LoRA adapter; it never changes. Freed with `fedhds_adapter_free`.
pub struct fedhds_adapter_t {
    _private: [u8; 0],
}

impl Handle for fedhds_adapter_t {
    type Object = Arc<Adapter>;
    const NAME: &'static str = "fedhds_adapter_t";
}
