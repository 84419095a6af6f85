//! The story itself: what happens when, and who lives through it at the same time.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    DemoOptions,
    buses::Day,
    chaos,
    dock::{self, Dock},
    feed::{Feed, Senses},
    narrate::{Narrator, write_line},
    pace::Pace,
    pages, people,
    plan::{MINUTE, Plan},
    record::Record,
    setup::{Ground, Scene, write_plan},
};

/// Longest wait for everything to settle after the last bus, in real seconds.
const SETTLE_MAX_S: u64 = 90;

/// One run with everything that it plays with.
#[derive(Debug)]
pub struct Story {
    /// The day of the buses.
    pub day: Day,
    /// What shall happen.
    pub plan: Arc<Plan>,
    /// Who plays.
    pub scene: Arc<Scene>,
    /// The clock.
    pub pace: Pace,
    /// Who tells.
    pub narrator: Narrator,
    /// What was asked for.
    pub options: DemoOptions,
}

impl Story {
    /// Plays it to the end; the stores are at rest then.
    /// # Errors
    /// If something around the product failed. What the product did wrong is not judged here.
    pub async fn play(self, ground: &Ground) -> anyhow::Result<()> {
        let record = Arc::new(Record::begin(&ground.folder)?);
        let feed = Feed::open(&ground.broker.0, ground.broker.1, record.clone());
        write_plan(&ground.folder, &self.plan, &self.scene)?;
        write_line("Pages:");
        pages(&self.scene);
        self.play_inside(&feed, record).await
    }

    async fn play_inside(&self, feed: &Feed, record: Arc<Record>) -> anyhow::Result<()> {
        let business = &self.scene.business;
        let m = self.plan.moments;
        business.open_books(&self.plan).await?;
        for site in self.plan.doors.keys() {
            dock::wake(&self.senses(site, feed)?, &self.plan.doors[site], self.pace.now()).await;
        }
        self.boards_know_orders().await?;
        business.tell_facts(&self.plan, self.pace.now()).await?;
        if self.pace.now() > m.start.plus(5 * MINUTE) {
            bail!("setting up took too long for this speed; give a smaller --speed");
        }
        self.pace.until(m.start).await;
        self.narrator.headline("The day begins. Orders are in the ERP; depots wait for goods, papers and buses.");

        let mut side: JoinSet<()> = JoinSet::new();
        for site in self.plan.doors.keys() {
            let desk = self.scene.agent_at(site).context("no agent at the depot")?.desk.clone();
            if self.options.people {
                side.spawn(people::supervisor(site.clone(), desk, self.plan.clone(), self.pace, self.narrator));
            }
        }
        if self.options.people {
            let desk = self.scene.finance.clone();
            side.spawn(people::finance(desk, self.plan.clone(), record, self.pace, self.narrator));
        }
        if self.options.chaos {
            let deaths = chaos::draw(self.plan.seed, &m, self.scene.agents.len());
            side.spawn(chaos::rage(self.scene.clone(), deaths, self.pace, self.narrator));
        }
        let mut docks: JoinSet<()> = JoinSet::new();
        for order in &self.plan.orders {
            let desk = self.scene.agent_at(&order.site).context("no agent at the depot")?.desk.clone();
            let senses = self.senses(&order.site, feed)?;
            docks.spawn(Dock { order: order.clone(), moments: m, senses, desk, pace: self.pace }.work());
        }
        let told =
            tokio::try_join!(self.events(), self.changes(), self.replay(feed), self.noise(feed), self.progress());
        told?;
        while docks.join_next().await.is_some() {}
        feed.settle().await?;
        self.narrator.headline("The last bus has left. What is left is to settle.");
        self.settle().await
    }

    fn senses(&self, site: &str, feed: &Feed) -> anyhow::Result<Senses> {
        let agent = self.scene.agent_at(site).with_context(|| format!("no agent at {site}"))?;
        Ok(Senses { store: agent.store.name.clone(), place: site.to_owned(), feed: feed.clone() })
    }

