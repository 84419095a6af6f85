//! Each kind of message, read as words about orders.

use gatehouse_common::{
    case::CaseType,
    fact::{FactKey, FactValue, Source},
    id::{CarrierId, OrderId},
    time::UtcMs,
};

use super::{
    Bucket, Milestone, Says, Terms, Word,
    reasons::{self, Cause},
    statuses::{self, Meaning, Weighs},
};
use crate::partners::edi::{
    Message,
    edifact::{despatch::Despatch, status::StatusReport},
    when,
    x12::{
        advice::Advice,
        notice::ShipNotice,
        response::{Action, Response},
        status::StatusMessage,
        tender::{Purpose, Tender},
    },
};

/// Everything that a message without faults says. Empty for a kind that is not read here.
#[must_use]
pub fn words(message: &Message, terms: &Terms<'_>) -> Vec<Word> {
    match message.kind.as_str() {
        "214" => of_status(&StatusMessage::read(message), terms),
        "990" => vec![of_response(&Response::read(message), terms)],
        "204" => vec![of_tender(&Tender::read(message))],
        "945" => of_advice(&Advice::read(message), terms),
        "856" => of_notice(&ShipNotice::read(message), terms),
        "IFTSTA" => of_report(&StatusReport::read(message), terms),
        "DESADV" => of_despatch(&Despatch::read(message), terms),
        _ => Vec::new(),
    }
}

/// Puts a status and its reason together.
fn judged(meaning: Option<Meaning>, cause: Cause, departed: bool) -> (Vec<Says>, bool, &'static str) {
    let known = meaning.is_some() && cause.bucket != Bucket::Unknown;
    let meaning = meaning.unwrap_or(Meaning {
        says: vec![Says::Is(Milestone::Noted)],
        // Nobody knows whether this is good news; the reason says it.
        weighs: Weighs::Delay,
        words: "a status that is not in the list",
    });
    let mut says = meaning.says;
    let by_phase = |(before, after)| if departed { after } else { before };
    let is_delay = says.contains(&Says::Is(Milestone::Delayed));
    match meaning.weighs {
        Weighs::Delay => {
            let late = (CaseType::DepartureDelay, CaseType::LateDelivery);
            let case = cause.raises.or(is_delay.then_some(late)).map(by_phase);
            says.extend(case.map(Says::Opens));
        }
        // An estimate with a reason is a delay told early.
        Weighs::Reason if says.contains(&Says::Is(Milestone::Estimated)) => {
            says.extend(cause.raises.map(by_phase).map(Says::Opens));
        }
        Weighs::Reason | Weighs::Status => {}
    }
    (says, known, meaning.words)
}

fn of_status(read: &StatusMessage, terms: &Terms<'_>) -> Vec<Word> {
    let mut departed = (terms.departed)(&read.shipment);
    let mut words = Vec::new();
    for told in &read.statuses {
        let meaning =
            if told.status.is_empty() { statuses::appointment(&told.appointment) } else { statuses::x12(&told.status) };
        let cause = reasons::x12(&told.reason);
        let (says, known, text) = judged(meaning, cause, departed);
        departed |= says.contains(&Says::Is(Milestone::Departed));
        let place: Vec<&str> = told.place.iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
        let mut detail = text.to_owned();
        if !place.is_empty() {
            detail = format!("{detail}, {}", place.join(" "));
        }
        for [code, packaging, quantity] in &told.exceptions {
            detail = format!("{detail}; exception {code} of {quantity} {packaging}").trim_end().to_owned();
        }
        words.push(Word {
            subject: read.shipment.clone(),
            at: when::x12(&told.day, &told.hour, &told.zone, terms.ahead),
            code: format!("{}{}", told.status, told.appointment),
            reason: told.reason.clone(),
            bucket: cause.bucket,
            known,
            says,
            detail,
        });
    }
    words
}

