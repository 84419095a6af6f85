//! Frames of every protocol that was ever released, byte for byte as they were written then.
//!
//! `GATEHOUSE_RECORD=1` writes those of the present protocol that are not there yet; never those of an older one.

use std::{fmt::Debug, path::PathBuf};

use gatehouse_common::{
    id::{DocumentId, DocumentKind, Hash32},
    seal::{PrivateKey, Sealed},
    sync::{
        Attested, Cursor, Downward, FeedItem, LedgerEpoch, PROTOCOL, Pull, PullReply, Push, PushReply, Rejection,
        Repair, Repaired, Stand, Standing, Upward, decode, encode, encode_as,
        repair::{Differs, Given},
    },
    time::UtcMs,
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

/// Whether the frames of `protocol` called `name` read as `message`, and what this code writes is what was written.
fn is_recorded<T: Serialize + DeserializeOwned + Debug + PartialEq>(protocol: u8, name: &str, message: &T) {
    let path = folder(protocol).join(format!("{name}.frame"));
    if protocol == PROTOCOL && !path.exists() && std::env::var("GATEHOUSE_RECORD").is_ok() {
        std::fs::create_dir_all(folder(protocol)).unwrap();
        std::fs::write(&path, encode(message).unwrap()).unwrap();
    }
    let frame = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(frame[0], protocol);
    assert_eq!(decode::<T>(&frame).as_ref(), Ok(message), "protocol {protocol}, {name}");
    // How it is packed may change from version to version; what is packed may not.
    let content = |frame: &[u8]| zstd::bulk::decompress(&frame[1..], 1 << 20).unwrap();
    let written = encode_as(protocol, message).unwrap();
    assert_eq!((written[0], content(&written)), (protocol, content(&frame)), "protocol {protocol}, {name}");
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
    }
    for protocol in 2..=PROTOCOL {
        is_recorded(protocol, "attested-page", &attested_page());
        for (name, asked, answered) in repairs() {
            is_recorded(protocol, &format!("repair-{name}"), &asked);
            is_recorded(protocol, &format!("repaired-{name}"), &answered);
        }
    }
}
