//! The demo: two depots and a bus go on through an outage, and settle with the ERP afterwards.
//!
//! In: options. Out: a story in plain words on standard error, a folder with every store and list, and the checker's
//! summary. It starts the real programs and plays only what is around them: buses (a real day), people, business
//! systems, and the line that is cut. What the programs do is theirs; the checker judges it from outside.

pub mod aims;
pub mod buses;
pub mod business;
pub mod chaos;
pub mod desk;
pub mod dock;
pub mod feed;
pub mod line;
pub mod narrate;
pub mod pace;
pub mod people;
pub mod plan;
pub mod programs;
pub mod record;
pub mod setup;
pub mod story;
pub mod verdict;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::broker::{Broker, BrokerOptions};
use narrate::{Narrator, write_line};
use pace::{Pace, real_now_ms};
use plan::Wish;
use setup::Ground;
use story::Story;

/// What a run is asked for.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// End when all is settled instead of staying.
    pub once: bool,
    /// Draws the plan.
    pub seed: u64,
    /// Pretend time per real time.
    pub speed: f64,
    /// How long the line is cut, in pretend minutes.
    pub outage_minutes: i64,
    /// Folder for everything; a temporary one if not given.
    pub data: Option<PathBuf>,
    /// A real broker; the embedded one if not given.
    pub mqtt: Option<(String, u16)>,
    /// Folder of the programs; where this one is, if not given.
    pub programs: Option<PathBuf>,
    /// Kill and restart agents and hub.
    pub chaos: bool,
    /// Whether scripted people act.
    pub people: bool,
}

/// How long the programs get to start and to learn of orders and facts before the story begins, in real ms.
const PRELUDE_MS: i64 = 12_000;

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// The story was told and judged.
    Judged {
        /// The checker's summary.
        summary: Value,
        /// Whether it found nothing wrong.
        is_well: bool,
    },
    /// Someone asked to stop before that.
    Stopped,
}

/// Runs the demo and says how it ended.
/// # Errors
/// If something could not be set up or started, or what is around the product broke; the message names it.
pub async fn run(options: &DemoOptions) -> anyhow::Result<Ended> {
    // HTTP clients want to know their cryptography even on loopback; a second installation is refused and harmless.
    rustls::crypto::ring::default_provider().install_default().ok();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checker = here.join("checker/check.py");
    verdict::is_ready(&checker).await?;
    let day = buses::Day::read(&here.join("data/buses"))?;
    let wish = Wish {
        seed: options.seed,
        speed: options.speed,
        outage_minutes: options.outage_minutes,
        people: options.people,
    };
    let plan = plan::draw(&day, wish)?;
    let temporary;
    let folder = match &options.data {
        Some(folder) => {
            prepare(folder)?;
            folder.canonicalize().with_context(|| format!("using {}", folder.display()))?
        }
        None => {
            temporary = tempfile::Builder::new().prefix("gatehouse-demo-").tempdir().context("making a folder")?;
            temporary.path().to_owned()
        }
    };
    let (broker, address) = match &options.mqtt {
        Some((host, port)) => {
            answers(host, *port).await?;
            (None, (host.clone(), *port))
        }
        None => {
            let broker =
                Broker::start("127.0.0.1:0".parse()?, BrokerOptions::default()).context("starting the broker")?;
            let port = broker.address().port();
            (Some(broker), ("127.0.0.1".to_owned(), port))
        }
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "minutes in milliseconds fit")]
    let prelude = (PRELUDE_MS as f64 * options.speed) as i64;
    let pace = Pace { start: plan.moments.start.plus(-prelude), real_start_ms: real_now_ms(), speed: options.speed };
    let narrator = Narrator::new(pace);
    introduce(&plan, &folder, options);
    write_line("Starting the programs; the day begins in about 12 seconds.");
    let http = reqwest::Client::builder().no_proxy().build()?;
    let programs = match &options.programs {
        Some(programs) => programs.clone(),
        None => std::env::current_exe()?.parent().map(Path::to_owned).context("where this program is")?,
    };
    let ground = Ground { folder: folder.clone(), programs, broker: address, pace };
    let mut stop = Stop::listen()?;
    // Programs that were started already end with what is dropped here.
    let scene = tokio::select! {
        scene = ground.set(&day, &plan, &http) => Arc::new(scene?),
        () = stop.asked() => return Ok(Ended::Stopped),
    };
    let plan = Arc::new(plan);
    let story = Story { day, plan: plan.clone(), scene: scene.clone(), pace, narrator, options: options.clone() };
    let played = tokio::select! {
        played = story.play(&ground) => Some(played),
        () = stop.asked() => None,
    };
    let told = matches!(played, Some(Ok(())));
    if options.once || !told {
        scene.end().await;
    }
    match played {
        None => return Ok(Ended::Stopped),
        Some(played) => played?,
    }
    let verdict = verdict::ask(&checker, &folder).await?;
    std::fs::write(folder.join("summary.json"), serde_json::to_string_pretty(&verdict.summary)?).ok();
    verdict::show(&verdict, &plan);
    if !options.once {
        pages(&scene);
        write_line("Everything stays up. Ctrl-C ends it.");
        stop.asked().await;
        scene.end().await;
    }
    if let Some(broker) = broker {
        broker.stop().await;
    }
    Ok(Ended::Judged { summary: verdict.summary, is_well: verdict.problems.is_empty() })
}