fn of_response(read: &Response, terms: &Terms<'_>) -> Word {
    let (accepted, code, detail) = match &read.action {
        Action::Accepted => (Some(true), "A", "accepted"),
        Action::Conditional => (Some(false), "B", "accepted on a condition: read the message"),
        Action::Counter => (Some(false), "C", "countered: read the message"),
        Action::Declined => (Some(false), "D", "declined"),
        Action::Other(code) => (None, code.as_str(), "an answer that is not in the list"),
    };
    let mut says = Vec::new();
    let names = (read.shipment.parse::<OrderId>(), read.carrier.parse::<CarrierId>());
    if let (Some(accepted), (Ok(order), Ok(carrier))) = (accepted, names) {
        let value = FactValue::Carrier { accepted, carrier };
        says.push(Says::Fact(Source::Tms, FactKey::Carrier { order }, value));
    }
    match accepted {
        Some(true) => says.extend([Says::Clears(CaseType::CarrierNoResponse), Says::Clears(CaseType::CarrierReject)]),
        Some(false) => says.extend([Says::Clears(CaseType::CarrierNoResponse), Says::Opens(CaseType::CarrierReject)]),
        None => {}
    }
    Word {
        subject: read.shipment.clone(),
        at: when::x12(&read.day, "", "", terms.ahead),
        code: code.to_owned(),
        reason: read.reason.clone(),
        bucket: if accepted == Some(true) { Bucket::Normal } else { Bucket::Carrier },
        known: accepted.is_some(),
        says,
        detail: format!("carrier {}: {detail}", read.carrier),
    }
}

fn of_tender(read: &Tender) -> Word {
    let (code, detail) = match &read.purpose {
        Purpose::Original => ("00", "is offered"),
        Purpose::Cancel => ("01", "is taken back"),
        Purpose::Change => ("04", "is changed"),
        Purpose::Replace => ("05", "is replaced"),
        Purpose::Other(code) => (code.as_str(), "is named with a purpose that is not read here"),
    };
    Word {
        subject: read.shipment.clone(),
        code: code.to_owned(),
        known: !matches!(read.purpose, Purpose::Other(_)),
        says: vec![Says::Is(Milestone::Noted)],
        detail: format!("load of {} stops {detail}", read.stops.len()),
        ..Word::default()
    }
}

/// A quantity as it is written; whole units only, as lines are counted in them.
fn units(text: &str) -> Option<u32> {
    let (whole, rest) = text.split_once(['.', ',']).unwrap_or((text, ""));
    rest.chars().all(|c| c == '0').then(|| whole.parse().ok()).flatten()
}

fn of_advice(read: &Advice, terms: &Terms<'_>) -> Vec<Word> {
    let at = when::x12(&read.day, "", "", terms.ahead);
    let of_line = |line: &crate::partners::edi::x12::advice::AdviceLine| {
        let shipped = units(&line.shipped);
        let case = match line.status.as_str() {
            "CC" => Some(None),
            "CP" | "BP" | "SS" | "SC" | "CU" | "DS" => Some(Some(CaseType::InvShortfall)),
            "SA" | "SD" => Some(Some(CaseType::InvMismatch)),
            _ => None,
        };
        let mut says = Vec::new();
        if let (Ok(order), Some(confirmed), true) = (read.order.parse::<OrderId>(), shipped, line.line > 0) {
            let key = FactKey::Inventory { order, line: line.line };
            says.push(Says::Fact(Source::Wms, key, FactValue::Inventory { confirmed }));
        }
        says.extend(case.flatten().map(Says::Opens));
        if case == Some(None) {
            says.push(Says::Clears(CaseType::InvUnconfirmed));
        }
        Word {
            subject: read.order.clone(),
            at,
            code: line.status.clone(),
            bucket: if case.flatten().is_some() { Bucket::OurSite } else { Bucket::Normal },
            known: case.is_some() && shipped.is_some(),
            says,
            detail: format!("line {}: {} shipped of {}", line.line, line.shipped, line.ordered),
            ..Word::default()
        }
    };
    read.lines.iter().map(of_line).collect()
}

