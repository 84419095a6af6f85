//! Frames of every protocol that was ever released, byte for byte as they were written then.
//!
//! `GATEHOUSE_RECORD=1` writes those of the present protocol that are not there yet. `GATEHOUSE_RECORD=older` writes
//! those of older ones too: only for a message that was never recorded, and whose form has not changed since that
//! protocol was new. What is there is never written again. The hub's and the agent's own tests play these bytes to what
//! serves them.

use std::{fmt::Debug, path::PathBuf};

use gatehouse_common::{
    decision::{DecidedBy, DecisionKind, DecisionRecord},
    dispatch::{self, Says},
    document::{Document, Entry},
    fact::{FactKey, FactValue, Report, Source},
    id::{DecisionId, DeviceId, DocumentId, DocumentKind, Hash32, SiteId},
    order::LineQuantity,
    seal::{PrivateKey, Sealed},
    sync::{
        Attested, Cursor, DeviceSession, Downward, FeedItem, LedgerEpoch, PROTOCOL, Pull, PullReply, Push, PushReply,
        Rejection, Repair, Repaired, Stand, Standing, Upward, decode, encode_as,
        repair::{Differs, Given},
        session::Pulled,
    },
    time::{BootId, Hlc, Moment, UtcMs},
};
use serde::{Serialize, de::DeserializeOwned};

fn folder(protocol: u8) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/frames/v{protocol}"))
}

fn document() -> DocumentId {
    DocumentId::of(DocumentKind::Case, "recorded|frames", 1)
}

fn sealed() -> Sealed {
    Sealed::new(&"a text under a seal", &PrivateKey::from_seed([7; 32])).unwrap()
}

fn chunk() -> Vec<u8> {
    gatehouse_common::document::genesis().to_vec()
}

fn push() -> Push {
    let says = [
        Upward::Chunk { document: document(), kind: DocumentKind::Dispatch, bytes: chunk() },
        Upward::Decision(sealed()),
        Upward::Fact("{\"fact\":1}".to_owned()),
        Upward::Status("{\"status\":1}".to_owned()),
    ];
    Push { outbox_epoch: 3, records: (7..).zip(says).collect() }
}

/// What gateway gw-1 of depot D1 tells that a hub takes, all of it: a plan, a decision, a fact and how the device is.
fn depot_push() -> Push {
    let (device, site): (DeviceId, SiteId) = ("gw-1".parse().unwrap(), "D1".parse().unwrap());
    let document = dispatch::document_id(&"O1".parse().unwrap(), &site, 1);
    let planned = Says::Planned {
        order: "O1".parse().unwrap(),
        order_version: 1,
        site: site.clone(),
        occurrence: 1,
        vehicle: "v1".parse().unwrap(),
        carrier: "c1".parse().unwrap(),
        door: "3".parse().unwrap(),
        load: vec![LineQuantity { line: 1, product: "P".parse().unwrap(), quantity: 5 }],
        planned_departure: UtcMs(9_000),
    };
    let hlc = Hlc { ms: 100, n: 0 };
    let entry = Entry { after: Vec::new(), at: UtcMs(100), hlc, by: "rule".to_owned(), says: planned };
    let written = Document::new().unwrap().append(&"site/D1/gw-1/1".parse().unwrap(), &[entry]);
    let (_, chunk) = written.unwrap();
    let boot = BootId("b".to_owned());
    let decision = DecisionRecord {
        v: 1,
        id: DecisionId::of(&device, 1, 1),
        device,
        site,
        epoch: 1,
        position: 1,
        previous: Hash32::ZERO,
        kind: DecisionKind::Hold,
        mode: None,
        dispatch: Some(document),
        order: None,
        load: Vec::new(),
        gates: Vec::new(),
        bundle: Hash32::ZERO,
        lease: None,
        by: DecidedBy::Rule { rule: "r".to_owned() },
        reason: "held".to_owned(),
        at: Moment { wall: UtcMs(100), uncertainty_ms: 0, boot, boottime_ms: 100, trusted: true },
        begins: None,
        drills: Vec::new(),
    };
    let report = Report {
        key: FactKey::Dock { door: "3".parse().unwrap() },
        value: FactValue::Dock { occupied: Some(true), open: None, vehicle: None },
        source: Source::Depot,
        at: UtcMs(100),
        evidence: "reading 1".to_owned(),
    };
    let status = r#"{"at":100,"readings":1,"duplicates":0,"quarantined":0,"outbox":4,"version":"1","position":null}"#;
    let says = [
        Upward::Chunk { document, kind: DocumentKind::Dispatch, bytes: chunk.bytes },
        Upward::Decision(Sealed::new(&decision, &PrivateKey::from_seed([7; 32])).unwrap()),
        Upward::Fact(serde_json::to_string(&report).unwrap()),
        Upward::Status(status.to_owned()),
    ];
    Push { outbox_epoch: 1, records: (1..).zip(says).collect() }
}

