//! Files of a partner, from a folder into facts and cases and back.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use gatehouse_common::{
    case::{CaseState, CaseType},
    fact::{FactKey, FactValue},
    order::{Order, OrderStatus},
    time::Moment,
};

use super::*;
use crate::{
    clock::Clock,
    config::{PartnerConfig, Sends},
    fixture,
    partners::edi::{Party, read, x12::acknowledge::Acknowledgement},
    store::{Store, StoreError, Tx},
};

fn now() -> Moment {
    Moment {
        wall: "2026-11-23T20:10:00Z".parse().unwrap(),
        uncertainty_ms: 0,
        boot: Default::default(),
        boottime_ms: 0,
        trusted: true,
    }
}

fn partner() -> PartnerConfig {
    PartnerConfig {
        name: "acme".parse().unwrap(),
        party: Party { qualifier: "ZZ".into(), id: "CARRIER".into() },
        own: Party { qualifier: "ZZ".into(), id: "HUB".into() },
        folder_in: None,
        folder_out: None,
        utc_offset_minutes: 0,
        carrier: Some("ACME".parse().unwrap()),
        scac: Some("ABCD".into()),
        sends: BTreeSet::from([Sends::Cancel, Sends::Status, Sends::Advice]),
        test: false,
    }
}

fn order(version: u64, status: OrderStatus) -> Order {
    Order { version, status, ..fixture::order(now().wall) }
}

struct Desk {
    folder: tempfile::TempDir,
    store: Store,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
        let desk = Self { folder, store };
        desk.write(|tx| tx.put_order(&order(1, OrderStatus::Released), now().wall));
        desk
    }

    fn write<T: Send + 'static>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static) -> T {
        self.store.write_now(work).unwrap()
    }

    fn take(&self, text: &str) -> take::Taken {
        let bytes = text.as_bytes().to_vec();
        self.write(move |tx| take::take(tx, &partner(), "f.x12", &bytes, &now()))
    }

    fn state_of(&self, case_type: CaseType) -> Option<CaseState> {
        let key = gatehouse_common::case::dedup_key(case_type, "SO-1", "");
        self.store.read_now(|r| Ok(r.newest_case(&key)?.map(|(_, _, view)| view.state))).unwrap()
    }
}

fn file(group: &str, control: u32, segments: &str) -> String {
    let count = segments.matches('~').count() + 1;
    format!(
        "ISA*00*          *00*          *ZZ*CARRIER        *ZZ*HUB            *261123*2000*U*00401*{control:09}*0*P*>~GS*{group}*CARRIER*HUB*20261123*2000*7*X*004010~{segments}SE*{count}*0001~GE*1*7~IEA*1*{control:09}~"
    )
}

fn delayed(control: u32) -> String {
    file("QM", control, "ST*214*0001~B10*PRO1*SO-1*ABCD~LX*1~AT7*SD*AI***20261123*1958*UT~")
}

#[test]
fn a_delay_opens_a_case_once_and_the_departure_resolves_it() {
    let desk = Desk::new();
    let first = desk.take(&delayed(1));
    assert_eq!((first.taken, first.messages, first.refused.len(), first.answers.len()), (1, 1, 0, 1));
    assert_eq!(desk.state_of(CaseType::DepartureDelay), Some(CaseState::Open));
    let again = desk.take(&delayed(1));
    assert_eq!((again.taken, again.again, again.answers.len()), (0, 1, 0));
    desk.take(&delayed(2));
    let words = desk.store.read_now(|r| r.edi_words_of("SO-1")).unwrap();
    assert_eq!(words.len(), 2);
    assert_eq!((words[0].code.as_str(), words[0].happened.unwrap().to_string()), ("SD", "2026-11-23T19:58:00Z".into()));
    assert_eq!(words[0].learned, now().wall, "when it was so and when it was learned are two things");
    desk.take(&delayed(3).replace("AT7*SD*AI", "AT7*AF*NS"));
    assert_eq!(desk.state_of(CaseType::DepartureDelay), Some(CaseState::Resolved));
    desk.take(&delayed(4));
    assert_eq!(desk.state_of(CaseType::LateDelivery), Some(CaseState::Open), "it has left, so it is the delivery");
}

#[test]
fn the_next_case_of_a_matter_that_was_put_to_rest_follows_the_one_before_it() {
    let (desk, at) = (Desk::new(), now().wall);
    desk.write(move |tx| {
        for _ in 0..2 {
            matters::open(tx, "SO-1", CaseType::EtaRisk, "it will be late", "acme", at)?;
            matters::clear(tx, "SO-1", CaseType::EtaRisk, "it will not", "acme", at)?;
        }
        Ok(())
    });
    let key = gatehouse_common::case::dedup_key(CaseType::EtaRisk, "SO-1", "");
    let cases = desk.store.read_now(|r| r.cases_under(&key)).unwrap();
    let follows: Vec<_> = cases.iter().map(|(_, view)| view.follows).collect();
    assert_eq!(follows, [None, Some(cases[0].0)]);
}

