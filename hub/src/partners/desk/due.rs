//! What is to be told to a partner about an order, as messages; decided without I/O.

use gatehouse_common::{
    dispatch::{DispatchView, view::Physical},
    id::DocumentId,
    order::{Order, OrderStatus},
    time::UtcMs,
};

use crate::{
    config::{PartnerConfig, Sends},
    partners::edi::{
        when,
        x12::{
            advice::{Advice, AdviceLine},
            status::{Status, StatusMessage},
            tender::{Purpose, Stop, Tender},
            write::{Body, free_text},
        },
    },
};

/// A message that is due.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// What it is for; written once for each.
    pub cause: String,
    /// The message.
    pub body: Body,
}

/// What is due to `partner` about an order, given its dispatches. Whatever was written before is due again here; the caller
/// knows the causes.
#[must_use]
pub fn due(partner: &PartnerConfig, order: &Order, dispatches: &[(DocumentId, DispatchView)]) -> Vec<Due> {
    let mut found = Vec::new();
    if partner.sends.contains(&Sends::Cancel) {
        found.extend(cancel(partner, order, dispatches));
    }
    for (id, view) in dispatches {
        let is_theirs = partner.carrier.as_ref().is_none_or(|carrier| *carrier == view.carrier);
        if partner.sends.contains(&Sends::Status) && is_theirs {
            for (code, physical) in [("AF", &view.departed), ("D1", &view.delivered)] {
                found.extend(physical.as_ref().map(|physical| status(order, id, view, code, physical)));
            }
        }
        if partner.sends.contains(&Sends::Advice)
            && let Some(left) = &view.departed
        {
            found.push(advice(order, id, left));
        }
    }
    found
}

fn short(id: &DocumentId) -> String {
    id.to_string().chars().take(16).collect()
}

fn day_and_hour(at: UtcMs) -> (String, String) {
    when::written(at)
}

/// A carrier learns that it need not come: the order was cancelled before anything left, or another took the load.
fn cancel(partner: &PartnerConfig, order: &Order, dispatches: &[(DocumentId, DispatchView)]) -> Option<Due> {
    let carrier = partner.carrier.as_ref()?;
    let left = dispatches.iter().any(|(_, view)| view.departed.is_some());
    let refused = dispatches.iter().any(|(_, view)| view.carrier_refused.as_ref() == Some(carrier));
    let called_off = order.status == OrderStatus::Cancelled && order.carrier == *carrier && !left;
    if !refused && !called_off {
        return None;
    }
    let stop = Stop { number: 1, reason: "CL".to_owned(), ..Stop::default() };
    let tender = Tender {
        carrier: partner.carrier_code(),
        shipment: order.id.to_string(),
        payment: "PP".to_owned(),
        purpose: Purpose::Cancel,
        references: Vec::new(),
        stops: vec![stop],
        weight: String::new(),
    };
    Some(Due { cause: format!("204/{}/{carrier}", order.id), body: tender.body() })
}

fn status(order: &Order, id: &DocumentId, view: &DispatchView, code: &str, physical: &Physical) -> Due {
    let (day, hour) = day_and_hour(physical.at);
    let carrier: String = view.carrier.as_str().chars().filter(char::is_ascii_alphanumeric).take(4).collect();
    let status = Status {
        status: code.to_owned(),
        reason: "NS".to_owned(),
        day,
        hour,
        zone: "UT".to_owned(),
        equipment: [
            String::new(),
            view.vehicle.as_str().chars().filter(char::is_ascii_alphanumeric).take(10).collect(),
        ],
        ..Status::default()
    };
    let message = StatusMessage {
        own_number: short(id),
        shipment: order.id.to_string(),
        carrier,
        references: Vec::new(),
        statuses: vec![status],
    };
    Due { cause: format!("214/{id}/{code}"), body: message.body() }
}

fn advice(order: &Order, id: &DocumentId, left: &Physical) -> Due {
    let (day, _) = day_and_hour(left.at);
    let mut shipped_in_all: u64 = 0;
    let mut lines = Vec::new();
    for line in &order.lines {
        let shipped: u32 =
            left.load.iter().filter(|q| q.line == line.line).fold(0, |n, q| n.saturating_add(q.quantity));
        shipped_in_all = shipped_in_all.saturating_add(u64::from(shipped));
        let status = if shipped == line.quantity {
            "CC"
        } else if shipped > line.quantity {
            "SA"
        } else if shipped == 0 {
            "DS"
        } else {
            "CP"
        };
        lines.push(AdviceLine {
            line: line.line,
            status: status.to_owned(),
            ordered: line.quantity.to_string(),
            shipped: shipped.to_string(),
            product: ["VN".to_owned(), free_text(line.product.as_str(), 48)],
            unit: "EA".to_owned(),
        });
    }
    let advice = Advice {
        order: order.id.to_string(),
        day,
        shipment: short(id),
        ship_to: [free_text(&order.customer.name, 60), "92".to_owned(), free_text(order.customer.id.as_str(), 80)],
        lines,
        totals: [shipped_in_all.to_string(), String::new(), String::new()],
    };
    Due { cause: format!("945/{id}"), body: advice.body() }
}
