//! The stand-in, Tryton and SAP CAP as offices.

use async_trait::async_trait;
use gatehouse_common::id::OrderId;
use serde_json::{Value, json};

use super::{Afterwards, Office, Turn, Wish};
use crate::contract::{Shop, odata::AtCap, standin::StandIn, tryton::AtTryton};

fn lines<T>(wish: &Wish, line: impl FnMut((&u32, u16)) -> T) -> Vec<T> {
    wish.units.iter().zip(1..).map(line).collect()
}

#[async_trait]
impl Office for StandIn {
    async fn releases(&self, wish: &Wish) -> OrderId {
        let id = self.next_id();
        self.puts(&id, in_our_words(wish)).await;
        id
    }

    fn issues_to_blocked(&self) -> bool {
        true
    }

    fn afterwards(&self) -> Afterwards {
        Afterwards::Again
    }

    async fn blocks(&self, is_blocked: bool) {
        self.blocks_credit(is_blocked).await;
    }

    async fn turns(&self, order: &OrderId, turn: Turn, wish: &Wish) {
        match turn {
            Turn::Cancel => self.cancels(order).await,
            Turn::Quantity | Turn::Price | Turn::Terms | Turn::Site => self.puts(order, in_our_words(wish)).await,
        }
    }
}

fn in_our_words(wish: &Wish) -> Value {
    let (lat, lon) = wish.destination;
    json!({
        "site": wish.site, "customer": { "id": "C1", "name": "One", "tier": "b" }, "currency": "EUR",
        "lines": lines(wish, |(units, n)| json!({
            "line": n, "product": "P1", "quantity": units, "unit_price_minor": wish.price_minor,
        })),
        "class": wish.class, "vehicle": wish.vehicle, "carrier": wish.carrier, "door": "1", "status": "released",
        "planned_departure": wish.departure.to_string(), "window_end": wish.window_end.to_string(),
        "destination": { "lat": lat, "lon": lon },
    })
}

#[async_trait]
impl Office for AtTryton {
    async fn releases(&self, wish: &Wish) -> OrderId {
        self.releases_with(&wish.units, wish.site, &comment(wish)).await
    }

    fn issues_to_blocked(&self) -> bool {
        true
    }

    fn afterwards(&self) -> Afterwards {
        Afterwards::More
    }

    async fn blocks(&self, is_blocked: bool) {
        self.blocks_credit(is_blocked).await;
    }

    async fn turns(&self, order: &OrderId, turn: Turn, wish: &Wish) {
        let price = format!("{}.{:02}", wish.price_minor / 100, wish.price_minor % 100);
        match turn {
            Turn::Cancel => self.cancels(order).await,
            Turn::Quantity | Turn::Price => self.amends(order, wish.units[0], &price).await,
            Turn::Terms => self.comments(order, &comment(wish)).await,
            Turn::Site => self.moves_to(order, wish.site).await,
        }
    }
}

/// What of an order Tryton knows only in words.
fn comment(wish: &Wish) -> String {
    let (lat, lon) = wish.destination;
    let (departure, window_end) = (wish.departure, wish.window_end);
    format!(
        "vehicle: {}\ncarrier: {}\nclass: {}\ndoor: 1\ndeparture: {departure}\nwindow end: {window_end}\n\
         destination: {lat}, {lon}",
        wish.vehicle, wish.carrier, wish.class
    )
}

#[async_trait]
impl Office for AtCap {
    async fn releases(&self, wish: &Wish) -> OrderId {
        let items = lines(wish, |(units, n)| {
            let mut item = line_at_cap(*units, wish.price_minor);
            item["DeliveryDocumentItem"] = n.into();
            item["Material"] = "P1".into();
            item
        });
        let mut delivery = terms_at_cap(wish);
        delivery["Plant"] = wish.site.into();
        delivery["items"] = items.into();
        self.delivers(delivery).await
    }

    fn issues_to_blocked(&self) -> bool {
        false
    }

    fn afterwards(&self) -> Afterwards {
        Afterwards::Nothing
    }

    async fn blocks(&self, is_blocked: bool) {
        self.blocks_credit(is_blocked).await;
    }

    async fn turns(&self, order: &OrderId, turn: Turn, wish: &Wish) {
        match turn {
            Turn::Cancel => self.cancels(order).await,
            Turn::Quantity | Turn::Price => {
                self.changes_line(order, 1, line_at_cap(wish.units[0], wish.price_minor)).await;
            }
            Turn::Terms => self.changes(order, terms_at_cap(wish)).await,
            Turn::Site => self.changes(order, json!({ "Plant": wish.site })).await,
        }
    }
}

fn line_at_cap(units: u32, price_minor: u32) -> Value {
    json!({ "OrderedQuantity": units, "ActualDeliveryQuantity": units, "NetPriceAmount": f64::from(price_minor) / 100.0 })
}

fn terms_at_cap(wish: &Wish) -> Value {
    json!({
        "MeansOfTransport": wish.vehicle, "Carrier": wish.carrier, "UnloadingPoint": "1",
        "PlannedGoodsIssueTime": wish.departure.to_string(), "DeliveryTime": wish.window_end.to_string(),
    })
}
