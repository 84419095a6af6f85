//! A short trial of postings with the real program: an ERP that loses answers, a hub that is killed meanwhile.
//! `./run trials erp` is the long one.

use std::{path::PathBuf, time::Duration};

use gatehouse_tests::{
    erp_trial::{
        self, Told, Trial,
        hubs::{Ground, HubProgram, Pace},
    },
    standin::weather::Chances,
};

async fn play(releases: usize, chances: Chances, doubt_ms: u64) -> Told {
    rustls::crypto::ring::default_provider().install_default().ok();
    let folder = tempfile::Builder::new().prefix("gatehouse-erp-trial-").tempdir().unwrap();
    let program =
        HubProgram { path: PathBuf::from(env!("CARGO_BIN_EXE_gatehouse-either")), first: vec!["hub".to_owned()] };
    let trial = Trial {
        releases,
        seed: 1,
        chances,
        ground: Ground::Sqlite,
        pace: Pace { at_once: 16, answer_within_ms: 400, doubt_ms, poll_ms: 3_000 },
        kill_every: (Duration::from_millis(500), Duration::from_secs(3)),
        within: Duration::from_secs(240),
    };
    erp_trial::run(&trial, &program, folder.path()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_release_is_at_the_erp_once_or_in_the_dead_letters_with_a_reason() {
    let told = play(100, Chances { refused: 40, ..Chances::default() }, 6_000).await;
    assert!(told.verdict.holds(), "{told:#?}");
    assert!(told.judge_is_awake && told.verdict.dead_letters > 0, "{told:#?}");
    assert!(told.kills_between_send_and_record > 0, "{told:#?}");
    assert!(told.weather["applied_and_never_answered"] > 12, "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erp_that_cannot_be_asked_gets_some_of_them_twice() {
    // Soon sent again: nothing here hangs on what may still be on its way.
    let told = play(40, Chances { is_blind: true, ..Chances::default() }, 1_500).await;
    assert!(told.verdict.doubled > 0 && !told.verdict.holds(), "{told:#?}");
}