    /// Waits until each depot shows all of its orders.
    async fn boards_know_orders(&self) -> anyhow::Result<()> {
        for site in self.plan.doors.keys() {
            let desk = &self.scene.agent_at(site).context("no agent at the depot")?.desk;
            let wanted: BTreeSet<&str> =
                self.plan.orders.iter().filter(|o| o.site == *site).map(|o| o.order.as_str()).collect();
            for attempt in 0.. {
                let last = match desk.board().await {
                    Ok(board) => {
                        let known: BTreeSet<&str> = board.iter().map(|shown| shown.order.as_str()).collect();
                        if wanted.is_subset(&known) {
                            break;
                        }
                        format!("{} of {} orders", known.len(), wanted.len())
                    }
                    Err(error) => format!("{error:#}"),
                };
                if attempt > 200 {
                    bail!("the board of {site} does not show its orders: {last}");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// The great events, in their order.
    async fn events(&self) -> anyhow::Result<()> {
        let (m, say, business) = (self.plan.moments, &self.narrator, &self.scene.business);
        self.pace.until(m.start.plus(MINUTE)).await;
        business.silence_wms(true).await?;
        say.say(
            "The WMS falls silent. What it confirmed last grows old; after an hour releases go on, marked degraded.",
        );
        self.pace.until(m.wms_speaks).await;
        business.silence_wms(false).await?;
        business.reconfirm(self.pace.now()).await?;
        business.all_sent().await?;
        say.say("The WMS is back and confirms everything again.");
        self.pace.until(m.cut).await;
        for agent in &self.scene.agents {
            agent.line.set_whole(false);
        }
        say.headline("The line between the depots, the bus and the hub is cut. Depots go on under their leases.");
        self.pace.until(m.erp_down).await;
        business.cut_erp(true).await?;
        say.say("The ERP cannot be reached by the hub either. Its own people go on working in it.");
        self.pace.until(m.erp_up).await;
        business.cut_erp(false).await?;
        say.say("The ERP answers the hub again. The depots still know nothing of it.");
        self.pace.until(m.back).await;
        for agent in &self.scene.agents {
            agent.line.set_whole(true);
        }
        say.headline(
            "The line returns. Recalls come first, then what depots decided goes up, and everything is compared.",
        );
        self.pace.until(m.reconfirm).await;
        business.reconfirm(self.pace.now()).await?;
        self.pace.until(m.end).await;
        Ok(())
    }

    /// The changes at the ERP that are aimed at orders released under lease.
    async fn changes(&self) -> anyhow::Result<()> {
        let mut aimed: Vec<_> = self.plan.orders.iter().filter_map(|o| Some((o.aim.as_ref()?.changed_at, o))).collect();
        aimed.sort_by_key(|(at, _)| *at);
        for (at, order) in aimed {
            self.pace.until(at).await;
            let words = self.scene.business.change(order).await?;
            let desk = &self.scene.agent_at(&order.site).context("no agent at the depot")?.desk;
            let state = desk.first_dispatch(&order.order).await.map_or_else(|| "unknown".to_owned(), |s| s.state);
            self.narrator.say(format!("ERP: {words}; {} does not know, there it is {state}", order.site));
        }
        Ok(())
    }

    /// The buses move.
    async fn replay(&self, feed: &Feed) -> anyhow::Result<()> {
        let m = self.plan.moments;
        let mut listeners: Vec<(String, Senses)> = Vec::new();
        for order in &self.plan.orders {
            let there = listeners.iter().any(|(v, senses)| *v == order.vehicle && senses.place == order.site);
            if !there {
                listeners.push((order.vehicle.clone(), self.senses(&order.site, feed)?));
            }
        }
        let unit = self.scene.agents.iter().find(|a| a.store.vehicle.is_some()).context("no agent on the bus")?;
        let senses = Senses { store: unit.store.name.clone(), place: "unit".to_owned(), feed: feed.clone() };
        listeners.push((self.plan.unit_vehicle.clone(), senses));
        for fix in self.day.fixes.iter().filter(|f| f.at >= m.start && f.at <= m.end.plus(4 * MINUTE)) {
            self.pace.until(fix.at).await;
            for (_, senses) in listeners.iter().filter(|(vehicle, _)| *vehicle == fix.vehicle) {
                senses.position(&fix.vehicle, fix.point, fix.speed_kmh, fix.at).await;
            }
        }
        Ok(())
    }

    /// What no depot is spared: messages that nobody can read, and two that contradict each other.
    async fn noise(&self, feed: &Feed) -> anyhow::Result<()> {
        let m = self.plan.moments;
        for (i, (after, topic, payload)) in [
            (12, "door/{door}", "}{ not json"),
            (31, "scan/staged", r#"{"id":"x-1","at":"2015-03-07T12:00:00Z","order":"SO-1001","line":1,"quantity":-4}"#),
            (97, "bay/{door}", r#"{"id":"x-2","at":"2015-03-07T12:00:00Z","occupied":"perhaps"}"#),
        ]
        .into_iter()
        .enumerate()
        {
            self.pace.until(m.start.plus(after * MINUTE)).await;
            for (site, doors) in &self.plan.doors {
                let Some(door) = doors.last() else { continue };
                let senses = self.senses(site, feed)?;
                senses.garbage(&topic.replace("{door}", door), payload, self.pace.now()).await;
                if i == 1 {
                    senses.conflict(door, self.pace.now()).await;
                }
            }
        }
        Ok(())
    }

    /// Tells now and then how far the depots are.
    async fn progress(&self) -> anyhow::Result<()> {
        let m = self.plan.moments;
        let total = m.end.since(m.start).max(1);
        let mut at = m.start.plus(20 * MINUTE);
        while at < m.end {
            self.pace.until(at).await;
            let mut words = Vec::new();
            for site in self.plan.doors.keys() {
                let Some(agent) = self.scene.agent_at(site) else { continue };
                match agent.desk.board().await {
                    Ok(board) => {
                        let count =
                            |states: &[&str]| board.iter().filter(|s| states.contains(&s.state.as_str())).count();
                        words.push(format!(
                            "{site}: {} wait, {} held, {} released, {} at the door, {} left",
                            count(&["planned", "ready"]),
                            count(&["held"]),
                            count(&["released"]),
                            count(&["loading", "loaded"]),
                            count(&["departed", "delivered", "exception_delivered", "settled"]),
                        ));
                    }
                    Err(_) => words.push(format!("{site}: the page does not answer")),
                }
            }
            let percent = at.since(m.start) * 100 / total;
            self.narrator.say(format!("[{percent:>2} %] {}", words.join(" | ")));
            at = at.plus(20 * MINUTE);
            self.all_alive().await?;
        }
        Ok(())
    }

    /// Nothing may end by itself; under chaos, programs are dead for a moment on purpose.
    async fn all_alive(&self) -> anyhow::Result<()> {
        if self.options.chaos {
            return Ok(());
        }
        let programs =
            self.scene.agents.iter().map(|a| &a.program).chain([&self.scene.hub]).chain(&self.scene.standins);
        for program in programs {
            if let Some(ended) = program.has_ended().await {
                bail!(ended);
            }
        }
        Ok(())
    }

    /// Waits until the hub has no open item but those that wait for a person, and nothing is on its way.
    async fn settle(&self) -> anyhow::Result<()> {
        let open_wanted = if self.options.people {
            0
        } else {
            let aims = self.plan.orders.iter().filter_map(|o| o.aim.as_ref());
            aims.filter(|aim| aim.choice.is_some()).count()
        };
        let mut quiet = 0;
        let mut last = String::new();
        for _ in 0..SETTLE_MAX_S * 4 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let open = self.scene.finance.get("/v1/recon?open=true&limit=500").await.map(|v| count_open(&v));
            let waiting = self.waiting().await;
            last = format!("open items {open:?}, records on their way {waiting:?}");
            let is_quiet = open.is_ok_and(|open| open == open_wanted) && waiting.is_some_and(|n| n == 0);
            quiet = if is_quiet { quiet + 1 } else { 0 };
            // Two seconds of quiet, so that what is folded lazily has been folded.
            if quiet >= 10 {
                self.narrator.say("Everything is settled.");
                return Ok(());
            }
        }
        self.narrator.say(format!("Not everything settled in {SETTLE_MAX_S} seconds: {last}. The checker will tell."));
        Ok(())
    }

    /// Records that agents still have to push, if all of them answer.
    async fn waiting(&self) -> Option<u64> {
        let mut sum = 0;
        for agent in &self.scene.agents {
            let status = agent.desk.get("/api/status").await.ok()?;
            sum += find_number(&status, &["outbox", "unpushed", "to_push", "waiting"]).unwrap_or(0);
        }
        Some(sum)
    }
}

fn count_open(answer: &Value) -> usize {
    let items = answer.as_array().or_else(|| answer["items"].as_array()).or_else(|| answer["recon"].as_array());
    items.into_iter().flatten().filter(|item| item["outcome"].is_null()).count()
}

/// The first of `keys` that holds a number, wherever in `value` it stands.
fn find_number(value: &Value, keys: &[&str]) -> Option<u64> {
    let map = value.as_object()?;
    keys.iter()
        .find_map(|key| map.get(*key).and_then(Value::as_u64))
        .or_else(|| map.values().find_map(|inner| find_number(inner, keys)))
}
