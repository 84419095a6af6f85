//! One file of a partner, read and taken in one transaction.

use gatehouse_common::{
    fact::Report,
    id::DeviceId,
    time::{Moment, UtcMs},
};
use tracing::warn;

use super::matters;
use crate::{
    config::PartnerConfig,
    partners::{
        edi::{
            self, Interchange, Message, Syntax, answer,
            edifact::control::Control,
            mapping::{self, Says, Terms, Word},
            when::Ahead,
            x12::acknowledge::Acknowledgement,
        },
        events,
    },
    store::{EdiFile, EdiWord, StoreError, Tx, edi::file_hash},
};

/// How far a time in a message may lie ahead of the hub's clock and still make a fact, in milliseconds.
const AHEAD_MAX_MS: i64 = 60_000;

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// Interchanges that are new.
    pub taken: u32,
    /// Interchanges that were taken before.
    pub again: u32,
    /// Messages that were acted on.
    pub messages: u32,
    /// Why something was not taken, place by place.
    pub refused: Vec<String>,
    /// Names of the files that answer it.
    pub answers: Vec<String>,
}

impl Taken {
    /// Whether nothing of the file was taken, now or before.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.taken == 0 && self.again == 0
    }
}

/// Takes a file in. What cannot be read is kept too, with the reason.
/// # Errors
/// [`StoreError`]; nothing was taken then.
pub fn take(
    tx: &mut Tx<'_>,
    partner: &PartnerConfig,
    name: &str,
    bytes: &[u8],
    now: &Moment,
) -> Result<Taken, StoreError> {
    let mut result = Taken::default();
    let file = File { partner, name, bytes, hash: file_hash(bytes), now };
    match edi::read(bytes) {
        Err(fault) => file.refuse(tx, fault.to_string(), &mut result)?,
        Ok(interchanges) => {
            for interchange in interchanges {
                match file.stranger(&interchange) {
                    Some(reason) => file.refuse(tx, reason, &mut result)?,
                    None => file.interchange(tx, &interchange, &mut result)?,
                }
            }
        }
    }
    Ok(result)
}

struct File<'f> {
    partner: &'f PartnerConfig,
    name: &'f str,
    bytes: &'f [u8],
    hash: String,
    now: &'f Moment,
}