/// Without its broker a run would wait for ever for people to stage goods that nobody hears of.
async fn answers(host: &str, port: u16) -> anyhow::Result<()> {
    let remedy = || format!("--mqtt {host}:{port}: no broker answers there; start one, or leave the option out");
    let connect = tokio::net::TcpStream::connect((host, port));
    tokio::time::timeout(Duration::from_secs(5), connect).await.with_context(remedy)?.with_context(remedy)?;
    Ok(())
}

/// A folder that holds a run already would mix two stories.
fn prepare(folder: &Path) -> anyhow::Result<()> {
    let remedy = || format!("--data {}: give a folder that can be made and written", folder.display());
    std::fs::create_dir_all(folder).with_context(remedy)?;
    let mut inside = std::fs::read_dir(folder).with_context(remedy)?;
    if inside.next().is_some() {
        anyhow::bail!("--data {}: the folder is not empty; give a new or empty one", folder.display());
    }
    Ok(())
}

fn introduce(plan: &plan::Plan, folder: &Path, options: &DemoOptions) {
    write_line("Gatehouse demo. Two depots, a bus with a unit of its own, one hub, one ERP.");
    write_line(
        "The vehicles are city buses of Austin, Texas, on 2015-03-07, where they really were; a terminus plays a",
    );
    write_line("depot and a trip plays a dispatch. Credit: scascketta/CapMetrics, from Capital Metro's public feed.");
    write_line(&format!(
        "Pretend time begins at {} and runs {} times as fast as real time; the story takes about {} minutes.",
        plan.moments.start,
        plan.speed,
        minutes(plan),
    ));
    write_line(&format!(
        "Seed {}; {} orders; the line is cut for {} pretend minutes. Files are in {}",
        plan.seed,
        plan.orders.len(),
        plan.outage_minutes,
        folder.display()
    ));
    if options.people {
        write_line("Choices that need a person are made by scripted people through the public API. Each one is told.");
    } else {
        write_line("Nobody makes the choices that need a person: they stay open.");
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "minutes fit")]
fn minutes(plan: &plan::Plan) -> i64 {
    let pretend = plan.moments.end.since(plan.moments.start) as f64;
    (pretend / plan.speed / 60_000.0).ceil() as i64 + 1
}

/// Says where the pages are.
pub(crate) fn pages(scene: &setup::Scene) {
    write_line(&format!(
        "  hub     {}/   sign in as fay (finance), dan (dispatch); PIN {}",
        scene.finance.address,
        setup::PIN
    ));
    for agent in &scene.agents {
        let who = match (&agent.store.site, &agent.store.vehicle) {
            (Some(site), _) => format!("depot {site}; sign in as sam (supervisor), PIN {}", setup::PIN),
            (_, Some(vehicle)) => format!("bus {vehicle}"),
            _ => String::new(),
        };
        write_line(&format!("  {:<7} {}/   {who}", agent.store.name, agent.desk.address));
    }
}

/// Knows when Ctrl-C or SIGTERM asked to stop, from its making on.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    was_asked: bool,
}

impl Stop {
    fn listen() -> std::io::Result<Self> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, was_asked: false })
    }

    /// Waits until someone asked, or has already.
    async fn asked(&mut self) {
        if !self.was_asked {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
            self.was_asked = true;
        }
    }
}
