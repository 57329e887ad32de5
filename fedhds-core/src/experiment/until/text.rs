//! What it took to reach a target as the rows of a table.

use super::cost::CostToTarget;
use crate::experiment::layout::Layout;
use crate::metrics::{SeedMean, SeedRatio};
use std::collections::BTreeSet;

/// What stands above the two tables.
const CAPTION: &str =
    "Cost to the target loss (means over the seeds that reached it; those that did not are in no mean):";
const RATIOS: &str =
    "Cost to the target over that of random (geometric means over the seeds in which both reached it):";

/// Bytes in a megabyte.
const MEGA: f64 = 1e6;

/// The rows of a table with a target, each by its first cells; `layout` makes an empty one of these columns beside those that say which runs a row is of.
pub(in crate::experiment) struct Costs<'a, L: Fn(&[&str]) -> Layout> {
    pub rows: Vec<(Vec<String>, &'a CostToTarget)>,
    pub layout: L,
}

impl<L: Fn(&[&str]) -> Layout> Costs<'_, L> {
    /// Both tables with what stands above them; nothing where there is no target.
    pub(in crate::experiment) fn written(&self, write: impl Fn(&Layout) -> String, gap: &str) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut text = format!("\n{CAPTION}\n{gap}{}", write(&self.costs()));
        let ratios = self.ratios();
        if !ratios.is_empty() {
            text.push_str(&format!("\n{RATIOS}\n{gap}{}", write(&ratios)));
        }
        text
    }

    fn costs(&self) -> Layout {
        let mut layout = (self.layout)(&[
            "target",
            "reached",
            "share [95%]",
            "rounds",
            "records [95%]",
            "client s [95%]",
            "MB up [95%]",
            "MB down [95%]",
        ]);
        for (place, row) in &self.rows {
            let share = &row.reached;
            let [low, high] = share.interval;
            let mut cells = place.clone();
            cells.extend([
                row.target.loss.to_string(),
                format!("{} of {}", share.count, share.of),
                format!("{:.2} [{low:.2}, {high:.2}]", share.share),
            ]);
            match &row.cost {
                None => cells.extend(vec!["-".to_owned(); 5]),
                Some(cost) => cells.extend([
                    format!("{:.1}", cost.rounds.mean),
                    mean(&cost.records, 1.0),
                    mean(&cost.seconds, 1.0),
                    mean(&cost.up, MEGA),
                    mean(&cost.down, MEGA),
                ]),
            }
            layout.push(cells);
        }
        layout
    }

    fn ratios(&self) -> Layout {
        let mut layout =
            (self.layout)(&["seeds", "records [95%]", "client s [95%]", "bytes up [95%]", "bytes down [95%]"]);
        for (place, row) in &self.rows {
            let Some(ratios) = &row.to_random else { continue };
            let mut cells = place.clone();
            cells.push(ratios.seeds.to_string());
            cells.extend([ratios.records, ratios.seconds, ratios.up, ratios.down].map(ratio));
            layout.push(cells);
        }
        layout
    }

    /// What a reader must know of the tables; nothing where there is no target.
    pub(in crate::experiment) fn legend(&self) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let every: BTreeSet<usize> = self.rows.iter().map(|(_, row)| row.target.every).collect();
        let every = every.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ");
        let mut lines = vec![format!(
            "target: reached by the first evaluation at or below it, every {every} rounds and after the last; share: of all finished \
             seeds, with Wilson's interval; cost: of all clients in all rounds until then, evaluations apart, with Student's interval"
        )];
        if self.rows.iter().any(|(_, row)| row.target.stop) {
            lines.push(
                "until.stop: a run ended where it reached the target, so that losses, and what was trained on, are not of equally \
                 many rounds"
                    .to_owned(),
            );
        }
        lines
    }
}

/// A mean in units of `unit`, three digits of it, with its interval in as many decimals.
fn mean(mean: &SeedMean, unit: f64) -> String {
    let middle = mean.mean / unit;
    let decimals = match middle.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let interval =
        mean.interval.map(|ends| ends.map(|end| format!("{:.decimals$}", end / unit))).map(|ends| ends.join(", "));
    format!("{middle:.decimals$}{}", interval.map_or(String::new(), |ends| format!(" [{ends}]")))
}

fn ratio(ratio: Option<SeedRatio>) -> String {
    let Some(ratio) = ratio else { return "-".to_owned() };
    let interval = ratio.interval.map_or(String::new(), |[low, high]| format!(" [{low:.2}, {high:.2}]"));
    format!("{:.2}x{interval}", ratio.ratio)
}
