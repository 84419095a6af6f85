//! What a hub that was taken over could do to an agent: every answer is signed, and what it says is harm.
//!
//! The agent's frame reader and its core take it in as they take in the feed; core and store are the real ones, and the
//! store is tidied now and then, as by the agent's driver. How much memory that took at most is told at the end.

use anyhow::ensure;
use gatehouse_agent::{
    core::{Core, Profile, decision::Record, input::Input},
    store::{Identity, Limits, Store},
};
use gatehouse_common::{
    bundle::Bundle,
    document::Actor,
    id::{DocumentId, DocumentKind},
    seal::PrivateKey,
    sync::{Cursor, Downward, FeedItem, Lane, PullReply, decode},
};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    cases::{Case, writer},
    harm::{Bombs, Harm},
    programs::{moment, now},
    words::Words,
};

/// Inputs about one case: a few of a thousand are harmless and are taken, and a case does not grow for ever.
const EACH: u32 = 50_000;
/// Of so many inputs one is a frame.
const FRAME_IN: u32 = 10;
/// Items of one page.
const PAGE: usize = 50;
/// Pages between two times that the store is tidied.
const TIDY_EVERY: u64 = 100;
/// Good changes that harm is made of.
const GOOD: usize = 5;

/// Reads so many; prints what came of it as one line of JSON.
pub fn run(inputs: u32) -> anyhow::Result<bool> {
    // What the gate catches is no news.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut feed, bombs) = (Feed::new()?, Bombs::pack()?);
    let (mut frames, mut unread) = (0, 0);
    for (n, begun) in (0..inputs).step_by(EACH as usize).enumerate() {
        let more = suffers(&mut feed, n, EACH.min(inputs - begun), bombs.clone())?;
        (frames, unread) = (frames + more.0, unread + more.1);
    }
    let (taken, refused) = (feed.taken, feed.refused);
    let (other, another) = Case::open(&author()?, usize::MAX, &mut Words::of(5), now())?;
    feed.page(vec![chunk(other.id, another.bytes)])?;
    ensure!(feed.taken == taken + 1, "after all that, a good change is not taken any more");
    let told =
        json!({ "frames": frames, "frames_unread": unread, "taken": taken, "refused": refused, "peak_mb": peak_mb() });
    println!("{told}");
    Ok(true)
}

/// The `n`-th case is told of, and then harm is, so many times. Gives the frames among it, and those that were unread.
fn suffers(feed: &mut Feed, n: usize, inputs: u32, bombs: Bombs) -> anyhow::Result<(u32, u32)> {
    let (actor, mut words) = (author()?, Words::of(n as u64));
    let (mut case, opening) = Case::open(&actor, n, &mut words, now())?;
    let good = (0..GOOD).map(|_| Ok(case.acted(&actor, &mut words, now())?.bytes)).collect::<anyhow::Result<_>>()?;
    let mut harm = Harm::of(n as u64, case.id, good, bombs)?;
    feed.page(vec![chunk(case.id, opening.bytes)])?;
    let (mut frames, mut unread, mut page) = (0, 0, Vec::new());
    for input in 0..inputs {
        if input.is_multiple_of(FRAME_IN) {
            frames += 1;
            unread += u32::from(decode::<PullReply>(&harm.frame()).is_err());
        } else {
            page.push(chunk(case.id, harm.chunk()));
        }
        if page.len() >= PAGE {
            feed.page(std::mem::take(&mut page))?;
        }
    }
    feed.page(page)?;
    Ok((frames, unread))
}

fn author() -> anyhow::Result<Actor> {
    Ok(writer(&"D1".parse()?, &"gw-2".parse()?))
}

fn chunk(document: DocumentId, bytes: Vec<u8>) -> Downward {
    Downward::Chunk { document, kind: DocumentKind::Case, bytes }
}

/// An agent's core over its store, and what it did with what it was fed.
struct Feed {
    _directory: TempDir,
    core: Core,
    store: Store,
    position: u64,
    pages: u64,
    taken: u64,
    refused: u64,
}

impl Feed {
    fn new() -> anyhow::Result<Self> {
        let key = PrivateKey::from_seed([7; 32]);
        let owner = Identity { device: "gw-1".parse()?, site: "D1".parse()?, public_key: key.public() };
        let directory = tempfile::tempdir()?;
        let mut store = Store::open(&directory.path().join("agent.db"), &owner)?;
        store.keep_within(Limits::default())?;
        let profile = Profile {
            device: owner.device,
            site: owner.site,
            vehicle: None,
            yard: None,
            key,
            hub_key: Some(PrivateKey::from_seed([9; 32]).public()),
            bundle: Bundle::usual(),
        };
        let core = Core::load(profile, store.snapshot()?);
        Ok(Self { _directory: directory, core, store, position: 0, pages: 0, taken: 0, refused: 0 })
    }

    /// A page of the feed, decided and committed.
    fn page(&mut self, says: Vec<Downward>) -> anyhow::Result<()> {
        let mut cursor = Cursor::default();
        let mut items = Vec::new();
        for says in says {
            self.position += 1;
            items.push(FeedItem { lane: Lane::Documents, position: self.position, says });
        }
        cursor.pass(Lane::Documents, self.position);
        let decision = self.core.handle(&moment(), Input::Feed { items, cursor, more: false });
        for record in &decision.records {
            match record {
                Record::Chunk { .. } => self.taken += 1,
                Record::Quarantine { .. } => self.refused += 1,
                _ => {}
            }
        }
        self.store.commit(&decision.records)?;
        self.pages += 1;
        while self.pages.is_multiple_of(TIDY_EVERY) && self.store.tidy(now())? {}
        Ok(())
    }
}

/// Memory of this process at most so far, in MB.
fn peak_mb() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kb = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    kb.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(f64::MAX) / 1000.0 * 1.024
}
