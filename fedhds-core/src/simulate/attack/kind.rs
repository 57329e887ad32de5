//! The attacks by name.

use serde::{Deserialize, Serialize};

/// What a hostile client does. `g` is the round's global adapter, `x` the update that the client trained, `h` the honest clients' updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttackKind {
    /// The opposite of what it learnt: `g - factor (x - g)`.
    SignFlip,
    /// Inner-product manipulation (Xie et al. 2019): `g - tau mean(h - g)`. A small `tau` turns the mean without an outlier, a large one reverses it.
    Ipm,
    /// A little is enough (Baruch et al. 2019): `mean(h) - z std(h)`, value by value. By default `z` is the quantile of the normal
    /// distribution at `(n - f - s) / (n - f)`, with `s = floor(n / 2 + 1) - f` for `f` hostile clients of a round's `n`: the farthest that a
    /// majority still covers. In small rounds that is near 0.
    Alie,
    /// Noise: each value of the global adapter and a normal number of standard deviation `std`.
    Gaussian,
    /// The same direction, too far: `g + factor (x - g)`.
    Scale,
    /// The same product of other factors: `(factor B, A / factor)`. It ruins means of factors, and no distance between products shows it.
    Gauge,
    /// It trains on responses that belong to other records of its own, and sends what it learns.
    LabelFlip,
    /// It sends what the honest client of the lowest number sends, so that this one counts several times (Karimireddy et al. 2022).
    Mimic,
    /// An adapter of zeros.
    Zero,
    /// Every value is NaN.
    Nan,
    /// Every value is infinite.
    Infinity,
    /// Every value is 1e38, near the end of the range of f32.
    Huge,
    /// In each round the adapter that it sent in its first.
    Replay,
    /// It trains on the adapter that the run began with, whatever the round is.
    Stale,
    /// It claims to have trained on 16,777,216 records.
    HugeCount,
    /// All hostile clients send one and the same adapter, `g - factor (x - g)` of the first of them: equals that lie near each other.
    Collude,
}

impl AttackKind {
    /// Every kind.
    pub const ALL: [AttackKind; 16] = [
        AttackKind::SignFlip,
        AttackKind::Ipm,
        AttackKind::Alie,
        AttackKind::Gaussian,
        AttackKind::Scale,
        AttackKind::Gauge,
        AttackKind::LabelFlip,
        AttackKind::Mimic,
        AttackKind::Zero,
        AttackKind::Nan,
        AttackKind::Infinity,
        AttackKind::Huge,
        AttackKind::Replay,
        AttackKind::Stale,
        AttackKind::HugeCount,
        AttackKind::Collude,
    ];

    /// What configurations and tables call it.
    pub fn name(self) -> &'static str {
        match self {
            AttackKind::SignFlip => "sign_flip",
            AttackKind::Ipm => "ipm",
            AttackKind::Alie => "alie",
            AttackKind::Gaussian => "gaussian",
            AttackKind::Scale => "scale",
            AttackKind::Gauge => "gauge",
            AttackKind::LabelFlip => "label_flip",
            AttackKind::Mimic => "mimic",
            AttackKind::Zero => "zero",
            AttackKind::Nan => "nan",
            AttackKind::Infinity => "infinity",
            AttackKind::Huge => "huge",
            AttackKind::Replay => "replay",
            AttackKind::Stale => "stale",
            AttackKind::HugeCount => "huge_count",
            AttackKind::Collude => "collude",
        }
    }

    /// The settings that it has beside the clients.
    pub(super) fn settings(self) -> &'static [&'static str] {
        match self {
            AttackKind::SignFlip | AttackKind::Scale | AttackKind::Gauge | AttackKind::Collude => &["factor"],
            AttackKind::Ipm => &["tau"],
            AttackKind::Alie => &["z"],
            AttackKind::Gaussian => &["std"],
            _ => &[],
        }
    }
}
