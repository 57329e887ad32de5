//! What a loss is asked for of.

/// A response under a prompt: its loss is asked for, in nats, the mean over the tokens of the response, by any model.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fedhds_pair_t {
    /// The row of the record whose response it is.
    pub response: u32,
    /// The row of the record whose prompt (instruction and input) it is put under: its own, or another one's.
    pub prompt: u32,
}
