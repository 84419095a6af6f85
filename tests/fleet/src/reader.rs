//! What a hub that was taken over could do to an agent: every answer is signed, and what it says is harm.
//!
//! The agent's frame reader and its core take it in as they take in the feed; the core is the real one, over a store in
//! memory that is tidied now and then, as the agent's driver does. How much memory that took at most is told at the end.

use anyhow::ensure;
use gatehouse_agent::{
    core::{Core, Profile, decision::Record, input::Input},
    store::{Identity, Store},
};
use gatehouse_common::{
    bundle::Bundle,
    id::DocumentKind,
    seal::PrivateKey,
    sync::{Cursor, Downward, FeedItem, Lane, PullReply, decode},
};
use serde_json::json;

use crate::{
    cases::{Case, writer},
    harm::Harm,
    programs::{moment, now},
    words::Words,
};

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
    let actor = writer(&"D1".parse()?, &"gw-2".parse()?);
    let mut words = Words::of(5);
    let (mut case, opening) = Case::open(&actor, 0, &mut words, now())?;
    let mut good = Vec::new();
    for _ in 0..GOOD {
        good.push(case.acted(&actor, &mut words, now())?.bytes);
    }
    let mut harm = Harm::of(9, case.id, good.clone())?;
    let (other, another) = Case::open(&actor, 1, &mut words, now())?;
    let mut feed = Feed::new()?;
    let chunk = |document, bytes| Downward::Chunk { document, kind: DocumentKind::Case, bytes };
    feed.page(vec![chunk(case.id, opening.bytes)])?;
    let (mut frames, mut unread, mut page) = (0, 0, Vec::new());
    for n in 0..inputs {
        if n.is_multiple_of(FRAME_IN) {
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
    let (taken, refused) = (feed.taken, feed.refused);
    feed.page(vec![chunk(other.id, another.bytes)])?;
    ensure!(feed.taken == taken + 1, "after all that, a good change is not taken any more");
    let told =
        json!({ "frames": frames, "frames_unread": unread, "taken": taken, "refused": refused, "peak_mb": peak_mb() });
    println!("{told}");
    Ok(true)
}

/// An agent's core over a store in memory, and what it did with what it was fed.
struct Feed {
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
        let store = Store::in_memory(&owner)?;
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
        Ok(Self { core, store, position: 0, pages: 0, taken: 0, refused: 0 })
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
