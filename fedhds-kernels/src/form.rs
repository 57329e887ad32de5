//! How a file stores the values of a matrix.

/// How values are stored. The block forms are llama.cpp's (`ggml-quants.c`): 32 values of a row share their scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// 4 bytes a value.
    F32,
    /// IEEE half precision, 2 bytes a value.
    F16,
    /// The upper half of an f32, 2 bytes a value.
    Bf16,
    /// A scale (f16) and 32 bytes: `d * q`, q from -128 to 127.
    Q8_0,
    /// A scale (f16) and 32 half bytes: `d * (q - 8)`.
    Q4_0,
    /// A scale and a smallest value (f16) and 32 half bytes: `d * q + m`.
    Q4_1,
}

/// Values of a block.
pub(crate) const BLOCK: usize = 32;

impl Form {
    /// Values that are stored together; a row is whole blocks.
    pub fn block(self) -> usize {
        match self {
            Form::F32 | Form::F16 | Form::Bf16 => 1,
            Form::Q8_0 | Form::Q4_0 | Form::Q4_1 => BLOCK,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Form::F32 => 4,
            Form::F16 | Form::Bf16 => 2,
            Form::Q8_0 => 34,
            Form::Q4_0 => 18,
            Form::Q4_1 => 20,
        }
    }

    /// Bytes of a row of so many values; none where they are no whole blocks.
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        columns.is_multiple_of(self.block()).then(|| columns / self.block() * self.block_bytes())
    }
}
