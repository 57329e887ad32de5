//! One round: every message goes through the protocol's encoding and is counted.

use super::active::{Active, Pilot};
use super::attack::{Crew, Sent, flipped};
use super::failures::{Failures, own};
use super::layer_score::layer_scores;
use super::reason::groups_of;
use super::simulation::Simulation;
use super::views::seen;
use super::{ClientRecord, GroupMap, RecordReason, RoundRecord, SelectionMap, peak_memory};
use crate::client::{Client, ClientState, Pair};
use crate::dataset::ClientData;
use crate::error::{Error, Result};
use crate::features::{NearCopiesConfig, TextFeatures, TextFeaturesConfig, near_copies};
use crate::method::Copies;
use crate::parallel;
use crate::protocol::{Ask, GateAnswer, GlobalAdapter, Kind, RoundStart, SelectionOrder, Traffic, Wire as _};
use crate::server::Server;
use crate::stage::{Rows, Scorer, Trained};
use crate::types::{Adapter, ClientId, Context, Matrix, Record, Round, RowId};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// One round of a simulation.
pub(super) struct RoundStep<'a> {
    simulation: &'a Simulation,
    round: Round,
    /// The global adapter as it is encoded once for all clients of the round.
    adapter: &'a Adapter,
    /// Clients whose frozen features were charged in an earlier round.
    charged: BTreeSet<ClientId>,
    /// What each client trained on in earlier rounds, where it counted.
    trained: BTreeMap<ClientId, BTreeSet<&'a str>>,
    /// What of each client did not pass the gate in earlier rounds.
    refused: BTreeMap<ClientId, BTreeSet<&'a str>>,
}

impl<'a> RoundStep<'a> {
    pub(super) fn new(
        simulation: &'a Simulation,
        round: Round,
        adapter: &'a Adapter,
        before: &'a [RoundRecord],
    ) -> Self {
        let charged = before.iter().flat_map(|r| &r.clients).map(|c| c.client).collect();
        let mut trained: BTreeMap<ClientId, BTreeSet<&str>> = BTreeMap::new();
        let mut refused = trained.clone();
        for (round, client) in before.iter().flat_map(|round| round.clients.iter().map(move |client| (round, client))) {
            refused.entry(client.client).or_default().extend(client.refused.iter().map(String::as_str));
            if !round.left_out.contains_key(&client.client) {
                trained.entry(client.client).or_default().extend(client.selected.iter().map(String::as_str));
            }
        }
        Self { simulation, round, adapter, charged, trained, refused }
    }

