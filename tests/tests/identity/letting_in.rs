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
