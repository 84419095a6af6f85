//! Scripted people: depot supervisors at their page, and finance at the hub.
//!
//! They use the public API with logins of their own and do only what the plan says they would: override a declined
//! carrier, tap that a recall was seen, and answer what customers want where goods left against the ERP's wish.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{
    aims::ErpChange,
    desk::Desk,
    narrate::Narrator,
    pace::Pace,
    plan::{MINUTE, Meant, Plan, PlannedOrder},
    record::Record,
};

/// How often people look, in pretend milliseconds.
const LOOK_EVERY: i64 = 30_000;

/// A supervisor at one depot's page; never ends by itself.
pub async fn supervisor(site: String, desk: Arc<Desk>, plan: Arc<Plan>, pace: Pace, narrator: Narrator) {
    let mut refused = BTreeSet::new();
    let second = desk.of("kim");
    loop {
        pace.pause(LOOK_EVERY).await;
        let Ok(board) = desk.board().await else { continue };
        for shown in board {
            let Some(order) = plan.orders.iter().find(|o| o.order == shown.order) else { continue };
            let staged = pace.now() > order.staged_by.plus(MINUTE);
            if order.meant == Meant::Override && shown.state == "held" && shown.occurrence == 1 && staged {
                let reason = format!("{} has agreed by telephone", order.carrier);
                match desk.act(&shown.id, "override", &reason).await {
                    // Where the case is of the worst severity, policy asks for two.
                    Ok((true, words)) if words.contains("second person") => {
                        let path = format!("/api/dispatches/{}/confirm", shown.id);
                        if let Ok((true, _)) = second.post(&path, &json!({})).await {
                            narrator.say(format!("{site}: two supervisors override the hold of {}", order.order));
                        }
                    }
                    Ok((true, _)) => narrator.say(format!(
                        "{site}: the supervisor overrides the hold of {} ({} declined in the TMS, but agreed by telephone)",
                        order.order, order.carrier
                    )),
                    Ok((false, why)) if refused.insert(shown.id.clone()) => {
                        narrator.say(format!("{site}: the override of {} was refused: {why}", order.order));
                    }
                    _ => {}
                }
            }
            let taken_back = shown.released && matches!(shown.state.as_str(), "cancelled" | "held" | "aborted");
            let path = format!("/api/dispatches/{}/recall-seen", shown.id);
            if (taken_back || shown.stop)
                && !shown.recall_seen
                && let Ok((true, _)) = desk.post(&path, &json!({})).await
            {
                narrator.say(format!("{site}: someone taps that the recall of {} was seen", order.order));
            }
        }
    }
}

/// Finance at the hub; never ends by itself.
pub async fn finance(desk: Arc<Desk>, plan: Arc<Plan>, record: Arc<Record>, pace: Pace, narrator: Narrator) {
    let mut answered = BTreeSet::new();
    let second = desk.of("ben");
    loop {
        pace.pause(LOOK_EVERY).await;
        let Ok(items) = desk.get("/v1/recon?open=true&limit=500").await else { continue };
        for item in open_items(&items) {
            let (Some(decision), Some(order)) = (text(item, &["decision", "id"]), text(item, &["order", "order_id"]))
            else {
                continue;
            };
            let Some(order) = plan.orders.iter().find(|o| o.order == order) else { continue };
            let Some(choice) = order.aim.as_ref().and_then(|aim| aim.choice) else { continue };
            // Where the case is of the worst severity, or much is at stake, policy asks for two.
            if item["proposed"].is_object() {
                let path = format!("/v1/recon/{decision}/confirm");
                let body = json!({ "reason": "the customer was asked again" });
                if let Ok((true, _)) = second.post(&path, &body).await {
                    narrator.say(format!("hub: a second person confirms the answer for {}", order.order));
                }
                continue;
            }
            let offers = item["choices"].as_array().is_some_and(|choices| !choices.is_empty());
            if !offers || answered.contains(&decision) {
                continue;
            }
            let reason =
                if choice == "accept" { "the customer keeps the goods" } else { "the customer sends them back" };
            let body = json!({ "choice": choice, "reason": reason });
            match desk.post(&format!("/v1/recon/{decision}/choice"), &body).await {
                Ok((true, _)) => {
                    narrator.say(format!("hub: finance answers for {}: {reason}", order.order));
                    if choice == "return" {
                        come_back(order, &record, &pace);
                    }
                    answered.insert(decision);
                }
                Ok((false, why)) => {
                    narrator.say(format!("hub: the answer for {} was refused: {why}", order.order));
                    answered.insert(decision);
                }
                // The hub is being started again; the answer is given again, and the hub takes it once.
                Err(_) => {}
            }
        }
    }
}

/// The goods that a customer sends back arrive at the depot.
fn come_back(order: &PlannedOrder, record: &Record, pace: &Pace) {
    let Some(aim) = &order.aim else { return };
    for line in &order.lines {
        let quantity = match aim.change {
            ErpChange::Cancel => line.quantity,
            ErpChange::Reduce if line.line == 1 => line.quantity - aim.quantity.unwrap_or(line.quantity),
            _ => 0,
        };
        if quantity > 0 {
            record.returned(&order.order, line.line, quantity, pace.now());
        }
    }
}

/// The items of an answer that have no outcome yet.
fn open_items(answer: &Value) -> Vec<&Value> {
    let items = answer.as_array().or_else(|| answer["items"].as_array()).or_else(|| answer["recon"].as_array());
    items.into_iter().flatten().filter(|item| item["outcome"].is_null()).collect()
}

fn text(value: &Value, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| value[*key].as_str()).map(str::to_owned)
}