    /// The record of the round, and the new global adapter where it changed.
    pub(super) fn run(
        &self,
        server: &mut Server,
        mut crew: Option<&mut Crew>,
    ) -> Result<(RoundRecord, Option<Adapter>)> {
        let sim = self.simulation;
        let sampled = self.sampled();
        let start = server.begin_round(self.round, &sampled, Some(self.adapter))?.encode()?;
        let message = GlobalAdapter::new(self.round, self.adapter.clone()).encode()?;
        let global = GlobalAdapter::decode(&message)?.adapter; // what every client of the round receives
        let mut seconds = BTreeMap::new();
        let units = 2 * sampled.len() as u64;
        sim.control.begin("clients of the round", Some(units));
        let result = (|| {
            let mut active = self.gather(server, &sampled, &start, (&global, message.len()))?;
            let ids: Vec<ClientId> = active.iter().map(|client| client.data.client).collect();
            let clock = Instant::now();
            let orders = server.select(&self.context("server", 0, "select"))?;
            seconds.insert("select".to_owned(), clock.elapsed().as_secs_f64());
            let train = |client: &mut Active<'_>| {
                let order = orders.get(&client.data.client);
                let train = |order: &SelectionOrder| {
                    let from = self.begins_from(client.data.client, &global)?;
                    self.train(client, order, &from, message.len())
                };
                let update = own(|| order.map(train).transpose());
                debug(self.round, &client.record);
                update.map(|update| update.map(Option::flatten))
            };
            let mut failures = Failures::default();
            let mut trained = 0;
            let mut receive = |server: &mut Server, failures: &mut Failures, client, sent: Result<Option<Sent>>| {
                let clock = Instant::now();
                let received = sent.and_then(|sent| match sent {
                    None => Ok(false),
                    Some(Sent::Bytes(update)) => server.receive(client, &update).map(|_| true),
                    Some(Sent::Forged(message)) => server.receive_message(client, message).map(|_| true),
                });
                trained += usize::from(matches!(received, Ok(true)));
                failures.note(server, client, received);
                *seconds.entry("aggregate".to_owned()).or_default() += clock.elapsed().as_secs_f64();
            };
            // Hostile clients may know what the others send: then nothing is sent before all have trained.
            let mut waiting = BTreeMap::new();
            parallel::each(sim.clients_at_once, &mut active, train, |at, update| {
                match &crew {
                    Some(_) => drop(waiting.insert(ids[at], update)),
                    None => receive(server, &mut failures, ids[at], update.map(|update| update.map(Sent::Bytes))),
                }
                sim.control.advance("clients of the round", 1);
                Ok(())
            })?;
            if let Some(crew) = &mut crew {
                for (client, sent) in crew.send(self.round, &global, waiting.into_iter().collect()) {
                    receive(server, &mut failures, client, sent);
                }
            }
            failures.end_if_all(trained + failures.0.len(), self.worked())?;
            Ok(active)
        })();
        sim.control.end("clients of the round");
        let mut active: Vec<Active<'_>> = result?;
        for Active { record, .. } in &mut active {
            let Some(selection) = server.selection() else { continue };
            let reasons = record.reasons.iter().chain(&record.refused_reasons);
            record.groups = groups_of(selection, record.client, reasons);
        }
        let map = self.maps(&mut active, server)?;
        let clock = Instant::now();
        let finished = server.finish_round()?;
        *seconds.entry("aggregate".to_owned()).or_default() += clock.elapsed().as_secs_f64();
        let record = RoundRecord {
            round: self.round,
            hostile: sampled
                .iter()
                .copied()
                .filter(|client| crew.as_ref().is_some_and(|crew| crew.has(*client)))
                .collect(),
            clients: active.into_iter().map(|c| c.record).collect(),
            adapter_changed: finished.adapter.is_some(),
            left_out: finished.report.left_out,
            aggregation: finished.report.aggregation,
            missing: finished.report.missing,
            missing_tokens: finished.report.missing_tokens,
            gate: finished.report.gate,
            seconds,
            evaluation: None,
            peak_memory_bytes: peak_memory(),
            map,
        };
        Ok((record, finished.adapter))
    }

    /// The maps of the clients, into their records, and that of the server, where they are asked for.
    fn maps(&self, active: &mut [Active<'_>], server: &Server) -> Result<Option<GroupMap>> {
        let (most, control) = (self.simulation.views.map_records, &self.simulation.control);
        if most == 0 {
            return Ok(None);
        }
        for Active { machine, data, record, .. } in active.iter_mut() {
            let Some(state) = machine.state() else { continue };
            record.map = seen(SelectionMap::of(state, &data.records, &record.selected, most, control))?.flatten();
        }
        let states: Vec<&ClientState> = active.iter().filter_map(|client| client.machine.state()).collect();
        let Some(selection) = server.selection() else { return Ok(None) };
        Ok(seen(GroupMap::of(&states, selection, control))?.flatten())
    }

    pub(super) fn round(&self) -> Round {
        self.round
    }

    /// Whether somebody trained in an earlier round.
    fn worked(&self) -> bool {
        self.trained.values().any(|records| !records.is_empty())
    }

    /// The adapter that a client trains: the round's, unless it is hostile and stale.
    fn begins_from<'b>(&self, client: ClientId, global: &'b Adapter) -> Result<Cow<'b, Adapter>> {
        match self.simulation.crew()? {
            Some(crew) if crew.is_stale(client) => self.simulation.first_adapter().map(Cow::Owned),
            _ => Ok(Cow::Borrowed(global)),
        }
    }

    /// The clients of the round, ascending.
    pub(super) fn sampled(&self) -> Vec<ClientId> {
        let sim = self.simulation;
        sim.settings.participation.sample(&sim.clients.ids(), self.round, sim.seed)
    }

    /// The sampled clients send their summaries to the server. `global` is the adapter that they are sent, and its bytes.
    pub(super) fn gather(
        &self,
        server: &mut Server,
        sampled: &[ClientId],
        start: &[u8],
        (global, adapter_bytes): (&Adapter, usize),
    ) -> Result<Vec<Active<'a>>> {
        let sim = self.simulation;
        let mut active: Vec<Active<'a>> = Vec::with_capacity(sampled.len());
        let mut failures = Failures::default();
        let hostile = sim.crew()?;
        for &client in sampled {
            let data = match own(|| sim.clients.read(client))? {
                Ok(data) => data,
                unread => {
                    failures.note(server, client, unread);
                    continue;
                }
            };
            // Who holds nothing stays silent: the server goes on without it.
            match data.records.is_empty() {
                false if hostile.as_ref().is_some_and(|crew| crew.flips(client)) => {
                    active.push(self.active(Cow::Owned(flipped(&data)))?);
                }
                false => active.push(self.active(data)?),
                true if sim.empty_clients => {}
                true => {
                    let what = format!("client {client} (`{}`)", data.name);
                    return Err(Error::input(&what, "at least one record", "none"));
                }
            }
        }
        let ids: Vec<ClientId> = active.iter().map(|client| client.data.client).collect();
        let clients = ids.len() + failures.0.len();
        let summarize = |client: &mut Active<'_>| own(|| self.summarize(client, start, global, adapter_bytes));
        parallel::each(sim.clients_at_once, &mut active, summarize, |at, summary| {
            let received = summary.and_then(|bytes| server.receive(ids[at], &bytes));
            failures.note(server, ids[at], received);
            sim.control.advance("clients of the round", 1);
            Ok(())
        })?;
        failures.end_if_all(clients, self.worked())?;
        Ok(active)
    }

    pub(super) fn context(&self, who: &str, number: u32, call: &str) -> Context {
        let seed = self.simulation.seed.of_call(self.round, who, number, call);
        Context { control: self.simulation.control.clone(), ..Context::new(seed) }
    }

    fn client_context(&self, client: &Active<'_>, call: &str) -> Context {
        self.context("client", client.data.client.0, call)
    }

    fn active(&self, data: Cow<'a, ClientData>) -> Result<Active<'a>> {
        let record = ClientRecord {
            client: data.client,
            records: data.records.len(),
            centroids: 0,
            selected: Vec::new(),
            tokens: 0,
            skipped: 0,
            losses: Vec::new(),
            passes: 0,
            traffic: Traffic::default(),
            seconds: BTreeMap::new(),
            refused: Vec::new(),
            groups: Vec::new(),
            reasons: Vec::new(),
            refused_reasons: Vec::new(),
            map: None,
            layers: Vec::new(),
        };
        let mut machine = Client::new(data.client, &self.simulation.pipeline);
        if let Some(rank) = self.simulation.settings.rank_of(data.client) {
            machine.set_rank(rank)?;
        }
        let rows_of = |ids: &BTreeSet<&str>| {
            let rows = data.records.iter().zip(0..).filter(|(record, _)| ids.contains(record.id.as_str()));
            rows.map(|(_, row)| RowId(row)).collect::<Vec<_>>()
        };
        self.trained.get(&data.client).into_iter().for_each(|ids| machine.mark_trained(rows_of(ids)));
        self.refused.get(&data.client).into_iter().for_each(|ids| machine.mark_refused(rows_of(ids)));
        Ok(Active { data, machine, record, has_adapter: false, pilot: None })
    }

    /// The client hears of the round, groups its records and sends its groups.
    fn summarize(
        &self,
        client: &mut Active<'_>,
        start: &[u8],
        global: &Adapter,
        adapter_bytes: usize,
    ) -> Result<Vec<u8>> {
        let sim = self.simulation;
        sim.control.check()?;
        client.record.traffic.add(Kind::RoundStart, start.len());
        let start = RoundStart::decode(start)?;
        let features = match (&sim.extractor, start.ask) {
            (_, Ask::Counts) | (None, _) => None,
            (Some(extractor), _) => {
                let adapter = (!extractor.is_frozen()).then_some(global);
                if adapter.is_some() {
                    client.receive_adapter(adapter_bytes);
                }
                let context = self.client_context(client, "features");
                let stored = sim.cache.features(extractor.as_ref(), &client.data.records, adapter, &context)?;
                let first = !extractor.is_frozen() || !self.charged.contains(&client.data.client);
                client.record.seconds.insert("features".into(), if first { stored.seconds } else { 0.0 });
                Some(stored)
            }
        };
        let scores = match &sim.scorer {
            None => None,
            Some(scorer) => {
                let adapter = (!scorer.is_frozen()).then_some(global);
                if adapter.is_some() {
                    client.receive_adapter(adapter_bytes);
                }
                let context = self.client_context(client, "scores");
                let (scores, seconds) = sim.cache.scores(scorer.as_ref(), &client.data.records, adapter, &context)?;
                let first = !scorer.is_frozen() || !self.charged.contains(&client.data.client);
                client.record.seconds.insert("scores".into(), if first { seconds } else { 0.0 });
                if first {
                    client.record.passes += scorer.passes(&client.data.records)?.round() as u64;
                }
                Some(scores)
            }
        };
        let none = Matrix::zeros(client.data.records.len(), 0);
        let features = features.as_ref().map_or(&none, |f| &f.values);
        let scores_of_layers = layer_scores(features, &client.data.records, sim.views.layers);
        client.record.layers = seen(scores_of_layers)?.unwrap_or_default();
        let clock = Instant::now();
        let copies = self.copies(&client.data.records)?;
        // Where each copy may train, they still are one record when it comes to how many a group shows.
        let (copies, alike) = match sim.pipeline.client.near_copies {
            Copies::Collapse => (copies, Vec::new()),
            Copies::Keep => (Vec::new(), copies),
        };
        let prompts = match sim.pipeline.server.gate {
            Some(_) if sim.judge.is_some() => {
                let features = TextFeatures::new(TextFeaturesConfig::default())?;
                Some(features.prompts(&client.data.records, &sim.control)?)
            }
            _ => None,
        };
        let tokens = self.tokens(&client.data.records)?;
        let rows =
            Rows::new(features).scores(scores.as_ref()).copies(&copies).prompts(prompts.as_ref()).tokens(&tokens);
        let rows = rows.alike(&alike);
        let mut summary = client.machine.summarize(&start, rows, &self.client_context(client, "summarize"))?;
        client.record.seconds.insert("summarize".into(), clock.elapsed().as_secs_f64());
        if let Some(judge) = &sim.judge {
            let pairs = client.machine.pilot(&start)?;
            let losses = self.losses(judge.as_ref(), &client.data, &pairs, &mut client.record)?;
            client.machine.answer(&mut summary, &start, &losses)?;
            let answer = summary.sections.get::<GateAnswer>()?;
            client.pilot = answer.map(|answer| Pilot { answer, pairs, losses });
        }
        client.record.centroids = if summary.centroids.cols() > 0 { summary.centroids.rows() } else { 0 };
        let bytes = summary.encode()?;
        client.record.traffic.add(Kind::ClientSummary, bytes.len());
        Ok(bytes)
    }

    /// The client turns its order into records, trains on them and sends its adapter; `None` where nothing was ordered.
    fn train(
        &self,
        client: &mut Active<'_>,
        order: &SelectionOrder,
        global: &Adapter,
        adapter_bytes: usize,
    ) -> Result<Option<Vec<u8>>> {
        let sim = self.simulation;
        sim.control.check()?;
        let bytes = order.encode()?;
        client.record.traffic.add(Kind::SelectionOrder, bytes.len());
        let order = SelectionOrder::decode(&bytes)?;
        let clock = Instant::now();
        let judged = |record: &ClientRecord| record.seconds.get("judge").copied().unwrap_or_default();
        let before = judged(&client.record);
        let context = self.client_context(client, "choose");
        let (data, record) = (&*client.data, &mut client.record);
        let picked = match &sim.judge {
            None => client.machine.choose_explained(&order, &context, None)?,
            Some(judge) => {
                let mut losses = |pairs: &[Pair]| self.losses(judge.as_ref(), data, pairs, record);
                client.machine.choose_explained(&order, &context, Some(&mut losses))?
            }
        };
        let refused = picked.refused.iter().filter_map(|refused| data.records.get(refused.row.index()));
        client.record.refused = refused.map(|record| record.id.clone()).collect();
        client.record.refused_reasons = picked.refused.iter().map(RecordReason::from).collect();
        let seconds = clock.elapsed().as_secs_f64() - (judged(&client.record) - before);
        client.record.seconds.insert("choose".into(), seconds.max(0.0)); // what was judged before took no time now
        let rows = picked.rows();
        let chosen = records_of(&client.data, &rows)?;
        if chosen.is_empty() {
            return Ok(None);
        }
        client.receive_adapter(adapter_bytes);
        let clock = Instant::now();
        let (factors, start) = (client.machine.factors(), client.machine.start_from(global)?);
        let trained = sim.trainer.train(&start, &chosen, &self.client_context(client, "train").training(factors))?;
        client.record.seconds.insert("train".into(), clock.elapsed().as_secs_f64());
        check_trained(&start, &trained)?;
        client.record.selected = chosen.into_iter().map(|r| r.id).collect();
        if sim.pipeline.client.clusterer.is_some() {
            client.record.reasons = picked.records.iter().map(RecordReason::from).collect();
        }
        client.record.tokens = trained.tokens;
        client.record.skipped = trained.skipped;
        client.record.losses = trained.losses.clone();
        let mut update = client.machine.update(&order, &rows, trained)?;
        update.leave_out_frozen(factors, &start)?;
        let update = update.encode()?;
        client.record.traffic.add(Kind::LocalUpdate, update.len());
        Ok(Some(update))
    }
}

