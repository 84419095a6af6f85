//! Messages of our own, as rows of the store: decided and committed here, put into folders by `folders`.

use gatehouse_common::{id::OrderId, time::UtcMs};
use tracing::warn;

use super::due::due;
use crate::{
    config::PartnerConfig,
    partners::edi::{
        Frame,
        x12::write::{self, Body},
    },
    store::{EdiFile, StoreError, Tx, edi::file_hash},
};

/// Keeps a file to a partner; returns its name.
pub(super) fn keep(
    tx: &mut Tx<'_>,
    partner: &PartnerConfig,
    kind: &str,
    cause: &str,
    control: u32,
    text: &str,
    now: UtcMs,
) -> Result<String, StoreError> {
    let ending = if kind == "CONTRL" { "edifact" } else { "x12" };
    let name = format!("{}-{control:09}-{kind}.{ending}", partner.name);
    // EDIFACT goes out in the character set that its header names.
    let bytes = if kind == "CONTRL" { crate::partners::edi::edifact::write::bytes(text) } else { text.into() };
    let file = EdiFile {
        n: 0,
        partner: partner.name.to_string(),
        direction: "out".to_owned(),
        sender: partner.own.id.clone(),
        control: format!("{control:09}"),
        hash: file_hash(&bytes),
        name: name.clone(),
        kind: kind.to_owned(),
        cause: cause.to_owned(),
        state: "waiting".to_owned(),
        reason: String::new(),
        at: now,
    };
    tx.keep_edi_file(&file, &bytes, now)?;
    Ok(name)
}

/// Writes a message to a partner, once for its cause. Returns the name of the file; none if it was written before.
/// # Errors
/// [`StoreError::Refused`] names what cannot be written in X12, such as an order's name of more than 30 characters.
pub fn message(
    tx: &mut Tx<'_>,
    partner: &PartnerConfig,
    cause: &str,
    body: Body,
    now: UtcMs,
) -> Result<Option<String>, StoreError> {
    if tx.edi_written_for(partner.name.as_str(), cause)? {
        return Ok(None);
    }
    let control = tx.edi_next_control(partner.name.as_str())?;
    let frame =
        Frame { sender: partner.own.clone(), receiver: partner.party.clone(), at: now, control, test: partner.test };
    let kind = body.0;
    let text = write::interchange(&frame, &[body])
        .map_err(|fault| StoreError::Refused(format!("{kind} to {} cannot be written: {fault}", partner.name)))?;
    keep(tx, partner, kind, cause, control, &text, now).map(Some)
}

/// Writes everything that is due to a partner about an order.
/// # Errors
/// [`StoreError`] if the store cannot be read or written. What X12 cannot hold is told to the log and left out.
pub fn about_order(
    tx: &mut Tx<'_>,
    partner: &PartnerConfig,
    order: &OrderId,
    now: UtcMs,
) -> Result<Vec<String>, StoreError> {
    let Some(order) = tx.order(order)? else { return Ok(Vec::new()) };
    let dispatches = tx.dispatches_of_order(&order.id)?;
    let mut written = Vec::new();
    for found in due(partner, &order, &dispatches) {
        match message(tx, partner, &found.cause, found.body, now) {
            Ok(name) => written.extend(name),
            Err(StoreError::Refused(why)) => warn!(partner.name = %partner.name, order.id = %order.id, "{why}"),
            Err(e) => return Err(e),
        }
    }
    Ok(written)
}