#[test]
fn a_number_that_comes_again_with_other_content_is_refused_and_told() {
    let desk = Desk::new();
    desk.take(&delayed(1));
    let other = desk.take(&delayed(1).replace("SD*AI", "SD*AO"));
    assert!(other.is_refused());
    assert!(other.refused[0].contains("was taken before with other content"), "{other:?}");
    assert_eq!(desk.state_of(CaseType::EtaRisk), None, "nothing of it was acted on");
    let kept = desk.store.read_now(|r| r.edi_files()).unwrap();
    assert!(kept.iter().any(|f| f.state == "refused"), "it is kept all the same");
    let stranger = desk.take(&delayed(9).replace("*ZZ*CARRIER        *", "*ZZ*OTHER          *"));
    assert!(stranger.refused[0].contains("sender is \"OTHER\""), "{stranger:?}");
}

#[test]
fn one_bad_message_does_not_keep_the_others_out_and_is_answered_with_its_place() {
    let desk = Desk::new();
    let text = file("GF", 5, "ST*990*0001~B1*ABCD*SO-1*20261123*A~");
    let two = text.replace("GE*1*7", "ST*990*0002~B1*ABCD*SO-1*20261123*?~SE*3*0002~GE*2*7");
    let taken = desk.take(&two);
    assert_eq!((taken.taken, taken.messages, taken.refused.len()), (1, 1, 1));
    assert!(taken.refused[0].starts_with("segment 7 (B1), element 4"), "{taken:?}");
    let key = FactKey::Carrier { order: "SO-1".parse().unwrap() };
    let fact = desk.store.read_now(|r| r.fact(&key)).unwrap().unwrap();
    assert!(matches!(fact.report.value, FactValue::Carrier { accepted: true, .. }));
    let (answer, body) = desk.store.read_now(|r| r.edi_waiting("acme")).unwrap().remove(0);
    assert_eq!((answer.kind.as_str(), answer.control.as_str()), ("997", "000000001"));
    let said = Acknowledgement::read(&read(&body).unwrap()[0].groups[0].messages[0]);
    assert_eq!((said.code.as_str(), said.messages[1].notes[0].as_str()), ("P", "segment 2 (B1), code 8"));
}

#[test]
fn an_order_that_is_not_known_is_kept_for_a_person() {
    let desk = Desk::new();
    desk.take(&delayed(1).replace("SO-1", "SO-9"));
    let unclear = desk.store.read_now(|r| r.edi_words_unclear()).unwrap();
    assert_eq!((unclear[0].subject.as_str(), &unclear[0].site), ("SO-9", &None));
    assert!(unclear[0].detail.contains("no order of this name"));
}

#[test]
fn a_cancelled_order_is_taken_back_from_its_carrier_once_and_the_answer_is_noted() {
    let desk = Desk::new();
    desk.write(|tx| tx.put_order(&order(2, OrderStatus::Cancelled), now().wall));
    let write = |tx: &mut Tx<'_>| send::about_order(tx, &partner(), &"SO-1".parse().unwrap(), now().wall);
    assert_eq!(desk.write(write), ["acme-000000001-204.x12"]);
    assert_eq!(desk.write(write), Vec::<String>::new());
    let (_, body) = desk.store.read_now(|r| r.edi_waiting("acme")).unwrap().remove(0);
    assert!(String::from_utf8(body).unwrap().contains("B2A*01*LT~"));
    let taken = desk.take(&file("FA", 8, "ST*997*0001~AK1*SM*1~AK2*204*0001~AK5*R*5~AK9*R*1*1*0~"));
    assert_eq!(taken.answers, Vec::<String>::new(), "an answer is not answered");
    let sent = desk.store.read_now(|r| r.edi_files()).unwrap();
    let sent = sent.iter().find(|f| f.direction == "out").unwrap();
    assert_eq!((sent.state.as_str(), sent.reason.as_str()), ("rejected", "204 0001: R "));
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn files_of_a_folder_are_taken_and_moved_beside_their_reason_and_none_is_lost() {
    let desk = Desk::new();
    let folder = desk.folder.path().join("in");
    let out = desk.folder.path().join("out");
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(&out).unwrap();
    let partner = PartnerConfig { folder_in: Some(folder.clone()), folder_out: Some(out.clone()), ..partner() };
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
    };
    put("a.x12", &delayed(1));
    put("b.x12", "not EDI at all");
    put(".c.x12", "still being written");
    fs::write(folder.join("fresh.x12"), delayed(3)).unwrap();
    let clock = Clock::system();
    folders::look(&desk.store, &clock, &partner).await.unwrap();
    assert_eq!(names(&folder), [".c.x12", "done", "fresh.x12", "refused"]);
    assert_eq!(names(&folder.join("done")), ["a.x12"]);
    assert_eq!(names(&folder.join("refused")), ["b.x12", "b.x12.reason.txt"]);
    let reason = fs::read_to_string(folder.join("refused/b.x12.reason.txt")).unwrap();
    assert!(reason.starts_with("segment 1"), "{reason}");
    // The same again, as after a crash between commit and move.
    put("a.x12", &delayed(1));
    put("b.x12", "not EDI at all");
    folders::look(&desk.store, &clock, &partner).await.unwrap();
    assert_eq!(names(&folder.join("done")), ["a.x12", "a.x12.1"]);
    assert_eq!(names(&folder.join("refused")).len(), 4);
    assert_eq!(desk.store.read_now(|r| r.edi_words_of("SO-1")).unwrap().len(), 1);
    folders::put(&desk.store, &partner).await.unwrap();
    assert_eq!(names(&out), ["acme-000000001-997.x12"]);
    assert!(desk.store.read_now(|r| r.edi_waiting("acme")).unwrap().is_empty());
}