impl RoundStep<'_> {
    /// Which near copy each record is of, where that matters to the method.
    fn copies(&self, records: &[Record]) -> Result<Vec<u32>> {
        let stages = &self.simulation.pipeline.client;
        if stages.near_copies == Copies::Keep && !stages.counts_distinct() {
            return Ok(Vec::new());
        }
        let groups = near_copies(records, NearCopiesConfig::default(), &self.simulation.control)?;
        Ok(groups.into_iter().map(|group| group as u32).collect())
    }

    /// The tokens of each record, where the method's budget is in tokens.
    fn tokens(&self, records: &[Record]) -> Result<Vec<u32>> {
        let pipeline = &self.simulation.pipeline;
        let Some(count) = self.simulation.count_tokens.as_ref().filter(|_| pipeline.server.count.tokens().is_some())
        else {
            return Ok(Vec::new());
        };
        let tokens = |record: &Record| Ok(u32::try_from(count(record)?).unwrap_or(u32::MAX));
        records.iter().map(tokens).collect()
    }

    /// The loss of each pair: of the one record's response under the other's prompt.
    fn losses(
        &self,
        judge: &dyn Scorer,
        data: &ClientData,
        pairs: &[Pair],
        record: &mut ClientRecord,
    ) -> Result<Vec<f32>> {
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        let sim = self.simulation;
        let joined: Vec<Record> = records_of(data, &pairs.iter().map(|pair| pair.prompt).collect::<Vec<_>>())?
            .into_iter()
            .zip(records_of(data, &pairs.iter().map(|pair| pair.response).collect::<Vec<_>>())?)
            .map(|(prompt, response)| Record {
                id: format!("{} / {}", response.id, prompt.id),
                responses: response.responses,
                ..prompt
            })
            .collect();
        let context = self.context("client", data.client.0, "judge");
        let (scores, seconds) = sim.cache.scores(judge, &joined, None, &context)?;
        record.passes += judge.passes(&joined)?.round() as u64;
        *record.seconds.entry("judge".into()).or_default() += seconds;
        Ok(scores.values().iter_rows().map(|row| row.first().copied().unwrap_or(f32::NAN)).collect())
    }
}