fn push_reply() -> PushReply {
    let rejected = vec![Rejection { number: 8, reason: "checksum is wrong".to_owned() }];
    PushReply { taken_through: 10, rejected, kept_through: 4 }
}

fn cursor() -> Cursor {
    Cursor { epoch: LedgerEpoch(0xfeed), positions: [1, 300, 70_000, 4] }
}

fn pull() -> Pull {
    Pull { cursor: cursor(), wait_ms: 30_000, recalls_only: true }
}

fn page() -> PullReply {
    let says = [
        Downward::Order("{\"order\":1}".to_owned()),
        Downward::Fact("{\"fact\":2}".to_owned()),
        Downward::Lease(sealed()),
        Downward::Chunk { document: document(), kind: DocumentKind::Case, bytes: chunk() },
        Downward::Anchor(sealed()),
        Downward::Sources("{\"erp\":5}".to_owned()),
    ];
    let items = (5..).zip(says).map(|(position, says)| FeedItem { lane: says.usual_lane(), position, says });
    PullReply::Page { items: items.collect(), cursor: cursor(), more: true }
}

/// What protocol 2 added.
fn attested_page() -> PullReply {
    let item = |says: Downward| FeedItem { lane: says.usual_lane(), position: 0, says };
    let whole = Downward::Snapshot { document: document(), kind: DocumentKind::Case, bytes: chunk() };
    PullReply::Page { items: vec![item(whole), item(Downward::Page(sealed()))], cursor: cursor(), more: false }
}

fn repairs() -> Vec<(&'static str, Repair, Repaired)> {
    let heads = vec![Hash32::of(b"a"), Hash32::of(b"b")];
    let differs = Differs { document: document(), heads: heads.clone(), lacks: vec![Downward::Anchor(sealed())] };
    let given = Given { document: document(), kind: DocumentKind::Case, bytes: chunk(), page: Some(0) };
    let page = Attested { digest: sealed(), marks: heads.clone() };
    let (after, through) = (Some(document()), None);
    vec![
        (
            "prove",
            Repair::Prove { page: sealed(), outbox_epoch: 3, taken_through: 300 },
            Repaired::Ledger(LedgerEpoch(5)),
        ),
        ("leases", Repair::Leases(vec![sealed()]), Repaired::Noted),
        ("digest", Repair::Digest { documents: 2, heads: heads[0] }, Repaired::Alike(Some(true))),
        (
            "heads",
            Repair::Heads { after, through, documents: vec![(document(), heads)] },
            Repaired::Heads { differ: vec![differs], through: after, head: 300 },
        ),
        (
            "give",
            Repair::Give { pages: vec![page], changes: vec![given] },
            Repaired::Given(vec![(1, "checksum is wrong".to_owned())]),
        ),
    ]
}

fn standing() -> Standing {
    Standing { at: UtcMs(1_772_431_200_000), taken_through: 12, outbox_epochs: vec![1, 3], heads: vec![sealed()] }
}

/// The frame of `protocol` called `name`; recorded of `message` if it is not there and that was asked for.
fn frame<T: Serialize>(protocol: u8, name: &str, message: &T) -> Vec<u8> {
    let path = folder(protocol).join(format!("{name}.frame"));
    let wanted = std::env::var("GATEHOUSE_RECORD").ok();
    if wanted.is_some_and(|which| protocol == PROTOCOL || which == "older") && !path.exists() {
        std::fs::create_dir_all(folder(protocol)).unwrap();
        std::fs::write(&path, encode_as(protocol, message).unwrap()).unwrap();
    }
    let frame = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(frame[0], protocol);
    frame
}

