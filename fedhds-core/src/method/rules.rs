//! Which stages fit together: the one rulebook, for pipelines put together by hand and for configurations alike.

use super::count::Count;
use super::options::{Noise, Regroup, Repeats};
use super::pipeline::Pipeline;
use crate::error::{Error, Result};
use crate::protocol::MAX_DIMS;

impl Pipeline {
    /// Whether the stages fit together: the one rulebook, which a configuration goes through too.
    ///
    /// # Errors
    /// [`Error::Parameter`] that names the option as a configuration spells it (`client.frame`, `server.clusterer`, ...): a count
    /// outside its range, a budget that is needed and absent, a frame without groups, a clusterer or memory that would have no effect.
    pub fn check(&self) -> Result<()> {
        let (client, server) = (&self.client, &self.server);
        let fail = |key: &str, expected: &str, got: &str| Err(Error::parameter(key, expected, got));
        server.count.check()?;
        server.limits.check()?;
        let per_cluster = server.count == Count::PerCluster;
        if client.clusterer.is_none() {
            if client.frame.is_some() {
                return fail("client.frame", "`per_client`, as there are no groups to compare", "`shared`");
            }
            if per_cluster {
                return fail("count", "a budget, a ratio or `all`: there is nothing to cluster", "`per_cluster`");
            }
            if server.clusterer.is_some() {
                return fail("server.clusterer", "`none`: there are no centroids to cluster", "a clusterer");
            }
            if server.selector.uses_groups() && server.count != Count::All {
                return fail(
                    "server.selector",
                    "one that picks without groups: there are none",
                    "one that picks by groups",
                );
            }
        }
        if let Some(frame) = &client.frame
            && !(1..=MAX_DIMS).contains(&(frame.dims() as usize))
        {
            return fail("client.shared_dims", &format!("1 to {MAX_DIMS}"), &frame.dims().to_string());
        }
        let chosen_by_budget = !per_cluster && server.count != Count::All;
        if chosen_by_budget {
            match (server.clusterer.is_some(), server.selector.uses_groups()) {
                (false, true) => {
                    let expected = "`hdbscan` or `kmeans`, whose clusters `server.selector` picks from";
                    return fail("server.clusterer", expected, "`none`");
                }
                (true, false) => {
                    let expected = "`none`: with a budget this `server.selector` does not look at clusters";
                    return fail("server.clusterer", expected, "a clusterer");
                }
                _ => {}
            }
        }
        if server.clusterer.is_none() && server.noise != Noise::Drop {
            return fail(
                "server.noise",
                "`drop`, as there is no `server.clusterer` whose noise could be kept",
                "`singletons`",
            );
        }
        if client.min_group_size == 0 {
            return fail("client.min_group_size", "at least 1", "0");
        }
        if client.min_group_size > 1 && client.clusterer.is_none() {
            let got = client.min_group_size.to_string();
            return fail("client.min_group_size", "1, as there are no groups of records", &got);
        }
        match (client.regroup, client.repeats) {
            (Regroup::Once, _) if client.frame.is_none() => {
                let expected = "`each_round`: groups are kept only where `client.frame` is `shared`";
                return fail("client.regroup", expected, "`once`");
            }
            (Regroup::Once, _) if per_cluster => {
                let expected = "a budget, a ratio or `all`: what groups have left is counted in records";
                return fail("count", expected, "`per_cluster`");
            }
            (_, Repeats::Allow | Repeats::Avoid) | (Regroup::EachRound, _) if server.gate.is_some() => {
                let expected = "`none`: only where `client.regroup` is `once` and `client.repeats` is `never` can a record be refused";
                return fail("server.gate", expected, "a gate");
            }
            (Regroup::EachRound, Repeats::Never) => {
                let expected =
                    "`allow` or `avoid`: only where `client.regroup` is `once` the server knows what is left";
                return fail("client.repeats", expected, "`never`");
            }
            _ => {}
        }
        if let Some(cap) = server.share_cap {
            if !(cap.is_finite() && cap >= 1.0) {
                return fail("server.share_cap", "a number of at least 1", &cap.to_string());
            }
            if per_cluster {
                return fail("server.share_cap", "none, as there is no budget to share", &cap.to_string());
            }
        }
        if server.memory.is_some() {
            if client.frame.is_none() {
                let expected =
                    "`none`: coordinates of different rounds can be compared only where `client.frame` is `shared`";
                return fail("server.memory", expected, "a memory");
            }
            if !server.selector.uses_covered() {
                return fail("server.memory", "`none`: this `server.selector` does not look at it", "a memory");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::cluster::{KMeans, KMeansConfig};
    use crate::method::{ClientStages, GateConfig, ServerStages, SharedFrame};
    use crate::select::{CoverageMemory, FacilityLocation, NearestCentroid};
    use std::sync::Arc;

    fn kmeans() -> Arc<KMeans> {
        Arc::new(KMeans::new(KMeansConfig::with_clusters(3)).unwrap())
    }

    fn framed(dims: u32) -> Option<SharedFrame> {
        Some(SharedFrame::new(dims, |_| Ok(Arc::new(crate::reduce::Identity))))
    }

    /// Facility location over framed groups, to a budget: what fits.
    fn good() -> Pipeline {
        Pipeline {
            client: ClientStages { clusterer: Some(kmeans()), frame: framed(2), ..Default::default() },
            server: ServerStages {
                selector: Arc::new(FacilityLocation),
                count: Count::Budget(3),
                memory: Some(Arc::new(|| Ok(Box::new(CoverageMemory::default())))),
                ..Default::default()
            },
        }
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_key() {
        assert!(Pipeline::default().check().is_ok());
        assert!(good().check().is_ok());
        type Spoil = fn(&mut Pipeline);
        let cases: [(&str, &str, Spoil); 23] = [
            ("count.budget", "at least 1", |p| p.server.count = Count::Budget(0)),
            ("client.frame", "no groups", |p| p.client.clusterer = None),
            ("count", "nothing to cluster", |p| {
                *p = Pipeline {
                    server: ServerStages { count: Count::PerCluster, ..Default::default() },
                    ..Default::default()
                };
            }),
            ("server.clusterer", "no centroids", |p| {
                *p = Pipeline::default();
                p.server.clusterer = Some(kmeans());
            }),
            ("server.selector", "without groups", |p| {
                *p = Pipeline::default();
                p.server.count = Count::Budget(2);
                p.server.selector = Arc::new(NearestCentroid);
            }),
            ("client.shared_dims", "1 to", |p| p.client.frame = framed(0)),
            ("client.shared_dims", "1 to", |p| p.client.frame = framed(1 << 17)),
            ("server.clusterer", "picks from", |p| p.server.selector = Arc::new(NearestCentroid)),
            ("server.clusterer", "does not look", |p| p.server.clusterer = Some(kmeans())),
            ("server.memory", "can be compared", |p| p.client.frame = None),
            ("server.noise", "drop", |p| p.server.noise = Noise::Singletons),
            ("client.min_group_size", "at least 1", |p| p.client.min_group_size = 0),
            ("client.min_group_size", "no groups", |p| {
                *p = Pipeline { server: p.server.clone(), ..Default::default() };
                p.server.memory = None;
                p.client.min_group_size = 3;
            }),
            ("client.regroup", "shared", |p| {
                p.server.memory = None;
                p.client.frame = None;
                p.client.regroup = Regroup::Once;
            }),
            ("server.gate", "can a record be refused", |p| p.server.gate = Some(GateConfig::default())),
            ("client.repeats", "what is left", |p| p.client.repeats = Repeats::Never),
            ("server.share_cap", "at least 1", |p| p.server.share_cap = Some(0.5)),
            ("server.share_cap", "at least 1", |p| p.server.share_cap = Some(f64::NAN)),
            ("server.limits.max_groups", "at least 1", |p| p.server.limits.max_groups = 0),
            ("server.limits.max_group_records", "at least 1", |p| p.server.limits.max_group_records = 0),
            ("server.limits.max_round_groups", "at least 1", |p| p.server.limits.max_round_groups = 0),
            ("server.limits.max_step", "at least 1", |p| p.server.limits.max_step = 0.5),
            ("server.limits.max_step", "finite", |p| p.server.limits.max_step = f64::NAN),
        ];
        for (key, word, spoil) in cases {
            let mut pipeline = good();
            spoil(&mut pipeline);
            let error = pipeline.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{key}: ")) && error.contains(word), "{key}, {word}: {error}");
        }
        let mut pipeline = good();
        pipeline.server.selector = Arc::new(NearestCentroid);
        pipeline.server.clusterer = Some(kmeans());
        let error = pipeline.check().unwrap_err().to_string();
        assert!(error.contains("server.memory") && error.contains("does not look"), "{error}");
    }
}