impl File<'_> {
    fn row(&self, sender: &str, control: &str, state: &str, reason: &str) -> EdiFile {
        EdiFile {
            n: 0,
            partner: self.partner.name.to_string(),
            direction: "in".to_owned(),
            sender: sender.to_owned(),
            control: control.to_owned(),
            hash: self.hash.clone(),
            name: self.name.to_owned(),
            kind: String::new(),
            cause: String::new(),
            state: state.to_owned(),
            reason: reason.to_owned(),
            at: UtcMs(0),
        }
    }

    /// Keeps the whole file under its hash: what cannot be read has no number of its own.
    fn refuse(&self, tx: &mut Tx<'_>, reason: String, result: &mut Taken) -> Result<(), StoreError> {
        tx.keep_edi_file(&self.row("", &self.hash, "refused", &reason), self.bytes, self.now.wall)?;
        self.quarantine(tx, &reason)?;
        result.refused.push(reason);
        Ok(())
    }

    fn quarantine(&self, tx: &mut Tx<'_>, reason: &str) -> Result<(), StoreError> {
        let origin = DeviceId::new(self.partner.name.as_str()).or_else(|_| DeviceId::new("partner"));
        let origin = origin.map_err(|e| StoreError::Refused(e.to_string()))?;
        events::refuse(tx, &origin, reason, self.bytes, self.now.wall)
    }

    /// Why an interchange is not between this partner and us.
    fn stranger(&self, interchange: &Interchange) -> Option<String> {
        let (from, to) = (&interchange.sender, &interchange.receiver);
        if from.id != self.partner.party.id {
            return Some(format!("sender is {:?}; {} is {:?}", from.id, self.partner.name, self.partner.party.id));
        }
        (to.id != self.partner.own.id).then(|| {
            format!("receiver is {:?}; this hub is {:?} for {}", to.id, self.partner.own.id, self.partner.name)
        })
    }

    fn interchange(&self, tx: &mut Tx<'_>, interchange: &Interchange, result: &mut Taken) -> Result<(), StoreError> {
        let (sender, control) = (interchange.sender.id.as_str(), interchange.control.as_str());
        if let Some(before) = tx.edi_received(self.partner.name.as_str(), sender, control)? {
            if before.hash == self.hash {
                result.again = result.again.saturating_add(1);
                return Ok(());
            }
            let reason = format!("interchange {control} of {sender} was taken before with other content");
            return self.refuse(tx, reason, result);
        }
        let faults: Vec<String> = interchange.faults().map(ToString::to_string).collect();
        let good = interchange.groups.iter().any(|g| g.messages.iter().any(|m| g.is_good(m)));
        let empty = interchange.groups.iter().all(|g| g.messages.is_empty());
        let state = match (faults.is_empty(), good || empty) {
            (true, _) => "taken",
            (false, true) => "partly",
            (false, false) => "refused",
        };
        let mut kinds: Vec<&str> =
            interchange.groups.iter().flat_map(|g| g.messages.iter().map(|m| m.kind.as_str())).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let row = EdiFile { kind: kinds.join(" "), ..self.row(sender, control, state, &faults.join("\n")) };
        let Some(n) = tx.keep_edi_file(&row, self.bytes, self.now.wall)? else {
            return Err(StoreError::Refused(format!("interchange {control} of {sender} came twice at one moment")));
        };
        if !faults.is_empty() {
            self.quarantine(tx, &faults.join("; "))?;
        }
        let mut place = 0;
        for group in &interchange.groups {
            for message in group.messages.iter().filter(|m| group.is_good(m)) {
                self.message(tx, n, &mut place, message)?;
                result.messages = result.messages.saturating_add(1);
            }
        }
        if state != "refused" {
            result.taken = result.taken.saturating_add(1);
        }
        result.refused.extend(faults);
        self.answer(tx, interchange, result)
    }

    fn answer(&self, tx: &mut Tx<'_>, to: &Interchange, result: &mut Taken) -> Result<(), StoreError> {
        let partner = self.partner.name.as_str();
        let control = tx.edi_next_control(partner)?;
        let kind = if to.syntax == Syntax::X12 { "997" } else { "CONTRL" };
        let text = match answer::to(to, control, self.now.wall) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(()),
            Err(fault) => {
                warn!(partner.name = partner, fault = %fault, "an interchange of {partner} cannot be answered: {fault}");
                return Ok(());
            }
        };
        let cause = format!("answer/{}/{}", to.sender.id, to.control);
        let name = super::send::keep(tx, self.partner, kind, &cause, control, &text, self.now.wall)?;
        result.answers.push(name);
        Ok(())
    }

    fn message(&self, tx: &mut Tx<'_>, file: u64, place: &mut u64, message: &Message) -> Result<(), StoreError> {
        match message.kind.as_str() {
            "997" | "999" => return self.acknowledged(tx, message),
            "CONTRL" => return self.controlled(tx, message),
            _ => {}
        }
        let words = {
            let reader: &crate::store::Reader<'_> = tx;
            let departed = |subject: &str| has_left(reader, subject).unwrap_or(false);
            let terms = Terms { ahead: Ahead(self.partner.utc_offset_minutes), departed: &departed };
            mapping::words(message, &terms)
        };
        for word in words {
            *place = place.saturating_add(1);
            self.word(tx, file, *place, &message.kind, word)?;
        }
        Ok(())
    }

    fn word(&self, tx: &mut Tx<'_>, file: u64, place: u64, kind: &str, word: Word) -> Result<(), StoreError> {
        let now = self.now.wall;
        let site = tx.site_of_subject(&word.subject)?;
        let mut detail = word.detail.clone();
        if site.is_none() {
            detail = format!("{detail}; no order of this name is known");
        }
        let at = word.at.unwrap_or(now);
        let is_ahead = at.since(now) > AHEAD_MAX_MS;
        let mut milestone = "";
        for says in &word.says {
            match says {
                Says::Is(reached) => milestone = reached.as_str(),
                Says::Fact(..) if is_ahead => {
                    // No depot could tell its age, and no later word could replace it.
                    detail = format!("{detail}; {at} lies ahead of the hub's clock, so it makes no fact");
                }
                Says::Fact(source, key, value) => {
                    let evidence = format!("{kind} {} of {}", word.code, self.partner.name);
                    let report = Report { key: key.clone(), value: value.clone(), source: *source, at, evidence };
                    tx.source_heard(*source, now)?;
                    tx.put_fact(&report, self.now)?;
                }
                Says::Opens(case) => {
                    let told = format!("{}: {} {} {detail}", self.partner.name, word.code, word.reason);
                    matters::open(tx, &word.subject, *case, &told, self.partner.name.as_str(), now)?;
                }
                Says::Clears(case) => {
                    let told = format!("{} says: {}", self.partner.name, word.detail);
                    matters::clear(tx, &word.subject, *case, &told, self.partner.name.as_str(), now)?;
                }
            }
        }
        tx.keep_edi_word(&EdiWord {
            file,
            place,
            subject: word.subject,
            site,
            kind: kind.to_owned(),
            code: word.code,
            reason: word.reason,
            bucket: word.bucket.as_str().to_owned(),
            milestone: milestone.to_owned(),
            is_known: word.known,
            happened: word.at,
            learned: now,
            detail,
        })
    }

    fn acknowledged(&self, tx: &mut Tx<'_>, message: &Message) -> Result<(), StoreError> {
        let read = Acknowledgement::read(message);
        let good = matches!(read.code.as_str(), "A" | "E");
        let bad = read.messages.iter().filter(|m| !matches!(m.code.as_str(), "A" | "E"));
        let reasons: Vec<String> =
            bad.map(|m| format!("{} {}: {} {}", m.kind, m.control, m.code, m.notes.join("; "))).collect();
        self.said_of_ours(tx, &read.control, good, &reasons.join("\n"))
    }

    fn controlled(&self, tx: &mut Tx<'_>, message: &Message) -> Result<(), StoreError> {
        let read = Control::read(message);
        let bad = read.messages.iter().filter(|(_, action, _)| action == "4");
        let reasons: Vec<String> = bad.map(|(number, _, notes)| format!("{number}: {}", notes.join("; "))).collect();
        self.said_of_ours(tx, &read.interchange, read.action != "4" && reasons.is_empty(), &reasons.join("\n"))
    }

    fn said_of_ours(&self, tx: &mut Tx<'_>, control: &str, good: bool, reason: &str) -> Result<(), StoreError> {
        let partner = self.partner.name.as_str();
        let known = match control.parse() {
            Ok(number) => tx.edi_answered(partner, number, good, reason)?,
            Err(_) => false,
        };
        if !known {
            warn!(partner.name = partner, control, "{partner} answers an interchange {control} that was never sent");
        } else if !good {
            warn!(partner.name = partner, control, "{partner} rejects interchange {control}: {reason}");
        }
        Ok(())
    }
}

/// Whether a shipment has left, as the depot says or else a partner.
fn has_left(r: &crate::store::Reader<'_>, subject: &str) -> Result<bool, StoreError> {
    if r.edi_has_left(subject)? {
        return Ok(true);
    }
    let Ok(order) = subject.parse() else { return Ok(false) };
    Ok(r.dispatches_of_order(&order)?.iter().any(|(_, view)| view.departed.is_some()))
}
