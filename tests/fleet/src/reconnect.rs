//! A real agent comes back to a real hub over HTTPS: what goes over the line, and what it costs both.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use gatehouse_bench::{
    lines::Printer,
    process::{Process, Usage},
};
use gatehouse_common::{
    document::Document,
    id::{DocumentId, Hash32},
};
use gatehouse_hub::store::Store;
use tokio::task::block_in_place;

use crate::{
    depot::DepotPlace,
    history::{Story, changes, stories, tell_depot, tell_hub},
    hub::HubPlace,
    programs::{Programs, now},
    relay::{Counted, Relay, Weather},
    repo::Pair,
    server::Server,
    unit::Unit,
};

/// How long an agent is left alone before the line comes back.
const SETTLE: Duration = Duration::from_secs(3);
/// Longest that the two may take to agree.
const AGREE_MAX: Duration = Duration::from_secs(300);
/// How often it is looked whether they do.
const LOOK: Duration = Duration::from_millis(20);

/// Hub and depot as they were when the line was cut, on disk, to be played as often as one likes.
pub struct Script {
    directory: PathBuf,
    /// What the depot and the hub said.
    pub stories: Vec<Story>,
    /// The depot's gateway, and another of the same depot, which is new.
    units: Vec<Unit>,
}

/// A hub that runs, with the history of one depot in its store.
pub struct Scene<'s> {
    script: &'s Script,
    /// The hub's place.
    pub hub: HubPlace,
    /// Its store, beside it.
    store: Store,
    /// The hub itself.
    process: Process,
}

/// What a reconnect took.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Bytes and connections.
    pub line: Counted,
    /// Signed exchanges.
    pub exchanges: u64,
    /// Seconds until both agreed.
    pub seconds: f64,
    /// Seconds of processor of the agent.
    pub agent_cpu_s: f64,
    /// Seconds of processor of the hub, until everything was folded.
    pub hub_cpu_s: f64,
    /// Memory of each at most, in MB.
    pub agent_rss_mb: f64,
    /// The same of the hub.
    pub hub_rss_mb: f64,
}

impl Script {
    /// Makes one of `cases` cases in `directory`.
    pub fn write(directory: &Path, cases: usize) -> anyhow::Result<Self> {
        let hub = HubPlace::make(&directory.join("hub"), IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let unit = |name| Unit::certified(name, "D1", &hub.authority, now());
        let units = vec![unit("D1-gateway")?, unit("D1-second")?];
        let stories = stories(&units[0], cases)?;
        let store = hub.store()?;
        HubPlace::list(&store, &units, now())?;
        let cursor = tell_hub(&hub, &store, &units[0], &stories)?;
        let depot = DepotPlace::make(&directory.join("depot"), &units[0], &hub, "https://127.0.0.1:9")?;
        tell_depot(&depot, &stories, cursor)?;
        drop(store);
        until_closed(&directory.join("hub"))?;
        Ok(Self { directory: directory.to_owned(), stories, units })
    }

    /// Starts its hub at `host`, on a copy in `directory`, or in a database of `server`. It blocks.
    pub fn play(
        &self,
        directory: &Path,
        host: IpAddr,
        server: Option<&Server>,
        programs: &Programs,
    ) -> anyhow::Result<Scene<'_>> {
        copy(&self.directory.join("hub"), &directory.join("hub"))?;
        let mut hub = HubPlace::make(&directory.join("hub"), host)?;
        if let Some(server) = server {
            hub.move_to(server)?;
        }
        let process = hub.start(programs)?;
        let store = hub.beside()?;
        Ok(Scene { script: self, hub, store, process })
    }
}

/// Waits until nothing has a store in `folder` open: the last one to close it takes its log away, which must not happen
/// while the files are copied.
fn until_closed(folder: &Path) -> anyhow::Result<()> {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let names = std::fs::read_dir(folder)?.map(|file| Ok(file?.file_name()));
        let names = names.collect::<std::io::Result<Vec<_>>>()?;
        if !names.iter().any(|name| name.to_string_lossy().ends_with("-shm")) {
            return Ok(());
        }
        if Instant::now() > patience {
            bail!("a store in {} is still open", folder.display());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

impl Scene<'_> {
    /// The depot as it was left, on a copy in `directory`, to reach the hub at `url`.
    pub fn depot(&self, directory: &Path, url: &str) -> anyhow::Result<DepotPlace> {
        copy(&self.script.directory.join("depot"), directory)?;
        DepotPlace::make(directory, &self.script.units[0], &self.hub, url)
    }

    /// The same depot with a new gateway, whose store is empty.
    pub fn new_depot(&self, directory: &Path, url: &str) -> anyhow::Result<DepotPlace> {
        let place = DepotPlace::make(directory, &self.script.units[1], &self.hub, url)?;
        drop(place.store()?);
        Ok(place)
    }

    /// Where devices reach the hub.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.hub.host, self.hub.devices)
    }

    /// Every case as the hub has it. It blocks.
    fn of_hub(&self, mut each: impl FnMut(&Story, Document) -> anyhow::Result<()>) -> anyhow::Result<()> {
        for story in &self.script.stories {
            match self.store.read_now(|r| r.document(&story.case.id))? {
                Some((_, document)) => each(story, document)?,
                None => bail!("the hub has no case {}", story.case.id),
            }
        }
        Ok(())
    }

    /// Every case as depot and hub have it before they meet.
    fn pairs(&self) -> anyhow::Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        self.of_hub(|story, hub| {
            pairs.push(Pair { id: story.case.id, depot: story.depots.document.clone(), hub });
            Ok(())
        })?;
        Ok(pairs)
    }

    /// Every case's heads as the hub has them.
    fn hub_heads(&self) -> anyhow::Result<BTreeMap<DocumentId, String>> {
        let mut heads = BTreeMap::new();
        self.of_hub(|story, document| {
            heads.insert(story.case.id, serde_json::to_string(&document.heads())?);
            Ok(())
        })?;
        Ok(heads)
    }

    /// Waits until `depot` has every change and the hub too, and has folded it. They must then be the same.
    pub fn until_both_agree(&self, depot: &DepotPlace, longest: Duration) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let (up, down) = changes(&self.script.stories);
        let chunks = self.script.stories.iter().map(|story| story.before.len()).sum::<usize>() + up + down;
        let conn = depot.look()?;
        let mut held = conn.prepare("SELECT count(*) FROM chunks")?;
        let mut waiting = conn.prepare("SELECT count(*) FROM outbox WHERE taken = 0 AND kind = 'chunk'")?;
        let mut count = |of_waiting: bool| -> anyhow::Result<usize> {
            let statement = if of_waiting { &mut waiting } else { &mut held };
            let found: i64 = statement.query_row([], |row| row.get(0))?;
            Ok(usize::try_from(found)?)
        };
        while count(false)? < chunks || count(true)? > 0 || self.store.read_now(|r| r.behind_count())? > 0 {
            if begun.elapsed() > longest {
                bail!(
                    "they do not agree: the depot has {} of {chunks} changes, {} wait; the agent's log:\n{}\nthe hub's:\n{}",
                    count(false)?,
                    count(true)?,
                    depot.log(),
                    self.hub.log()
                );
            }
            std::thread::sleep(LOOK);
        }
        let took = begun.elapsed();
        let mut heads = BTreeMap::new();
        let mut rows = conn.prepare("SELECT document, heads FROM documents")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (id, text): (String, String) = (row.get(0)?, row.get(1)?);
            heads.insert(id.parse()?, text);
        }
        ensure!(heads == self.hub_heads()?, "depot and hub have taken all changes and are not the same");
        Ok(took)
    }
}

