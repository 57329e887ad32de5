//! How far a client's adapter may lie from the global one: no single update moves the adapter without end.

use super::Server;
use crate::aggregate::step::{draw, length};
use crate::sorting;

/// What the updates of a round measure themselves by: the median of how far they lie, the larger of two in the middle. Those that did not move
/// say nothing. One or two cannot be told apart by their number: they measure themselves by the nearer of two, the length of the global
/// adapter, or 1, whichever is most. 0 where nothing moved.
fn usual(mut distances: Vec<f64>, global: f64) -> f64 {
    distances.retain(|&distance| distance > 0.0);
    sorting::sort_by(&mut distances, f64::total_cmp);
    match *distances.as_slice() {
        [] => 0.0,
        [_] => global.max(1.0),
        [nearer, _] => nearer.max(global).max(1.0),
        ref more => more[more.len() / 2],
    }
}

impl Server {
    /// Draws the updates that lie too far back to the distance that [`Limits::max_step`](crate::method::Limits) allows.
    pub(super) fn draw_back(&mut self) {
        let Some(global) = &self.global else { return };
        let distances =
            self.updates.values().filter(|arrived| arrived.waiting.is_some()).map(|arrived| arrived.distance);
        let limit = self.pipeline.server.limits.max_step;
        let most = limit * usual(distances.collect(), length(global));
        if most <= 0.0 {
            return;
        }
        for (client, arrived) in &mut self.updates {
            if let Some(update) = arrived.waiting.as_mut().filter(|_| arrived.distance > most) {
                let start = self.starts.get(&update.adapter.config.r).unwrap_or(global);
                draw(start, &mut update.adapter, most / arrived.distance);
                let text = format!(
                    "its adapter lies {:.3e} from the global one, and is drawn back to {most:.3e}, {limit} times the usual",
                    arrived.distance
                );
                tracing::warn!(%client, "{text}");
                self.limited.insert(*client, text);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_distance_is_that_of_most() {
        assert_eq!(usual(vec![], 9.0), 0.0);
        assert_eq!(usual(vec![0.0, 0.0], 9.0), 0.0);
        assert_eq!([usual(vec![1e30], 9.0), usual(vec![1e30], 0.0)], [9.0, 1.0]);
        assert_eq!([usual(vec![1e30, 20.0], 9.0), usual(vec![1e30, 2.0], 9.0)], [20.0, 9.0]);
        assert_eq!(usual(vec![1e30, 2.0, 0.0, 3.0], 1e9), 3.0);
        assert_eq!(usual(vec![1e30, 2.0, 3.0, 1.0, 1e30], 0.0), 3.0);
        assert_eq!(usual(vec![7.0, 2.0, 3.0, 1.0], 0.0), 3.0);
    }
}
