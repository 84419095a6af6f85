//! Reads orders, customers and postings from bodies, field by field, so that a refusal names the field.

use jiff::Timestamp;

use super::{
    books::{Buyer, Credit, Customer, Effect, EffectKind, Line, Order, Place, Status},
    wire::{Fields, Problem},
};

/// Reads an order from the body of a PUT; a missing status is `released`.
/// # Errors
/// 400 that names the field.
pub fn read_order(id: String, mut body: Fields) -> Result<Order, Problem> {
    body.id_is(&id)?;
    let mut customer = body.object("customer")?;
    let buyer = Buyer { id: customer.text("id")?, name: customer.text("name")?, tier: customer.word("tier")? };
    customer.finish()?;
    let lines = body
        .objects("lines")?
        .into_iter()
        .map(|mut line| {
            let read = Line {
                line: line.number("line", 1)?,
                product: line.text("product")?,
                quantity: line.number("quantity", 1)?,
                unit_price_minor: line.number("unit_price_minor", 0)?,
            };
            line.finish()?;
            Ok(read)
        })
        .collect::<Result<_, Problem>>()?;
    let destination = body
        .object_or_null("destination")?
        .map(|mut place| {
            let read = Place { lat: place.degrees("lat", 90.0)?, lon: place.degrees("lon", 180.0)? };
            place.finish()?;
            Ok::<_, Problem>(read)
        })
        .transpose()?;
    let order = Order {
        id,
        revision: 0,
        site: body.text("site")?,
        customer: buyer,
        lines,
        currency: body.text("currency")?,
        class: body.text("class")?,
        vehicle: body.text("vehicle")?,
        carrier: body.text("carrier")?,
        door: body.text("door")?,
        planned_departure: body.time("planned_departure")?,
        window_end: body.time("window_end")?,
        destination,
        status: body.word_or_null("status")?.unwrap_or(Status::Released),
    };
    body.finish()?;
    Ok(order)
}

/// Reads a customer from the body of a PUT; a missing hold or exposure stays as it is in `held`.
/// # Errors
/// 400 that names the field.
pub fn read_customer(id: String, mut body: Fields, held: Option<&Customer>) -> Result<Customer, Problem> {
    body.id_is(&id)?;
    let mut credit = body.object("credit")?;
    let customer = Customer {
        id,
        name: body.text("name")?,
        tier: body.word("tier")?,
        revision: 0,
        credit: Credit {
            on_hold: credit.flag_or_null("on_hold")?.unwrap_or(held.is_some_and(|c| c.credit.on_hold)),
            limit_minor: credit.number("limit_minor", 0)?,
            exposure_minor: credit
                .number_or_null("exposure_minor", i64::MIN)?
                .unwrap_or(held.map_or(0, |c| c.credit.exposure_minor)),
            currency: credit.text("currency")?,
        },
    };
    credit.finish()?;
    body.finish()?;
    Ok(customer)
}

/// Reads a posting; `seq` and `received_at` are the books' own.
/// # Errors
/// 400 that names the field: each kind asks for what it cannot do without.
pub fn read_effect(seq: u64, received_at: Timestamp, mut body: Fields) -> Result<Effect, Problem> {
    let kind = body.word("kind")?;
    let missing = |name: &str| Err(Problem::malformed(name, "is missing; this kind of effect needs it"));
    for name in needs(kind) {
        if !body.has(name) {
            return missing(name);
        }
    }
    let status = match kind {
        EffectKind::OrderChange => body.word_or_null("status")?,
        _ => None,
    };
    let units_min = if kind == EffectKind::OrderChange { 0 } else { 1 };
    let effect = Effect {
        seq,
        kind,
        order: body.text("order")?,
        line: body.number_or_null("line", 1)?,
        quantity: body.number_or_null("quantity", units_min)?,
        reference: body.text("reference")?,
        amount_minor: body.number_or_null("amount_minor", 0)?,
        text: body.text_or_null("text")?,
        status,
        at: body.time("at")?,
        received_at,
    };
    body.finish()?;
    if kind == EffectKind::OrderChange {
        match (effect.status, effect.line, effect.quantity) {
            (None, _, None) => return missing("status"),
            (_, None, Some(_)) => return missing("line"),
            (_, Some(_), None) => return missing("quantity"),
            _ => {}
        }
    }
    Ok(effect)
}

fn needs(kind: EffectKind) -> &'static [&'static str] {
    match kind {
        EffectKind::GoodsIssue | EffectKind::Return => &["line", "quantity"],
        EffectKind::CreditNote => &["line", "quantity", "amount_minor"],
        EffectKind::CustomerMessage => &["text"],
        EffectKind::Release | EffectKind::VoidRelease | EffectKind::Invoice | EffectKind::OrderChange => &[],
    }
}
