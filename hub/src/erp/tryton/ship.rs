//! Releases and goods issues: shipments driven from state to state.

use serde_json::{Map, Value, json};

use super::{
    Tryton,
    order::Line,
    rpc::Does,
    sale::{Mark, Sale, Shipment, Units, missing, sum, total},
};
use crate::{
    core::reconcile::Posting,
    erp::{Applied, ErpError},
};

/// More buttons than any way through the states has.
const BUTTONS_MAX: usize = 12;
/// How often a shipment is tried to be assigned before its stock counts as missing.
const ASSIGN_MAX: u32 = 3;

/// How far a shipment is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// Quantities can be written.
    Waiting,
    /// Stock is set aside for it.
    Assigned,
    /// The goods have left.
    Done,
}

impl Goal {
    /// The button to press next; none once the goal is reached.
    fn next(self, shipment: &Shipment) -> Result<Option<&'static str>, ErpError> {
        let button = match (self, shipment.state.as_str()) {
            (Self::Waiting, "waiting")
            | (Self::Assigned, "assigned" | "picked" | "packed" | "shipped" | "done")
            | (Self::Done, "done") => return Ok(None),
            (_, "draft") | (Self::Waiting, "assigned") => "wait",
            (Self::Assigned | Self::Done, "waiting") => "assign_try",
            (Self::Done, "assigned") if !shipment.is_direct => "pick",
            (Self::Done, "assigned" | "picked") => "pack",
            (Self::Done, "packed" | "shipped") => "do",
            (_, state) => {
                let detail = format!("shipment {} is {state} at Tryton by now", shipment.number);
                return Err(ErpError::Conflict { detail });
            }
        };
        Ok(Some(button))
    }
}

impl Tryton {
    /// Sets stock aside for what a depot released.
    pub(super) async fn release(&self, posting: &Posting) -> Result<Applied, ErpError> {
        let mark = Mark::of(&posting.decision);
        let sale = self.sale(&posting.order).await?;
        let open: Vec<Shipment> = sale.open_shipments(&mark).into_iter().cloned().collect();
        if open.is_empty() && !sale.shipments.iter().any(|s| mark.is_in(&s.reference)) {
            if sale.shipments.is_empty() {
                return Err(not_yet(&sale));
            }
            // Cancelled or done by hand meanwhile. The release is a fact all the same, and what follows from the
            // difference is the hub's to settle; the note tells people at Tryton.
            let text = format!("{}; no shipment was open for it any more", posting.text);
            return Ok(Applied { document: self.note(&sale, posting, &text).await? });
        }
        for shipment in open {
            let marked = self.mark(shipment, &mark, &sale.lines).await?;
            self.drive(marked.id, Goal::Assigned, None, &sale.lines).await?;
        }
        let document = self.sale(&posting.order).await?.marked(&mark);
        Ok(Applied { document })
    }

    /// The shipments that a release set stock aside for, if it did for all.
    pub(super) async fn released(&self, posting: &Posting) -> Result<Option<String>, ErpError> {
        let mark = Mark::of(&posting.decision);
        let sale = self.sale(&posting.order).await?;
        let marked: Vec<&Shipment> = sale.shipments.iter().filter(|s| mark.is_in(&s.reference)).collect();
        if marked.is_empty() {
            return self.noted(posting).await;
        }
        let is_set_aside = marked.iter().all(|s| !matches!(s.state.as_str(), "draft" | "waiting"));
        Ok(is_set_aside.then(|| sale.marked(&mark)))
    }

