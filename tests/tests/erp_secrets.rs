//! The secret by which the hub speaks with the ERP shows nowhere: in no log line, no answer of the API and no file but
//! its own, whether the ERP knows it or not.

use std::{
    io::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use gatehouse_hub::{
    clock::Clock,
    config::{CommandLine, parse},
    wiring,
};
use gatehouse_tests::contract::{Shop, standin::StandIn};
use serde_json::Value;
use sha2::{Digest, Sha256};

const READER: &str = "reader-token";

/// Where all log lines of this process go, in the finest grain.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn holds(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).contains(text)
    }
}

/// Files below a folder that hold a text, the one named `secret` left out.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        let bytes = std::fs::read(entry.path()).unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "secret" && bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(name);
        }
    }
    found
}

/// Runs a hub with this secret until it has heard the ERP, or until its log says `refused`, and gives every answer of its API.
async fn answers(shop: &StandIn, folder: &Path, secret: &str, log: &Log, refused: &str) -> Vec<(String, String)> {
    std::fs::write(folder.join("secret"), secret).unwrap();
    let hash = hex::encode(Sha256::digest(READER.as_bytes()));
    let text = format!(
        "[tls]\nplain_on_loopback = true\n[erp]\nkind = \"rest\"\nurl = \"http://{}\"\ntoken_file = \"secret\"\npoll_ms = 100\n\
         [[tokens]]\nname = \"reader\"\nsha256 = \"{hash}\"\nscopes = [\"read\"]\n",
        shop.address()
    );
    let database = format!("sqlite:{}", folder.join("hub.db").display());
    let line = CommandLine { listen: "127.0.0.1:0", database: &database, file: None };
    let config = parse(&line, &text, folder).unwrap();
    assert!(!format!("{config:?}").contains(secret));
    let hub = wiring::start(config, Clock::system()).await.unwrap();
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let read = async |path: &str| {
        let answer = http.get(format!("http://{}{path}", hub.address)).bearer_auth(READER).send().await.unwrap();
        answer.text().await.unwrap()
    };
    let bound = Instant::now() + Duration::from_secs(30);
    while !log.holds(refused) && !read("/v1/sources").await.contains("\"erp\"") {
        assert!(Instant::now() < bound, "the ERP is neither heard nor does it refuse");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let described: Value = serde_json::from_str(&read("/openapi.json").await).unwrap();
    let mut told = vec![("/".to_owned(), read("/").await)];
    for (path, item) in described["paths"].as_object().unwrap() {
        // Live events have no end.
        if item.get("get").is_some() && path != "/v1/live" {
            told.push((path.clone(), read(&path.replace("{id}", "00").replace("{decision}", "d-1-1")).await));
        }
    }
    hub.stop().await;
    told
}

#[tokio::test]
async fn the_erps_secret_is_in_no_log_no_answer_and_no_file_but_its_own() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .init();
    let shop = StandIn::plain().await;
    shop.orders(&[4]).await;
    for (n, secret) in shop.secrets().into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        // The first is known to the ERP, the second is refused, which is told.
        let refused = "does not accept our credentials";
        let told = answers(&shop, folder.path(), &secret, &log, refused).await;
        assert_eq!(log.holds(refused), n == 1);
        assert!(told.len() > 10, "{} answers", told.len());
        for (path, answer) in &told {
            assert!(!answer.contains(&secret), "{path}: {answer}");
        }
        assert_eq!(files_with(folder.path(), &secret), Vec::<String>::new());
        assert!(!log.holds(&secret), "the secret is in the log");
        // The control: what looks for it finds it.
        std::fs::copy(folder.path().join("secret"), folder.path().join("planted")).unwrap();
        assert_eq!(files_with(folder.path(), &secret), ["planted"]);
    }
    assert!(log.holds("TRACE"), "the log is as fine as it can be");
}