fn announced(subject: &str, at: Option<UtcMs>, code: &str, detail: String) -> Word {
    Word {
        subject: subject.to_owned(),
        at,
        code: code.to_owned(),
        known: true,
        says: vec![Says::Is(Milestone::Announced)],
        detail,
        ..Word::default()
    }
}

fn of_notice(read: &ShipNotice, terms: &Terms<'_>) -> Vec<Word> {
    let [day, hour] = &read.written;
    let at = when::x12(day, hour, "", terms.ahead);
    if read.items.is_empty() {
        return vec![announced(&read.shipment, at, &read.purpose, "announced without items".to_owned())];
    }
    let of_item = |item: &crate::partners::edi::x12::notice::Item| {
        let subject = if item.order.is_empty() { &read.shipment } else { &item.order };
        let ([_, product], [quantity, unit]) = (&item.product, &item.quantity);
        let detail = format!("shipment {}: {quantity} {unit} of {product}", read.shipment);
        announced(subject, at, &read.purpose, detail)
    };
    read.items.iter().map(of_item).collect()
}

fn of_report(read: &StatusReport, terms: &Terms<'_>) -> Vec<Word> {
    let mut words = Vec::new();
    for told in &read.statuses {
        // The shipment's own number first, then what else names it.
        let of = |qualifier: &str| told.references.iter().find(|(q, _)| q == qualifier).map(|(_, value)| value.clone());
        let named = Some(told.consignment.clone()).filter(|c| !c.is_empty());
        let subject = named.or_else(|| of("CU")).or_else(|| of("ON")).or_else(|| of("BM")).unwrap_or_default();
        let departed = (terms.departed)(&subject)
            || words.iter().any(|w: &Word| w.subject == subject && w.says.contains(&Says::Is(Milestone::Departed)));
        // Another list than recommendation 24 gives its codes other meanings.
        let ours = told.list.is_empty() || told.list == "6" || told.list.ends_with(":6");
        let cause = reasons::edifact(&told.reason);
        let (mut says, known, text) =
            judged(if ours { statuses::edifact(&told.status) } else { None }, cause, departed);
        let broken = told.seals.iter().any(|(_, condition)| matches!(condition.as_str(), "2" | "3" | "4" | "5"));
        if broken {
            says.push(Says::Opens(CaseType::SealBroken));
        }
        let [place, name] = &told.place;
        let detail = [text, told.words.as_str(), place.as_str(), name.as_str()];
        words.push(Word {
            subject,
            at: when::edifact(&told.at[0], &told.at[1], terms.ahead),
            code: told.status.clone(),
            reason: told.reason.clone(),
            bucket: cause.bucket,
            known,
            says,
            detail: detail.into_iter().filter(|d| !d.is_empty()).collect::<Vec<_>>().join(", "),
        });
    }
    words
}

fn of_despatch(read: &Despatch, terms: &Terms<'_>) -> Vec<Word> {
    let [written, format] = &read.written;
    let at = when::edifact(written, format, terms.ahead);
    let subject = if read.order.is_empty() { &read.number } else { &read.order };
    let of_line = |line: &crate::partners::edi::edifact::despatch::DespatchLine| {
        let ([product, _], [quantity, unit]) = (&line.product, &line.quantity);
        let detail = format!("despatch {}: {quantity} {unit} of {product}", read.number);
        let mut word = announced(subject, at, "351", detail.replace("  ", " "));
        let [variance, reason] = &line.variance;
        if variance.starts_with('-') {
            word.says.push(Says::Opens(CaseType::InvShortfall));
            word.detail = format!("{}, {variance} to what was ordered", word.detail);
        }
        word.reason.clone_from(reason);
        word
    };
    read.lines.iter().map(of_line).collect()
}