    /// Gives the stock back that a release had set aside.
    pub(super) async fn void_release(&self, posting: &Posting) -> Result<Applied, ErpError> {
        let mark = Mark::of(&posting.decision);
        let sale = self.sale(&posting.order).await?;
        for shipment in sale.shipments.iter().filter(|s| mark.is_in(&s.reference)) {
            if shipment.state == "done" {
                let detail = format!("shipment {} is done: what left cannot be taken back", shipment.number);
                return Err(ErpError::Rejected { detail });
            }
            let now = match shipment.state.as_str() {
                "draft" | "waiting" | "assigned" => self.drive(shipment.id, Goal::Waiting, None, &sale.lines).await?,
                // Picked by hand at the depot, or cancelled: that is not ours to undo.
                _ => shipment.clone(),
            };
            let rest = mark.taken_from(&now.reference);
            let reference = json!({ "reference": Some(rest).filter(|rest| !rest.is_empty()) });
            self.write("stock.shipment.out", now.id, reference, now.unchanged()).await?;
        }
        Ok(Applied { document: self.note(&sale, posting, &posting.text).await? })
    }

    /// Books what left, all lines of a departure at once: Tryton's document is the shipment, not a line of it.
    pub(super) async fn issue(&self, posting: &Posting) -> Result<Applied, ErpError> {
        let mark = Mark::of(&posting.decision);
        let wanted = total(posting);
        let mut sale = self.sale(&posting.order).await?;
        let mut left = missing(&wanted, &sale.left(&mark));
        if !left.is_empty() && self.adopt(&sale, &mark, &left).await? {
            left.clear();
            sale = self.sale(&posting.order).await?;
        }
        if !left.is_empty() && sale.open_shipments(&mark).is_empty() {
            // Cancelled at Tryton, yet it left: what was cancelled is planned anew, so that it can be booked.
            self.plan_anew(&sale).await?;
            sale = self.sale(&posting.order).await?;
        }
        if !left.is_empty() {
            for (shipment, load) in shares(&sale, &mark, left)? {
                self.send(shipment, &load, &mark, &sale.lines).await?;
            }
            sale = self.sale(&posting.order).await?;
            let still = missing(&wanted, &sale.left(&mark));
            if !still.is_empty() {
                let detail = format!("sale {}: not all that left was booked: {still:?}", sale.number);
                return Err(ErpError::Conflict { detail });
            }
        }
        Ok(Applied { document: sale.marked(&mark) })
    }

    /// The shipments by which the line of a goods issue has left, if it has.
    pub(super) async fn issued(&self, posting: &Posting) -> Result<Option<String>, ErpError> {
        let mark = Mark::of(&posting.decision);
        let sale = self.sale(&posting.order).await?;
        Ok(missing(&total(posting), &sale.left(&mark)).is_empty().then(|| sale.marked(&mark)))
    }

    /// Takes over a shipment that a clerk booked by hand while the depot could not tell: exactly what left, unmarked.
    async fn adopt(&self, sale: &Sale, mark: &Mark, left: &Units) -> Result<bool, ErpError> {
        let by_hand = |s: &&Shipment| s.state == "done" && !Mark::any_in(&s.reference) && s.outgoing() == *left;
        let Some(shipment) = sale.shipments.iter().find(by_hand) else { return Ok(false) };
        self.mark(shipment.clone(), mark, &sale.lines).await?;
        Ok(true)
    }

    /// Loads a shipment with what left and books it.
    async fn send(&self, shipment: Shipment, load: &Units, mark: &Mark, lines: &[Line]) -> Result<(), ErpError> {
        let mut shipment = self.mark(shipment, mark, lines).await?;
        if shipment.load() != *load {
            if !matches!(shipment.state.as_str(), "draft" | "waiting" | "assigned") {
                let detail = format!(
                    "shipment {} is {} at Tryton with {:?} and {load:?} left: correct it there, then replay",
                    shipment.number,
                    shipment.state,
                    shipment.load()
                );
                return Err(ErpError::Rejected { detail });
            }
            shipment = self.drive(shipment.id, Goal::Waiting, None, lines).await?;
            if let Err(error) = self.write_load(&shipment, load).await {
                return Err(self.conflict_if_changed(&shipment, lines, error).await);
            }
        }
        self.drive(shipment.id, Goal::Done, Some(load), lines).await.map(|_| ())
    }

