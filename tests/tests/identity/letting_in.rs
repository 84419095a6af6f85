//! Enrolment, renewal, keys that are taken over.

use super::*;

#[tokio::test]
async fn an_invitation_makes_a_device_of_a_key_and_asked_again_it_gives_the_same() {
    let hub = Hub::start("").await;
    let secret = hub.invite("gw-1", "D1");
    let mut device = Unit::new("gw-1");
    let first = device.enrol(&hub, Some(secret.clone())).await.unwrap();
    assert_eq!((first.device.as_str(), first.sites[0].as_str(), first.vehicles.len()), ("gw-1", "D1", 0));
    assert_eq!(first.until.since(first.from), 30 * DAY_MS);
    device.speaks(&hub).await.unwrap();
    // The answer was lost: the same question, the same certificate.
    assert_eq!(device.enrol(&hub, Some(secret.clone())).await.unwrap().certificate, first.certificate);
    // It began anew with another key of its line.
    device.line_key = Unit::new("x").line_key;
    assert_ne!(device.enrol(&hub, Some(secret.clone())).await.unwrap().certificate, first.certificate);
    device.speaks(&hub).await.unwrap();

    let mut other = device.with_another_key();
    let refused = other.enrol(&hub, Some(secret)).await;
    assert!(matches!(&refused, Err(No::Status(409, why)) if why.contains("used by another key")), "{refused:?}");
    assert!(hub.audited("gw-1", "invitation used by another key").await);
}

#[tokio::test]
async fn an_invitation_is_for_its_device_for_its_time_and_not_for_a_name_that_has_a_key() {
    let hub = Hub::start("").await;
    let secret = hub.invite("gw-1", "D1");
    let status = |refused: Result<Enrolled, No>| match refused {
        Err(No::Status(status, _)) => status,
        other => panic!("{other:?}"),
    };
    assert_eq!(status(Unit::new("gw-2").enrol(&hub, Some(secret.clone())).await), 401);
    assert_eq!(status(Unit::new("gw-1").enrol(&hub, Some("guessed".to_owned())).await), 401);
    assert_eq!(status(Unit::new("gw-1").enrol(&hub, None).await), 401);
    hub.pass(DAY_MS + 1);
    assert_eq!(status(Unit::new("gw-1").enrol(&hub, Some(secret)).await), 403);
    hub.let_in("gw-1", "D1").await;
    let again = hub.invite("gw-1", "D2");
    assert_eq!(status(Unit::new("gw-1").enrol(&hub, Some(again)).await), 409, "one name is one chain");
}

#[tokio::test]
async fn an_invitation_that_was_used_gives_what_is_listed_now_and_nothing_once_the_device_is_taken_off() {
    let hub = Hub::start("").await;
    let (secret, mut device) = (hub.invite("gw-1", "D1"), Unit::new("gw-1"));
    device.enrol(&hub, Some(secret.clone())).await.unwrap();
    hub.list(&device, &["D2"]);
    let again = device.enrol(&hub, Some(secret.clone())).await.unwrap();
    assert_eq!((again.sites.len(), again.sites[0].as_str()), (1, "D2"));
    let listed = hub.store.read_now(|r| r.device(&device.device)).unwrap().unwrap();
    assert_eq!((listed.sites.len(), listed.sites[0].as_str()), (1, "D2"), "the list says what it said");
    device.speaks(&hub).await.unwrap();
    hub.remove("gw-1");
    assert!(matches!(device.enrol(&hub, Some(secret)).await, Err(No::Status(403, _))));
    assert!(!hub.is_listed("gw-1"));
}

#[tokio::test]
async fn what_is_done_with_a_device_by_hand_ends_the_open_invitations_of_its_name() {
    let hub = Hub::start("").await;
    let (open, other) = (hub.invite("gw-1", "D1"), hub.invite("gw-2", "D1"));
    let mut device = Unit::new("gw-1");
    hub.list(&device, &["D2"]);
    assert!(matches!(device.enrol(&hub, Some(open)).await, Err(No::Status(403, _))));
    let open = hub.invite("gw-1", "D1");
    hub.remove("gw-1");
    assert!(matches!(device.enrol(&hub, Some(open)).await, Err(No::Status(403, _))));
    assert!(!hub.is_listed("gw-1"));
    Unit::new("gw-2").enrol(&hub, Some(other)).await.unwrap();
}