/// The reconnect of `depot` over `relay`, which is cut.
pub async fn reconnect(
    scene: &Scene<'_>,
    depot: &DepotPlace,
    relay: &Relay,
    programs: &Programs,
) -> anyhow::Result<Figures> {
    let agent = depot.start(programs, &[])?;
    let settled = settled(&agent).await?;
    let exchanges = || block_in_place(|| scene.hub.exchanges());
    let (line, exchanges_before, hub) = (relay.counted(), exchanges()?, scene.process.usage()?);
    let begun = Instant::now();
    relay.set(Weather::FAIR);
    block_in_place(|| scene.until_both_agree(depot, AGREE_MAX))?;
    let seconds = begun.elapsed().as_secs_f64();
    let (after, hub_after, line_after) = (agent.usage()?, scene.process.usage()?, relay.counted());
    Ok(Figures {
        line: Counted {
            up: line_after.up - line.up,
            down: line_after.down - line.down,
            connections: line_after.connections - line.connections,
            harmed: 0,
        },
        exchanges: exchanges()? - exchanges_before,
        seconds,
        agent_cpu_s: after.cpu_s - settled.cpu_s,
        hub_cpu_s: hub_after.cpu_s - hub.cpu_s,
        agent_rss_mb: after.rss_peak_mb,
        hub_rss_mb: hub_after.rss_peak_mb,
    })
}

/// Waits until a started agent does nothing any more.
pub async fn settled(agent: &Process) -> anyhow::Result<Usage> {
    let mut before = agent.usage()?;
    loop {
        tokio::time::sleep(SETTLE).await;
        let now = agent.usage()?;
        if now.cpu_s - before.cpu_s < 0.05 {
            return Ok(now);
        }
        before = now;
    }
}

/// What was measured with one scene, and its documents as they were before it.
pub struct Outcome {
    /// What the hub's store is in.
    pub store: &'static str,
    /// The depot came back.
    pub reconnected: Figures,
    /// A new gateway took everything.
    pub downloaded: Figures,
    /// Every document on both sides before the depot came back.
    pub pairs: Vec<Pair>,
    /// The heads of each as both sides last had them.
    pub common: Vec<Vec<Hash32>>,
}

/// The reconnect with `cases` cases, and then the first download of a new gateway. The hub's store is in a file, or in a
/// database of `server`.
pub async fn run(
    cases: usize,
    server: Option<&Server>,
    programs: &Programs,
    printer: Printer,
) -> anyhow::Result<Outcome> {
    let directory = tempfile::tempdir()?;
    let store = if server.is_some() { "PostgreSQL" } else { "SQLite" };
    printer.say(&format!("gatehouse over {store}: making {cases} cases and what was said of them"));
    let script = Script::write(&directory.path().join("script"), cases)?;
    let (scene, pairs) = block_in_place(|| {
        let scene = script.play(directory.path(), IpAddr::V4(Ipv4Addr::LOCALHOST), server, programs)?;
        let pairs = scene.pairs()?;
        Ok::<_, anyhow::Error>((scene, pairs))
    })?;
    let common = script.stories.iter().map(|story| story.case.document.heads()).collect();
    let relay = Relay::lay(scene.address(), Weather::CUT).await?;
    let depot = scene.depot(&directory.path().join("depot"), &relay.url())?;
    printer.say("gatehouse: the line comes back");
    let reconnected = reconnect(&scene, &depot, &relay, programs).await?;
    relay.set(Weather::CUT);
    let depot = scene.new_depot(&directory.path().join("new"), &relay.url())?;
    printer.say("gatehouse: a new gateway takes everything");
    let downloaded = reconnect(&scene, &depot, &relay, programs).await?;
    Ok(Outcome { store, reconnected, downloaded, pairs, common })
}
