//! How a GGUF file stores values, and how they become f32.
//!
//! The block formats are llama.cpp's (`ggml-quants.c`); the arithmetic is the crate rlx-gguf's, held equal to the `gguf`
//! Python package by tests/parity/gguf.rs. What stays here is the check of every size before it.

use crate::error::{Error, Result};
use rayon::prelude::*;
use rlx_gguf::GgmlType;
use std::path::Path;

/// Values dequantised by one thread at a time: a multiple of every block.
const CHUNK: usize = 1 << 16;

macro_rules! quantizations {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $block:literal values in $bytes:literal bytes, $kernel:ident;)*) => {
        /// How a tensor's values are stored.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(non_camel_case_types, reason = "llama.cpp's own names")]
        pub enum Quantization {
            $($(#[$doc])* #[doc = concat!("`", $name, "`: ", stringify!($block), " values in ", stringify!($bytes), " bytes.")] $variant,)*
        }

        impl Quantization {
            /// Every storage that can be read.
            pub const ALL: &'static [Quantization] = &[$(Quantization::$variant),*];

            /// By the number that GGUF writes.
            pub fn from_code(code: u32) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// llama.cpp's name, for example `Q4_K`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Values per block: a tensor's rows are whole blocks.
            pub fn block(self) -> usize {
                match self { $(Self::$variant => $block,)* }
            }

            /// Bytes per block.
            pub fn block_bytes(self) -> usize {
                match self { $(Self::$variant => $bytes,)* }
            }

            fn kernel(self) -> GgmlType {
                match self { $(Self::$variant => GgmlType::$kernel,)* }
            }
        }
    };
}

quantizations! {
    F32 = 0, "F32", 1 values in 4 bytes, F32;
    F16 = 1, "F16", 1 values in 2 bytes, F16;
    BF16 = 30, "BF16", 1 values in 2 bytes, BF16;
    Q4_0 = 2, "Q4_0", 32 values in 18 bytes, Q4_0;
    Q4_1 = 3, "Q4_1", 32 values in 20 bytes, Q4_1;
    Q5_0 = 6, "Q5_0", 32 values in 22 bytes, Q5_0;
    Q5_1 = 7, "Q5_1", 32 values in 24 bytes, Q5_1;
    Q8_0 = 8, "Q8_0", 32 values in 34 bytes, Q8_0;
    Q2_K = 10, "Q2_K", 256 values in 84 bytes, Q2K;
    Q3_K = 11, "Q3_K", 256 values in 110 bytes, Q3K;
    Q4_K = 12, "Q4_K", 256 values in 144 bytes, Q4K;
    Q5_K = 13, "Q5_K", 256 values in 176 bytes, Q5K;
    Q6_K = 14, "Q6_K", 256 values in 210 bytes, Q6K;
    IQ4_NL = 20, "IQ4_NL", 32 values in 18 bytes, IQ4NL;
    IQ4_XS = 23, "IQ4_XS", 256 values in 136 bytes, IQ4XS;
    IQ2_XXS = 16, "IQ2_XXS", 256 values in 66 bytes, IQ2XXS;
    IQ2_XS = 17, "IQ2_XS", 256 values in 74 bytes, IQ2XS;
    IQ2_S = 22, "IQ2_S", 256 values in 82 bytes, IQ2S;
    IQ3_XXS = 18, "IQ3_XXS", 256 values in 98 bytes, IQ3XXS;
    IQ3_S = 21, "IQ3_S", 256 values in 110 bytes, IQ3S;
    IQ1_S = 19, "IQ1_S", 256 values in 50 bytes, IQ1S;
    IQ1_M = 29, "IQ1_M", 256 values in 56 bytes, IQ1M;
}

impl Quantization {
    /// Bytes of `elements` values; none where they are no whole blocks or too many.
    pub fn bytes(self, elements: u64) -> Option<u64> {
        let block = self.block() as u64;
        if !elements.is_multiple_of(block) { None } else { (elements / block).checked_mul(self.block_bytes() as u64) }
    }

    /// The names of all, for messages.
    pub fn names() -> String {
        Self::ALL.iter().map(|q| q.name()).collect::<Vec<_>>().join(", ")
    }

    /// `bytes` as f32.
    ///
    /// # Errors
    /// [`Error::Model`] that names the tensor when `bytes` are no whole blocks.
    pub fn dequantize(self, bytes: &[u8], path: &Path, tensor: &str) -> Result<Vec<f32>> {
        let block_bytes = self.block_bytes();
        if !bytes.len().is_multiple_of(block_bytes) {
            let message =
                format!("expected blocks of {block_bytes} bytes ({}), got {} bytes", self.name(), bytes.len());
            return Err(Error::model(path, tensor, message));
        }
        let mut values = vec![0f32; bytes.len() / block_bytes * self.block()];
        values
            .par_chunks_mut(CHUNK)
            .zip(bytes.par_chunks(CHUNK / self.block() * block_bytes))
            .try_for_each(|(out, stored)| self.fill(out, stored))
            .map_err(|message| Error::model(path, tensor, message))?;
        Ok(values)
    }

    fn fill(self, out: &mut [f32], stored: &[u8]) -> Result<(), String> {
        // The plain formats are read here: the crate casts their bytes in place, which needs an alignment that a file
        // does not promise.
        match self {
            Self::F32 => {
                for (o, &b) in out.iter_mut().zip(stored.as_chunks::<4>().0) {
                    *o = f32::from_le_bytes(b);
                }
            }
            Self::F16 => {
                for (o, &b) in out.iter_mut().zip(stored.as_chunks::<2>().0) {
                    *o = half::f16::from_le_bytes(b).to_f32();
                }
            }
            Self::BF16 => {
                for (o, &b) in out.iter_mut().zip(stored.as_chunks::<2>().0) {
                    *o = half::bf16::from_le_bytes(b).to_f32();
                }
            }
            _ => {
                let values = rlx_gguf::dequant_typed(self.kernel(), stored, out.len(), self.name());
                let values = values.map_err(|e| e.to_string())?;
                if values.len() != out.len() {
                    return Err(format!("expected {} values ({}), got {}", out.len(), self.name(), values.len()));
                }
                out.copy_from_slice(&values);
            }
        }
        Ok(())
    }
}