#[tokio::test]
async fn a_certificate_is_renewed_by_itself_with_another_key_and_the_one_before_counts_no_more() {
    let hub = Hub::start("").await;
    let mut device = hub.let_in("gw-1", "D1").await;
    let before = device.clone();
    hub.pass(20 * DAY_MS);
    assert!(matches!(device.clone().renew(&hub, false).await, Err(No::Status(403, _))), "it is still good");
    device.renew(&hub, true).await.unwrap();
    before.speaks(&hub).await.unwrap();
    device.speaks(&hub).await.unwrap();
    assert!(matches!(before.speaks(&hub).await, Err(No::Status(403, _))));
    assert!(hub.audited("gw-1", "certificate not in use").await);
}

#[tokio::test]
async fn a_device_that_was_away_renews_within_the_grace_and_after_it_needs_an_invitation() {
    let hub = Hub::start("grace_days = 60").await;
    let (mut soon, mut late) = (hub.let_in("gw-1", "D1").await, hub.let_in("gw-2", "D1").await);
    hub.pass(31 * DAY_MS);
    assert!(matches!(soon.speaks(&hub).await, Err(No::Line(_))), "an expired certificate makes no line");
    assert!(hub.audited("somebody", "certificate expired").await);
    soon.renew(&hub, false).await.unwrap();
    soon.speaks(&hub).await.unwrap();
    hub.pass(60 * DAY_MS);
    let refused = late.renew(&hub, false).await;
    assert!(matches!(&refused, Err(No::Status(403, why)) if why.contains("invitation")), "{refused:?}");
    let secret = hub.invite("gw-2", "D1");
    late.enrol(&hub, Some(secret)).await.unwrap();
    late.speaks(&hub).await.unwrap();
}

#[tokio::test]
async fn a_renewal_whose_answer_was_lost_is_given_again_to_the_key_that_it_was_for() {
    let hub = Hub::start("").await;
    let mut device = hub.let_in("gw-1", "D1").await;
    hub.pass(40 * DAY_MS);
    let (mut lost, line_key) = (device.clone(), Unit::new("x").line_key);
    let first = lost.renew_with(&hub, false, line_key.clone()).await.unwrap();
    hub.pass(10 * MINUTE_MS);
    assert!(
        matches!(device.clone().renew(&hub, false).await, Err(No::Status(403, _))),
        "another key is somebody else's"
    );
    let again = device.renew_with(&hub, false, line_key).await.unwrap();
    assert_eq!(again.certificate, first.certificate);
    device.speaks(&hub).await.unwrap();

    // Lost, and asked for again when half of its time has passed: a fresh one. After the grace: none.
    let mut late = hub.let_in("gw-2", "D1").await;
    hub.pass(40 * DAY_MS);
    let line_key = Unit::new("x").line_key;
    let first = late.clone().renew_with(&hub, false, line_key.clone()).await.unwrap();
    hub.pass(16 * DAY_MS);
    assert_ne!(late.renew_with(&hub, false, line_key.clone()).await.unwrap().certificate, first.certificate);
    late.speaks(&hub).await.unwrap();
    hub.pass(100 * DAY_MS);
    assert!(matches!(late.renew_with(&hub, false, line_key).await, Err(No::Status(403, _))));
}

#[tokio::test]
async fn a_clock_that_was_ahead_and_is_set_right_keeps_no_device_out() {
    let hub = Hub::start("").await;
    let mut device = hub.let_in("gw-1", "D1").await;
    hub.pass(50 * DAY_MS);
    device.renew(&hub, false).await.unwrap();
    device.speaks(&hub).await.unwrap();
    let ahead = device.clone();
    hub.pass(-40 * DAY_MS);
    assert!(matches!(device.speaks(&hub).await, Err(No::Line(_))), "its certificate is not good yet");
    assert!(matches!(device.renew(&hub, true).await, Err(No::Line(_))));
    device.renew(&hub, false).await.unwrap();
    device.speaks(&hub).await.unwrap();
    // Nor once that time has come: the one of the future is not taken for the newest.
    hub.pass(35 * DAY_MS);
    device.renew(&hub, false).await.unwrap();
    hub.pass(10 * DAY_MS);
    assert!(matches!(ahead.speaks(&hub).await, Err(No::Status(403, _))));
    device.speaks(&hub).await.unwrap();
}

