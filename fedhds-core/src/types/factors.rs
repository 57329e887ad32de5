//! The two factors of a LoRA update, told apart by name, and which of them a round trains.

use super::{Adapter, AdapterTensor};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// One of the factors of a module's update `s B A`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Factor {
    /// `[r, in]`.
    A,
    /// `[out, r]`.
    B,
}

impl Factor {
    /// The module path and the factor that a tensor's name says: `q_proj.lora_A.weight` is A of `q_proj`. None where the name says
    /// neither. The shape says nothing: with as many rows as ranks, A and B look alike.
    pub fn of(name: &str) -> Option<(&str, Factor)> {
        let mut at = 0;
        for part in name.split('.') {
            let factor = match part {
                "lora_A" => Some(Factor::A),
                "lora_B" => Some(Factor::B),
                _ => None,
            };
            if let Some(factor) = factor {
                return Some((name[..at].trim_end_matches('.'), factor));
            }
            at += part.len() + 1;
        }
        None
    }
}

/// Which factors of an adapter are trained, and which stay as they are to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factors {
    /// All that the adapter has.
    #[default]
    Both,
    /// A; B is frozen.
    A,
    /// B; A is frozen.
    B,
}

impl Factors {
    /// Whether the tensor of this name is trained. One that is no factor always is.
    pub fn trains(self, name: &str) -> bool {
        match (self, Factor::of(name)) {
            (Factors::A, Some((_, Factor::B))) | (Factors::B, Some((_, Factor::A))) => false,
            (Factors::Both | Factors::A | Factors::B, _) => true,
        }
    }

    /// Whether what is frozen is the same in both adapters, to the bit.
    ///
    /// # Errors
    /// [`Error::Adapter`] that names the first frozen tensor that moved, with the row and column of its first other value.
    pub fn check_frozen(self, before: &Adapter, after: &Adapter) -> Result<()> {
        for (name, before) in before.tensors.iter().filter(|(name, _)| !self.trains(name)) {
            let Some(after) = after.tensors.get(name) else {
                return Err(Error::adapter(name, "a frozen tensor, as it was", "no such tensor"));
            };
            if before.shape != after.shape || before.data.len() != after.data.len() {
                let got = format!("shape {:?}", after.shape);
                return Err(Error::adapter(name, format!("a frozen tensor of shape {:?}", before.shape), got));
            }
            let same = |(before, after): (&f32, &f32)| before.to_bits() == after.to_bits();
            if let Some(at) = before.data.iter().zip(&after.data).position(|pair| !same(pair)) {
                let cols = before.shape[1].max(1);
                let expected = format!("{}, as before: the round trains {}", before.data[at], self.name());
                let got = format!("{} at row {}, column {}", after.data[at], at / cols, at % cols);
                return Err(Error::adapter(name, expected, got));
            }
        }
        Ok(())
    }

    /// The frozen tensors of `before` in the place of those of `after`.
    pub(crate) fn restore(self, before: &Adapter, after: &mut Adapter) {
        for (name, tensor) in before.tensors.iter().filter(|(name, _)| !self.trains(name)) {
            let AdapterTensor { shape, data } = tensor;
            after.tensors.insert(name.clone(), AdapterTensor { shape: *shape, data: data.clone() });
        }
    }

    /// What is trained, in words.
    pub fn name(self) -> &'static str {
        match self {
            Factors::Both => "both factors",
            Factors::A => "A alone",
            Factors::B => "B alone",
        }
    }
}

impl std::fmt::Display for Factors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    const A: &str = "layers.0.q_proj.lora_A.weight";
    const B: &str = "layers.0.q_proj.lora_B.weight";

    fn adapter(a: [f32; 2], b: [f32; 2]) -> Adapter {
        let tensor = |shape, data: [f32; 2]| AdapterTensor { shape, data: data.to_vec() };
        let tensors = [(A.to_owned(), tensor([1, 2], a)), (B.to_owned(), tensor([2, 1], b))];
        Adapter { tensors: tensors.into(), ..Adapter::default() }
    }

    #[test]
    fn names_say_which_factor_it_is() {
        assert_eq!(Factor::of(A), Some(("layers.0.q_proj", Factor::A)));
        assert_eq!(Factor::of("q.lora_B.default.weight"), Some(("q", Factor::B)));
        assert_eq!(Factor::of("lora_A"), Some(("", Factor::A)));
        for neither in ["", "a", "q.lora_embedding_A", "q.my_lora_A.weight", "q.lora_AB"] {
            assert_eq!(Factor::of(neither), None, "{neither}");
            assert!(Factors::A.trains(neither) && Factors::B.trains(neither), "{neither}");
        }
        assert_eq!(
            [Factors::Both, Factors::A, Factors::B].map(|f| [f.trains(A), f.trains(B)]),
            [[true, true], [true, false], [false, true]]
        );
    }

    #[test]
    fn what_is_frozen_stays_to_the_bit() {
        let before = adapter([0.0, 2.0], [3.0, 4.0]);
        let moved = adapter([0.0, 2.0], [3.0, 5.0]);
        Factors::B.check_frozen(&before, &moved).unwrap();
        Factors::Both.check_frozen(&before, &adapter([9.0; 2], [9.0; 2])).unwrap();
        let error = Factors::A.check_frozen(&before, &moved).unwrap_err().to_string();
        assert!(error.contains(B) && error.contains("A alone") && error.contains("5 at row 1, column 0"), "{error}");
        assert!(Factors::B.check_frozen(&before, &adapter([-0.0, 2.0], [3.0, 4.0])).is_err(), "-0 is another bit");
        let mut less = before.clone();
        less.tensors.remove(A);
        assert!(Factors::B.check_frozen(&before, &less).unwrap_err().to_string().contains("no such tensor"));
        Factors::B.restore(&before, &mut less);
        assert_eq!(less, before);
    }
}
