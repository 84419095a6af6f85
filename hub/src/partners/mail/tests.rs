//! From a change of the store to a letter, at a server of this test on loopback.

use std::sync::{Arc, Mutex};

use gatehouse_common::{
    case::{CaseType, dedup_key, document_id},
    time::UtcMs,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

use super::{deliver, letter};
use crate::{
    clock::Clock,
    config::{CommandLine, MailConfig, NoticeConfig, parse},
    fixture::order,
    partners::{desk::matters, webhooks::announce},
    store::{Store, StoreError, Tx},
};

/// Letters that a server took: who they were for, and their text.
type Letters = Arc<Mutex<Vec<(Vec<String>, String)>>>;

/// Speaks SMTP as far as a letter needs it. While `refuses` says so, it takes none.
async fn sink(letters: Letters, refuses: Arc<Mutex<bool>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (letters, refuses) = (letters.clone(), refuses.clone());
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                let (mut to, mut text, mut is_text) = (Vec::new(), String::new(), false);
                let _ = write.write_all(b"220 sink\r\n").await;
                while let Ok(Some(line)) = lines.next_line().await {
                    if is_text {
                        if line == "." {
                            is_text = false;
                            letters.lock().unwrap().push((std::mem::take(&mut to), std::mem::take(&mut text)));
                            let _ = write.write_all(b"250 taken\r\n").await;
                        } else {
                            text += &format!("{line}\n");
                        }
                        continue;
                    }
                    let answer: &[u8] = match line.split([' ', ':']).next().unwrap_or_default() {
                        "EHLO" => b"250 sink\r\n",
                        "MAIL" if *refuses.lock().unwrap() => b"451 come back later\r\n",
                        "RCPT" => {
                            to.push(line.clone());
                            b"250 ok\r\n"
                        }
                        "DATA" => {
                            is_text = true;
                            b"354 go on\r\n"
                        }
                        "QUIT" => b"221 bye\r\n",
                        _ => b"250 ok\r\n",
                    };
                    let _ = write.write_all(answer).await;
                }
            });
        }
    });
    port
}

struct Scene {
    _folder: tempfile::TempDir,
    store: Store,
    clock: Clock,
    mail: MailConfig,
    letters: Letters,
    refuses: Arc<Mutex<bool>>,
}

const NOTICES: &str = r#"
[mail.customers]
"C-1" = ["Ada <ada@customer.example>"]
[[mail.notices]]
name = "delays"
to = ["Team <team@depot.example>"]
to_customer = true
types = ["case.open"]
subject = "Order {order}: {summary}"
body = """
Dear {customer},
{summary} ({type}), from {site}.
"""
"#;

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("hub.db"), &"hub".parse().unwrap()).unwrap();
        let (letters, refuses) = (Letters::default(), Arc::default());
        let port = sink(letters.clone(), Arc::clone(&refuses)).await;
        let text = format!(
            "[mail]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nfrom = \"Dispatch <dispatch@hub.example>\"\n{NOTICES}"
        );
        let mail = config(&text).unwrap();
        let scene = Self { _folder: folder, store, clock: Clock::system(), mail, letters, refuses };
        let now = scene.clock.wall();
        scene.write(move |tx| tx.put_order(&order(now), now)).await;
        scene.write(|tx| announce::begin(tx, &[])).await;
        scene
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.write(work).await.unwrap()
    }

    fn notice(&self) -> &NoticeConfig {
        &self.mail.notices[0]
    }

    /// A case about the order opens at `at` and is told.
    async fn opens(&self, case_type: CaseType, at: UtcMs) {
        let (interest, id) = (self.notice().interest(), document_id(&dedup_key(case_type, "SO-1", ""), 1));
        self.write(move |tx| {
            matters::open(tx, "SO-1", case_type, "it is late", "acme", at)?;
            announce::announce(tx, &[interest], &[id], at)
        })
        .await;
    }

    async fn clears(&self, case_type: CaseType) {
        let (interest, id) = (self.notice().interest(), document_id(&dedup_key(case_type, "SO-1", ""), 1));
        let now = self.clock.wall();
        self.write(move |tx| {
            matters::clear(tx, "SO-1", case_type, "it arrived", "acme", now)?;
            announce::announce(tx, &[interest], &[id], now)
        })
        .await;
    }

    async fn once(&self) -> bool {
        deliver::once(&self.store, &self.clock, &self.mail, self.notice()).await.unwrap()
    }

    fn counts(&self) -> Vec<(String, u64)> {
        self.store.read_now(|r| r.hook_counts("mail.delays")).unwrap()
    }
}