#[tokio::test]
async fn a_device_that_renewed_after_the_backup_speaks_with_a_restored_hub_and_its_copy_of_before_does_not() {
    let hub = Hub::start("").await;
    let (mut one, mut two) = (hub.let_in("gw-1", "D1").await, hub.let_in("gw-2", "D1").await);
    let before = one.clone();
    hub.pass(20 * DAY_MS);
    one.renew(&hub, true).await.unwrap();
    two.renew(&hub, true).await.unwrap();
    hub.pass(MINUTE_MS);
    hub.is_restored_without_the_newest_of(&[&one, &two]);
    one.speaks(&hub).await.unwrap();
    one.speaks(&hub).await.unwrap();
    assert!(matches!(before.speaks(&hub).await, Err(No::Status(403, _))));
    // What another does first with such a certificate is to renew it.
    two.renew(&hub, true).await.unwrap();
    two.speaks(&hub).await.unwrap();
    for name in ["gw-1", "gw-2"] {
        let audit = hub.store.read_now(|r| r.audit_of(name, 100)).unwrap();
        assert_eq!(audit.iter().filter(|entry| entry.action == "certificate taken in").count(), 1, "{audit:#?}");
    }
}

#[tokio::test]
async fn a_certificate_that_a_restored_hub_has_forgotten_gives_no_depot_that_is_not_listed() {
    let hub = Hub::start("").await;
    let mut device = hub.let_in("gw-1", "D1").await;
    hub.pass(MINUTE_MS);
    hub.list(&device, &["D1", "D2"]);
    device.renew(&hub, true).await.unwrap();
    // The backup is of before that.
    hub.list(&device, &["D1"]);
    hub.pass(MINUTE_MS);
    hub.is_restored_without_the_newest_of(&[&device]);
    let refused = device.speaks(&hub).await;
    assert!(matches!(&refused, Err(No::Status(403, why)) if why.contains("renew-certificate")), "{refused:?}");
    let said = device.renew(&hub, true).await.unwrap();
    assert_eq!((said.sites.len(), said.sites[0].as_str()), (1, "D1"));
    device.speaks(&hub).await.unwrap();
}

#[tokio::test]
async fn a_device_that_wants_certificates_without_end_gets_a_handful_in_an_hour() {
    let hub = Hub::start("").await;
    let mut device = hub.let_in("gw-1", "D1").await;
    for _ in 0..5 {
        hub.pass(1_000);
        device.renew(&hub, true).await.unwrap();
    }
    hub.pass(1_000);
    let refused = device.renew(&hub, true).await;
    assert!(matches!(&refused, Err(No::Status(429, why)) if why.contains("come back in")), "{refused:?}");
    assert!(hub.audited("gw-1", "too many certificates").await);
    hub.pass(60 * MINUTE_MS);
    device.renew(&hub, true).await.unwrap();
    device.speaks(&hub).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_counts_no_more_is_forgotten_once_its_grace_is_over() {
    let hub = Hub::start("grace_days = 60").await;
    let begun = hub.clock.wall();
    let mut device = hub.let_in("gw-1", "D1").await;
    for _ in 0..5 {
        hub.pass(20 * DAY_MS);
        device.renew(&hub, true).await.unwrap();
        device.speaks(&hub).await.unwrap();
    }
    // The first was good until day 30, and this is day 100; the second was until day 50.
    let kept = hub.store.read_now(|r| r.certificates_of(&device.device)).unwrap();
    assert_eq!((kept.len(), kept[4].from.since(begun)), (5, 20 * DAY_MS));
}

#[tokio::test]
async fn scopes_that_were_changed_count_once_the_certificate_says_so() {
    let hub = Hub::start("").await;
    let mut device = hub.let_in("gw-1", "D1").await;
    hub.list(&device, &["D1", "D2"]);
    let refused = device.speaks(&hub).await;
    assert!(matches!(&refused, Err(No::Status(403, why)) if why.contains("renew-certificate")), "{refused:?}");
    hub.pass(MINUTE_MS);
    let said = device.renew(&hub, true).await.unwrap();
    assert_eq!(said.sites.len(), 2);
    device.speaks(&hub).await.unwrap();
}

#[tokio::test]
async fn a_key_that_was_listed_by_hand_takes_a_certificate_once_it_may() {
    let hub = Hub::start("").await;
    let mut device = Unit::new("gw-1");
    hub.list(&device, &["D1"]);
    assert!(matches!(device.enrol(&hub, None).await, Err(No::Status(403, _))), "nobody has said so");
    let (name, until) = (device.device.clone(), hub.clock.wall().plus(DAY_MS));
    hub.store.write_now(move |tx| tx.let_adopt(&name, until)).unwrap();
    assert!(matches!(device.with_another_key().enrol(&hub, None).await, Err(No::Status(401, _))));
    device.enrol(&hub, None).await.unwrap();
    device.speaks(&hub).await.unwrap();
}