    async fn write_load(&self, shipment: &Shipment, load: &Units) -> Result<(), ErpError> {
        let mut rest = load.clone();
        let mut quantities: Vec<(i64, Option<u16>, i64, i64)> = Vec::new();
        for moved in shipment.loading() {
            let Some(line) = moved.line else {
                let detail =
                    format!("shipment {} also holds goods of another sale: book it at Tryton", shipment.number);
                return Err(ErpError::Rejected { detail });
            };
            let left = rest.entry(line).or_default();
            let share = moved.quantity.min(*left);
            *left -= share;
            quantities.push((moved.id, moved.line, moved.quantity, share));
        }
        // More left than was planned: Tryton takes it on a line's last move.
        for (_, line, _, share) in quantities.iter_mut().rev() {
            *share += line.and_then(|line| rest.remove(&line)).unwrap_or(0);
        }
        let mut params = Vec::new();
        for (id, _, before, share) in quantities {
            if share != before {
                params.push(json!([id]));
                params.push(json!({ "quantity": share }));
            }
        }
        if params.is_empty() {
            return Ok(());
        }
        // One call, so that a load is written whole or not at all.
        self.rpc.call(Does::Write, "model.stock.move.write", params, shipment.unchanged()).await.map(|_| ())
    }

    /// What a refused write means: a conflict, if the shipment is no longer what the write was made from. Another
    /// writer may have had its moves made anew, and Tryton then refuses the old ones as records that are not there.
    async fn conflict_if_changed(&self, shipment: &Shipment, lines: &[Line], error: ErpError) -> ErpError {
        let ErpError::Rejected { detail } = error else { return error };
        match self.shipment(shipment.id, lines).await {
            Ok(now) if now.unchanged() == shipment.unchanged() => ErpError::Rejected { detail },
            Ok(_) => ErpError::Conflict { detail },
            Err(error) => error,
        }
    }

