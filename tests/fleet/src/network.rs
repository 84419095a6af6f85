//! `./run trials network`: bad lines between the real agent and the real hub. What was changed on both sides while the
//! line was cut has to be on both within a minute of its return.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use gatehouse_bench::lines::{Aim, Printer, rounded};
use serde_json::json;

use crate::{
    history::changes,
    packets::{Fare, PacketLine, lacking},
    programs::Programs,
    reconnect::{Script, settled},
    relay::{Counted, Relay, Weather},
};

/// Within this long of the line's return both sides are the same.
const WITHIN: Duration = Duration::from_secs(60);
/// How long it is waited beyond that, to say by how much it was missed.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often a storm may strike nothing.
const STORMS_MAX: u32 = 5;
/// Each way of a line of 600 ms, and 40 kbit/s.
const SLOW_MS: u32 = 300;
const SLOW_KBIT: u32 = 40;

/// What to try.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Cases of the depot; of 100, 52 changes are made while the line is cut. A multiple of 50
    #[arg(long, value_name = "N", default_value_t = 1_950)]
    cases: usize,
    /// Only the lines that need no rights and no patience
    #[arg(long)]
    short: bool,
}

/// What a line was like before it came back, and is like from then on.
struct Line {
    name: &'static str,
    before: Weather,
    lasts: Duration,
    after: Weather,
}

struct PacketsLine {
    name: &'static str,
    before: Fare,
    lasts: Duration,
    after: Fare,
}

/// Tries all lines; says whether every one held.
pub async fn run(arguments: &Arguments, programs: &Programs, printer: Printer) -> anyhow::Result<bool> {
    let directory = tempfile::tempdir()?;
    printer.say(&format!("making {} cases and what was said of them", arguments.cases));
    let script = Script::write(&directory.path().join("script"), arguments.cases)?;
    // Fewer bytes are struck less often.
    let hits = if arguments.short { 30 } else { 10 };
    let chaos = Weather { broken: 2 * hits, mangled: hits, repeated: hits, ..Weather::FAIR };
    let slow = Weather {
        delay: Duration::from_millis(SLOW_MS.into()),
        bytes_per_s: Some(SLOW_KBIT * 1000 / 8),
        ..Weather::FAIR
    };
    let seconds = |long: u64, short: u64| Duration::from_secs(if arguments.short { short } else { long });
    let mut lines = vec![
        Line { name: "cut, then whole", before: Weather::CUT, lasts: seconds(5, 1), after: Weather::FAIR },
        Line {
            name: "bytes cut, mangled and repeated, then whole",
            before: chaos,
            lasts: seconds(20, 4),
            after: Weather::FAIR,
        },
    ];
    if !arguments.short {
        lines.push(Line {
            name: "cut, then 40 kbit/s and 600 ms",
            before: Weather::CUT,
            lasts: seconds(5, 1),
            after: slow,
        });
    }
    let mut good = 0;
    let mut all = 0;
    for (n, line) in lines.iter().enumerate() {
        all += 1;
        good += u32::from(over_relay(&script, line, &directory.path().join(n.to_string()), programs, printer).await?);
    }
    if arguments.short {
        // Namespaces are for the long trial.
    } else if let Some(why) = lacking() {
        gatehouse_skipped::skipped(format!("{why}; loss of packets and a line that is cut one way are not tried"));
    } else {
        let bad = Fare { loss: 0.05, delay_ms: SLOW_MS, kbit: SLOW_KBIT, ..Fare::FAIR };
        let lines = [
            PacketsLine {
                name: "cut, then 40 kbit/s, 600 ms, 5 % loss",
                before: Fare::CUT,
                lasts: seconds(5, 1),
                after: bad,
            },
            PacketsLine {
                name: "cut from the hub to the agent alone, then whole",
                before: Fare { down: false, ..Fare::FAIR },
                lasts: seconds(40, 1),
                after: Fare::FAIR,
            },
            PacketsLine {
                name: "cut from the agent to the hub alone, then whole",
                before: Fare { up: false, ..Fare::FAIR },
                lasts: seconds(40, 1),
                after: Fare::FAIR,
            },
        ];
        for (n, line) in lines.iter().enumerate() {
            all += 1;
            let directory = directory.path().join(format!("packets-{n}"));
            good += u32::from(over_packets(&script, line, &directory, programs, printer).await?);
        }
    }
    println!("{good} passed, {} failed", all - good);
    Ok(good == all)
}

async fn over_relay(
    script: &Script,
    line: &Line,
    directory: &Path,
    programs: &Programs,
    printer: Printer,
) -> anyhow::Result<bool> {
    let storm = line.before.broken > 0;
    // A storm that struck nothing shows nothing: then the same again.
    for again in 0..STORMS_MAX {
        printer.say(line.name);
        let directory = directory.join(again.to_string());
        let (took, counted) = one_relay(script, line, &directory, programs).await?;
        if !storm || counted.harmed > 0 {
            let bytes = counted.up + counted.down;
            let more = json!({ "bytes": bytes, "connections": counted.connections, "harmed": counted.harmed });
            return Ok(told(line.name, script, took, &more, printer));
        }
    }
    bail!("the line was said to be bad and harmed nothing")
}

async fn one_relay(
    script: &Script,
    line: &Line,
    directory: &Path,
    programs: &Programs,
) -> anyhow::Result<(Duration, Counted)> {
    let scene = script.play(directory, IpAddr::V4(Ipv4Addr::LOCALHOST), None, programs)?;
    let relay = Relay::lay(scene.address(), Weather::CUT).await?;
    let depot = scene.depot(&directory.join("depot"), &relay.url())?;
    let agent = depot.start(programs, &[])?;
    settled(&agent).await?;
    relay.set(line.before);
    tokio::time::sleep(line.lasts).await;
    relay.set(line.after);
    let began = Instant::now();
    let agreed = tokio::task::block_in_place(|| scene.until_both_agree(&depot, PATIENCE));
    let took = began.elapsed();
    agreed?;
    Ok((took, relay.counted()))
}

async fn over_packets(
    script: &Script,
    line: &PacketsLine,
    directory: &Path,
    programs: &Programs,
    printer: Printer,
) -> anyhow::Result<bool> {
    printer.say(line.name);
    let mut packets = PacketLine::lay()?;
    let scene = script.play(directory, IpAddr::V4(packets.ours), None, programs)?;
    let depot = scene.depot(&directory.join("depot"), &format!("https://{}", scene.address()))?;
    let agent = depot.start(programs, &packets.through())?;
    settled(&agent).await?;
    packets.set(line.before)?;
    tokio::time::sleep(line.lasts).await;
    let before = packets.set(line.after)?;
    let began = Instant::now();
    let agreed = tokio::task::block_in_place(|| scene.until_both_agree(&depot, PATIENCE));
    let took = began.elapsed();
    let lost = packets.set(line.after)?;
    agreed?;
    ensure!(line.after.loss == 0.0 || lost > before, "the line was said to lose packets and lost none");
    Ok(told(line.name, script, took, &json!({ "packets_lost": lost }), printer))
}

fn told(name: &str, script: &Script, took: Duration, more: &serde_json::Value, printer: Printer) -> bool {
    let (up, down) = changes(&script.stories);
    let took_s = took.as_secs_f64();
    printer.line(&json!({
        "bench": "network", "case": name, "changes": up + down, "seconds": rounded(took_s), "line": more,
    }));
    let case = format!("{name}: {} changes on both sides, s after its return", up + down);
    let holds = took <= WITHIN;
    printer.aim(&Aim { bench: "network", case: &case, ours: took_s, peer: None, aim: "<= 60", holds })
}