fn config(text: &str) -> Result<MailConfig, Vec<String>> {
    let line = CommandLine { listen: "127.0.0.1:0", database: "sqlite:hub.db", file: None };
    match parse(&line, text, std::path::Path::new(".")) {
        Ok(config) => Ok(config.mail.unwrap()),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

#[tokio::test]
async fn a_team_and_the_customer_of_the_order_get_one_letter_with_what_happened() {
    let scene = Scene::new().await;
    scene.opens(CaseType::LateDelivery, scene.clock.wall()).await;
    assert!(scene.once().await);
    assert!(!scene.once().await);
    let letters = scene.letters.lock().unwrap().clone();
    let [(to, text)] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!(to.len(), 2, "{to:?}");
    assert!(to.iter().any(|line| line.contains("ada@customer.example")), "{to:?}");
    for expected in
        ["Subject: Order SO-1: it is late", "Dear Ada,", "it is late (LATE_DELIVERY), from D1.", "Message-ID: <evt_"]
    {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert_eq!(scene.counts(), [("delivered".to_owned(), 1)]);
}

#[tokio::test]
async fn a_server_that_is_busy_is_tried_again_and_the_letter_is_written_once() {
    let scene = Scene::new().await;
    *scene.refuses.lock().unwrap() = true;
    scene.opens(CaseType::LateDelivery, scene.clock.wall()).await;
    assert!(scene.once().await);
    assert!(!scene.once().await, "not before its time");
    let waiting = scene.store.read_now(|r| r.hook_due("mail.delays", UtcMs(i64::MAX))).unwrap();
    let (mut delivery, _) = waiting.unwrap();
    assert!(delivery.last_error.contains("come back later"), "{delivery:?}");
    *scene.refuses.lock().unwrap() = false;
    delivery.next_try = UtcMs(0);
    scene.write(move |tx| tx.keep_hook_delivery(&delivery)).await;
    assert!(scene.once().await);
    assert_eq!(scene.letters.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn news_that_is_old_or_no_longer_so_is_not_written() {
    let scene = Scene::new().await;
    scene.opens(CaseType::EtaRisk, scene.clock.wall().plus(-5 * 3_600_000)).await;
    scene.opens(CaseType::LateDelivery, scene.clock.wall()).await;
    scene.clears(CaseType::LateDelivery).await;
    while scene.once().await {}
    assert_eq!(scene.counts(), [("stale".to_owned(), 2)]);
    assert!(scene.letters.lock().unwrap().is_empty());
    let dead = scene.store.read_now(|r| r.hook_dead()).unwrap();
    assert!(dead.iter().any(|d| d.last_error == "meanwhile it is case.resolved"), "{dead:?}");
}

#[test]
fn a_template_with_an_unknown_place_and_a_server_in_the_clear_are_refused() {
    assert_eq!(letter::unknown_place("{order} at {site}, {sate}"), Some("sate"));
    let told = config(
        "[mail]\nhost = \"mail.example\"\ntls = \"none\"\nfrom = \"nobody\"\n\
         [[mail.notices]]\nname = \"a\"\nsubject = \"{ordr}\"\nbody = \"x\"",
    );
    let told = told.unwrap_err();
    for key in ["mail.tls", "mail.from", "mail.notices[1].to", "mail.notices[1].subject"] {
        assert!(told.iter().any(|problem| problem.starts_with(key)), "{key} in {told:?}");
    }
}