    async fn mark(&self, shipment: Shipment, mark: &Mark, lines: &[Line]) -> Result<Shipment, ErpError> {
        if mark.is_in(&shipment.reference) {
            return Ok(shipment);
        }
        let reference = json!({ "reference": mark.added_to(&shipment.reference) });
        match self.write("stock.shipment.out", shipment.id, reference, shipment.unchanged()).await {
            Ok(()) => self.shipment(shipment.id, lines).await,
            Err(error @ (ErpError::Conflict { .. } | ErpError::Rejected { .. })) => {
                let now = self.shipment(shipment.id, lines).await?;
                if mark.is_in(&now.reference) { Ok(now) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    /// Presses buttons until the goal is reached. A button that does not work because someone else has pressed it
    /// is no failure: the state tells.
    async fn drive(&self, id: i64, goal: Goal, load: Option<&Units>, lines: &[Line]) -> Result<Shipment, ErpError> {
        let mut not_assigned = 0;
        for _ in 0..BUTTONS_MAX {
            let before = self.shipment(id, lines).await?;
            let Some(button) = goal.next(&before)? else { return Ok(before) };
            // Putting a shipment back to waiting makes its quantities the planned ones again, whoever does it. What
            // was read here is what the button acts on, since it fails if shipment or moves changed meanwhile.
            if load.is_some_and(|load| before.load() != *load) {
                let detail = format!("shipment {} was given another load meanwhile", before.number);
                return Err(ErpError::Conflict { detail });
            }
            let pressed = self.press("stock.shipment.out", id, button, before.unchanged()).await;
            if let Err(error @ (ErpError::Rejected { .. } | ErpError::Conflict { .. })) = pressed {
                // Its state alone says too little: going back to waiting makes the moves anew.
                if self.shipment(id, lines).await?.unchanged() == before.unchanged() {
                    return Err(error);
                }
                continue;
            }
            pressed?;
            // Trying to assign answers nothing, and nothing as well when stock is missing. Missing it may be for a moment
            // only, set aside for another shipment, or this one was put back to waiting by someone else meanwhile.
            if button == "assign_try" && self.shipment(id, lines).await?.state == "waiting" {
                // What could be set aside is given back: half a shipment is of no use to anyone.
                self.press("stock.shipment.out", id, "wait", Map::new()).await?;
                not_assigned += 1;
                if not_assigned < ASSIGN_MAX {
                    continue;
                }
                let detail =
                    format!("shipment {}: stock is missing at Tryton; correct it there, then replay", before.number);
                return Err(ErpError::Rejected { detail });
            }
        }
        Err(ErpError::Conflict { detail: format!("shipment with id {id} does not come to rest at {goal:?}") })
    }

    /// Has Tryton plan anew what was cancelled and nobody has decided about, by its own dialogue.
    pub(super) async fn plan_anew(&self, sale: &Sale) -> Result<(), ErpError> {
        let moves: Vec<i64> = sale.lines.iter().flat_map(|line| line.open_cancels.clone()).collect();
        if moves.is_empty() {
            return Ok(());
        }
        let wizard = "wizard.sale.handle.shipment.exception";
        let begun = self.rpc.call(Does::Read, &format!("{wizard}.create"), Vec::new(), Map::new()).await?;
        let mut context = Map::new();
        context.insert("active_model".to_owned(), json!("sale.sale"));
        context.insert("active_id".to_owned(), json!(sale.id));
        context.insert("active_ids".to_owned(), json!([sale.id]));
        let answers = json!({ "ask": { "domain_moves": moves, "recreate_moves": moves, "ignore_moves": [] } });
        let params = vec![begun[0].clone(), answers, Value::from("handle")];
        self.rpc.call(Does::Write, &format!("{wizard}.execute"), params, context).await.map(|_| ())
    }
}

fn not_yet(sale: &Sale) -> ErpError {
    let detail = format!("sale {} is {} and Tryton has made no shipment for it yet", sale.number, sale.state);
    ErpError::Transient { detail, retry_after: None }
}

/// What of `left` goes on which open shipment: each takes what it was planned for, the last one the rest.
fn shares(sale: &Sale, mark: &Mark, mut left: Units) -> Result<Vec<(Shipment, Units)>, ErpError> {
    let open = sale.open_shipments(mark);
    if open.is_empty() {
        if sale.lines.iter().all(|line| line.open_cancels.is_empty()) && !sale.shipments.is_empty() {
            let detail = format!(
                "sale {}: {left:?} left and no shipment is open for it: book it at Tryton with the reference {}, then replay",
                sale.number,
                mark.as_str()
            );
            return Err(ErpError::Rejected { detail });
        }
        return Err(not_yet(sale));
    }
    let mut shares: Vec<(Shipment, Units)> = Vec::new();
    for shipment in &open {
        let mut share = Units::new();
        for (line, planned) in shipment.outgoing() {
            let units = planned.min(left.get(&line).copied().unwrap_or(0));
            share.insert(line, units);
            left.insert(line, left.get(&line).copied().unwrap_or(0) - units);
        }
        shares.push(((*shipment).clone(), share));
    }
    for (line, units) in left.into_iter().filter(|(_, units)| *units > 0) {
        let Some((_, share)) = shares.iter_mut().rev().find(|(_, share)| share.contains_key(&line)) else {
            let detail =
                format!("sale {}: {units} units of line {line} left and no open shipment has that line", sale.number);
            return Err(ErpError::Rejected { detail });
        };
        *share.entry(line).or_default() += units;
    }
    for (_, share) in &mut shares {
        share.retain(|_, units| *units > 0);
    }
    shares.retain(|(_, share)| !sum(std::iter::once(share.clone())).is_empty());
    Ok(shares)
}