/// Whether a frame reads, and is written again with the same content. How it is packed may change from version to
/// version; what is packed may not.
fn is_written_still<T: Serialize + DeserializeOwned>(protocol: u8, name: &str, frame: &[u8]) -> T {
    let content = |frame: &[u8]| zstd::bulk::decompress(&frame[1..], 1 << 20).unwrap();
    let read: T = decode(frame).unwrap_or_else(|e| panic!("protocol {protocol}, {name}: {e}"));
    let written = encode_as(protocol, &read).unwrap();
    assert_eq!((written[0], content(&written)), (protocol, content(frame)), "protocol {protocol}, {name}");
    read
}

/// Whether the frame of `protocol` called `name` reads as `message`, and what this code writes is what was written.
fn is_recorded<T: Serialize + DeserializeOwned + Debug + PartialEq>(protocol: u8, name: &str, message: &T) {
    let read: T = is_written_still(protocol, name, &frame(protocol, name, message));
    assert_eq!(&read, message, "protocol {protocol}, {name}");
}

#[test]
fn what_any_released_version_wrote_is_read_as_it_was_meant_and_what_it_reads_is_written_still() {
    for protocol in 1..=PROTOCOL {
        is_recorded(protocol, "push", &push());
        is_recorded(protocol, "push-reply", &push_reply());
        is_recorded(protocol, "pull", &pull());
        is_recorded(protocol, "page", &page());
        is_recorded(protocol, "other-epoch", &PullReply::OtherEpoch(LedgerEpoch(9)));
        is_recorded(protocol, "stand", &Stand { outbox_epoch: 3 });
        is_recorded(protocol, "standing", &standing());
        // The change in it is as Automerge wrote it then; a newer one may write the same in other bytes.
        let told: Push = is_written_still(protocol, "depot-push", &frame(protocol, "depot-push", &depot_push()));
        assert_eq!(told.records.len(), depot_push().records.len());
    }
    for protocol in 2..=PROTOCOL {
        is_recorded(protocol, "attested-page", &attested_page());
        for (name, asked, answered) in repairs() {
            is_recorded(protocol, &format!("repair-{name}"), &asked);
            is_recorded(protocol, &format!("repaired-{name}"), &answered);
        }
    }
}

/// What a device does with the answers of any released hub.
#[test]
fn a_device_goes_on_by_the_answers_that_any_released_version_gave() {
    let epoch = cursor().epoch;
    for protocol in 1..=PROTOCOL {
        let mut session = DeviceSession::resume(Cursor::start(epoch), 3);
        assert!(session.next_push(push().records).is_some());
        let reply: PushReply = decode(&frame(protocol, "push-reply", &push_reply())).unwrap();
        assert_eq!(session.pushed(&reply), Ok(10), "all four are taken, one of them let in by nobody");

        let asks = |session: &mut DeviceSession| session.next_pull(30_000).map(|pull| pull.recalls_only);
        assert_eq!(asks(&mut session), Some(true));
        let Ok(Pulled::Items { items, cursor: came, more }) =
            session.pulled(decode(&frame(protocol, "page", &page())).unwrap())
        else {
            panic!("protocol {protocol}: a page brings items")
        };
        assert_eq!((items.len(), came, more), (6, cursor(), true));
        session.committed(came, more);
        assert_eq!((session.cursor(), session.recalls_known()), (cursor(), false), "more of them may come");

        assert_eq!(asks(&mut session), Some(true));
        let other = decode(&frame(protocol, "other-epoch", &PullReply::OtherEpoch(LedgerEpoch(9)))).unwrap();
        assert_eq!(session.pulled(other), Ok(Pulled::StartAgain(Cursor::start(LedgerEpoch(9)))));

        let known: Standing = decode(&frame(protocol, "standing", &standing())).unwrap();
        assert_eq!((known.newest_outbox_epoch(), known.taken_through), (3, 12));
    }
}