fn records_of(data: &ClientData, rows: &[RowId]) -> Result<Vec<Record>> {
    let record = |row: &RowId| {
        data.records.get(row.index()).cloned().ok_or_else(|| {
            Error::stage("client.selector", format!("expected rows below {}, got {row}", data.records.len()))
        })
    };
    rows.iter().map(record).collect()
}

/// A trainer must return the adapter that it was given, with other values.
fn check_trained(sent: &Adapter, trained: &Trained) -> Result<()> {
    let wrong = |message: String| Err(Error::stage("trainer", message));
    for (name, tensor) in &sent.tensors {
        match trained.adapter.tensors.get(name) {
            None => return wrong(format!("expected tensor `{name}` in the trained adapter, got none")),
            Some(got) if got.shape != tensor.shape => {
                return wrong(format!("tensor `{name}`: expected shape {:?}, got {:?}", tensor.shape, got.shape));
            }
            Some(_) => {}
        }
    }
    if let Some(name) = trained.adapter.tensors.keys().find(|name| !sent.tensors.contains_key(*name)) {
        return wrong(format!("expected the tensors that it was given, got `{name}` beside them"));
    }
    Ok(())
}

fn debug(round: Round, record: &ClientRecord) {
    tracing::debug!(
        round = round.0 + 1,
        client = record.client.0,
        records = record.records,
        centroids = record.centroids,
        selected = record.selected.len(),
        seconds = format_args!("{:.2}", record.total_seconds()),
        "client done"
    );
}
