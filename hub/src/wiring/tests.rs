//! Whole hubs over one database.

use std::time::Instant;

use super::*;
use crate::{
    config::{self, CommandLine},
    store::{contract::Ground, sql::params},
};

fn holders(ground: &Ground) -> Vec<(String, String)> {
    let sql = "SELECT name, holder FROM claims ORDER BY name";
    ground.beside().query(sql, params![], |r| Ok::<_, crate::store::sql::Error>((r.get(0)?, r.get(1)?))).unwrap()
}

/// What only one may do where nothing beside the store is configured.
const ALONE: [&str; 4] = ["folding", "pruning", "reconciler", "scrub"];

/// Waits until everything that only one may do is done by one, other than `before`.
async fn taken(ground: &Arc<Ground>, before: &[(String, String)]) -> Vec<(String, String)> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let (at, before) = (ground.clone(), before.to_vec());
        let found = tokio::task::spawn_blocking(move || holders(&at)).await.unwrap();
        if found.len() == ALONE.len() && found.iter().all(|claim| !before.contains(claim)) {
            return found;
        }
        assert!(Instant::now() < until, "{found:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stops_hands_on_what_it_did_alone() {
    let Some(ground) = tokio::task::spawn_blocking(Ground::postgresql).await.unwrap() else { return };
    let (ground, folder) = (Arc::new(ground), tempfile::tempdir().unwrap());
    let text = "[hub]\nkey_file = \"hub.key\"\n[tls]\nauthority_file = \"authority.pem\"\nplain_on_loopback = true";
    let database = ground.location.to_string();
    let line = CommandLine { listen: "127.0.0.1:0", database: &database, file: None };
    let replica = || start(config::parse(&line, text, folder.path()).unwrap(), Clock::system());
    let one = replica().await.unwrap();
    let first = taken(&ground, &[]).await;
    let two = replica().await.unwrap();
    assert_eq!(one.public_key, two.public_key);
    for hub in [&one, &two] {
        let page = reqwest::get(format!("http://{}/openapi.json", hub.address)).await.unwrap();
        assert!(page.status().is_success());
    }
    assert_eq!(taken(&ground, &[]).await, first, "a second replica takes nothing from the first");
    one.stop().await;
    let second = taken(&ground, &first).await;
    assert_eq!(second.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ALONE);
    two.stop().await;
    // The server ends with whoever holds it last, which takes a moment.
    tokio::task::spawn_blocking(move || drop(ground)).await.unwrap();
}
