//! A sale with its shipments, as a write needs them, and our mark on what we wrote.

use std::collections::BTreeMap;

use gatehouse_common::id::{DecisionId, OrderId};
use serde_json::{Map, Value, json};

use super::{
    Tryton, contract,
    order::{LINE_FIELDS, Line, MOVE_FIELDS, read_lines},
    rpc::{Does, Query},
    wire::Row,
};
use crate::{core::reconcile::Posting, erp::ErpError};

const SALE_FIELDS: &[&str] = &[
    "number",
    "state",
    "reference",
    "party",
    "invoice_party",
    "invoice_address",
    "shipment_party",
    "shipment_address",
    "warehouse",
    "currency",
    "payment_term",
    "invoice_method",
    "shipment_method",
];
const SHIPMENT_FIELDS: &[&str] =
    &["number", "state", "reference", "warehouse_storage", "warehouse_output", "_timestamp"];

/// Units by a line's number.
pub(super) type Units = BTreeMap<u16, i64>;

/// Our mark in the reference of a document: what of it the hub wrote, and for which decision.
pub(super) struct Mark(String);

impl Mark {
    const WORD: &str = "gatehouse:";

    /// The mark of a decision.
    pub(super) fn of(decision: &DecisionId) -> Self {
        Self(format!("{}{decision}", Self::WORD))
    }

    /// The mark as text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a reference holds it.
    pub(super) fn is_in(&self, reference: &str) -> bool {
        reference.split_whitespace().any(|word| word == self.0)
    }

    /// Whether a reference holds any of ours.
    pub(super) fn any_in(reference: &str) -> bool {
        reference.split_whitespace().any(|word| word.starts_with(Self::WORD))
    }

    /// The reference with it; what people wrote there stays.
    pub(super) fn added_to(&self, reference: &str) -> String {
        format!("{reference} {}", self.0).trim().to_owned()
    }

    /// The reference without it.
    pub(super) fn taken_from(&self, reference: &str) -> String {
        let words: Vec<&str> = reference.split_whitespace().filter(|word| *word != self.0).collect();
        words.join(" ")
    }
}

/// A sale, as it stands.
pub(super) struct Sale {
    pub(super) id: i64,
    pub(super) number: String,
    pub(super) state: String,
    pub(super) lines: Vec<Line>,
    pub(super) shipments: Vec<Shipment>,
    pub(super) row: Row,
}

/// A shipment to the customer, as it stands.
#[derive(Debug, Clone)]
pub(super) struct Shipment {
    pub(super) id: i64,
    pub(super) number: String,
    pub(super) state: String,
    pub(super) reference: String,
    /// Whether goods leave from where they are stored, so that nothing is moved to an output place first.
    pub(super) is_direct: bool,
    pub(super) moves: Vec<Move>,
    stamp: String,
}

/// One movement of goods in a shipment.
#[derive(Debug, Clone)]
pub(super) struct Move {
    pub(super) id: i64,
    /// For which line of the sale; none if it is for another sale or none.
    pub(super) line: Option<u16>,
    /// Whether it ends at the customer and not at the depot's output place.
    pub(super) is_outgoing: bool,
    pub(super) quantity: i64,
    pub(super) state: String,
    stamp: String,
}

impl Shipment {
    /// Whether goods can still be put on it.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state.as_str(), "done" | "cancelled")
    }

    /// What goes to the customer with it, by line.
    pub(super) fn outgoing(&self) -> Units {
        self.sum(|moved| moved.is_outgoing && moved.state != "cancelled")
    }

    /// What is to be loaded, by line: as picked from the store, which Tryton copies to what goes out.
    pub(super) fn load(&self) -> Units {
        self.sum(|moved| moved.is_outgoing == self.is_direct && moved.state != "cancelled")
    }

    /// The moves whose quantity says what is loaded.
    pub(super) fn loading(&self) -> impl Iterator<Item = &Move> {
        self.moves.iter().filter(|moved| moved.is_outgoing == self.is_direct && moved.state != "cancelled")
    }

    fn sum(&self, wanted: impl Fn(&Move) -> bool) -> Units {
        let mut units = Units::new();
        for moved in self.moves.iter().filter(|moved| wanted(moved)) {
            if let Some(line) = moved.line {
                *units.entry(line).or_default() += moved.quantity;
            }
        }
        units.retain(|_, units| *units > 0);
        units
    }

    /// The context in which a write fails if anything of the shipment has changed since it was read. A shipment's
    /// own time does not cover its moves.
    pub(super) fn unchanged(&self) -> Map<String, Value> {
        let mut stamps = Map::new();
        stamps.insert(format!("stock.shipment.out,{}", self.id), json!(self.stamp));
        for moved in &self.moves {
            stamps.insert(format!("stock.move,{}", moved.id), json!(moved.stamp));
        }
        let mut context = Map::new();
        context.insert("_timestamp".to_owned(), Value::Object(stamps));
        context
    }

    fn read(row: &Row, moves: &[Row], lines: &[Line]) -> Result<Self, String> {
        let id = row.id()?;
        let mut of_shipment = Vec::new();
        for moved in moves {
            if moved.reference("shipment")? == Some(("stock.shipment.out", id)) {
                of_shipment.push(moved);
            }
        }
        let line_of = |origin: Option<(&str, i64)>| match origin {
            Some(("sale.line", id)) => lines.iter().find(|line| line.id == id).map(|line| line.number),
            _ => None,
        };
        let mut outgoing = BTreeMap::new();
        for moved in &of_shipment {
            outgoing.insert(moved.id()?, line_of(moved.reference("origin")?));
        }
        let mut read = Vec::new();
        for moved in of_shipment {
            let origin = moved.reference("origin")?;
            let (is_outgoing, line) = match origin {
                Some(("stock.move", id)) => (false, outgoing.get(&id).copied().flatten()),
                _ => (true, line_of(origin)),
            };
            read.push(Move {
                id: moved.id()?,
                line,
                is_outgoing,
                quantity: moved.units("quantity")?,
                state: moved.needed_text("state")?.to_owned(),
                stamp: moved.needed_text("_timestamp")?.to_owned(),
            });
        }
        Ok(Self {
            id,
            number: row.text("number")?.map_or_else(|| format!("(id {id})"), str::to_owned),
            state: row.needed_text("state")?.to_owned(),
            reference: row.text("reference")?.unwrap_or_default().to_owned(),
            is_direct: row.link("warehouse_storage")? == row.link("warehouse_output")?,
            moves: read,
            stamp: row.needed_text("_timestamp")?.to_owned(),
        })
    }
}

impl Sale {
    /// Shipments that goods can still be put on: those with our mark first, then by age.
    pub(super) fn open_shipments(&self, mark: &Mark) -> Vec<&Shipment> {
        let mut open: Vec<&Shipment> = self.shipments.iter().filter(|shipment| shipment.is_open()).collect();
        open.sort_by_key(|shipment| (!mark.is_in(&shipment.reference), shipment.id));
        open
    }

    /// What has left under our mark, by line.
    pub(super) fn left(&self, mark: &Mark) -> Units {
        sum(self.shipments.iter().filter(|s| s.state == "done" && mark.is_in(&s.reference)).map(Shipment::outgoing))
    }

    /// The names of the shipments with our mark, for people.
    pub(super) fn marked(&self, mark: &Mark) -> String {
        let marked = self.shipments.iter().filter(|s| mark.is_in(&s.reference));
        let numbers: Vec<&str> = marked.map(|s| s.number.as_str()).collect();
        format!("shipment {}", numbers.join(", "))
    }
}

/// The sum by line.
pub(super) fn sum(parts: impl Iterator<Item = Units>) -> Units {
    let mut total = Units::new();
    for (line, units) in parts.flatten() {
        *total.entry(line).or_default() += units;
    }
    total
}

/// What is missing in `have` to make `wanted`, by line; lines with nothing missing are left out.
pub(super) fn missing(wanted: &Units, have: &Units) -> Units {
    let less = |(line, units): (&u16, &i64)| (*line, units - have.get(line).copied().unwrap_or(0));
    wanted.iter().map(less).filter(|(_, units)| *units > 0).collect()
}

/// What postings of this kind of the decision add up to, by line.
pub(super) fn total(posting: &Posting) -> Units {
    if posting.total.is_empty() {
        let units = posting.quantity.map_or(0, i64::from);
        return posting.line.map(|line| (line, units)).into_iter().collect();
    }
    sum(posting.total.iter().map(|q| Units::from([(q.line, i64::from(q.quantity))])))
}

impl Tryton {
    /// The sale of a number, with its lines and shipments.
    pub(super) async fn sale(&self, number: &OrderId) -> Result<Sale, ErpError> {
        let found = self.rpc.rows(Query::of("sale.sale", json!([["number", "=", number]]), SALE_FIELDS)).await?;
        let [row] = found.as_slice() else {
            return Err(match found.len() {
                0 => ErpError::NotFound { detail: format!("sale {number}") },
                n => ErpError::Rejected { detail: format!("{n} sales have the number {number}; give each its own") },
            });
        };
        let id = row.id().map_err(contract)?;
        let lines = self.rpc.rows(Query::of("sale.line", json!([["sale", "=", id]]), LINE_FIELDS)).await?;
        let of_sale = json!([["origin.sale", "=", id, "sale.line"]]);
        let outgoing = self.rpc.rows(Query::of("stock.move", of_sale, MOVE_FIELDS)).await?;
        let lines = read_lines(&lines, &outgoing.iter().collect::<Vec<_>>()).map_err(contract)?;
        let mut shipments: Vec<i64> = Vec::new();
        for moved in &outgoing {
            if let Some(("stock.shipment.out", shipment)) = moved.reference("shipment").map_err(contract)? {
                shipments.push(shipment);
            }
        }
        let shipments = self.shipments(&shipments, &lines).await?;
        let text = |name: &str| row.needed_text(name).map(str::to_owned).map_err(contract);
        Ok(Sale { id, number: text("number")?, state: text("state")?, lines, shipments, row: row.clone() })
    }

    async fn shipments(&self, ids: &[i64], lines: &[Line]) -> Result<Vec<Shipment>, ErpError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.rpc.rows(Query::of("stock.shipment.out", json!([["id", "in", ids]]), SHIPMENT_FIELDS)).await?;
        let of_shipments: Vec<String> = ids.iter().map(|id| format!("stock.shipment.out,{id}")).collect();
        let moves = json!([["shipment", "in", of_shipments]]);
        let moves = self.rpc.rows(Query::of("stock.move", moves, MOVE_FIELDS)).await?;
        rows.iter().map(|row| Shipment::read(row, &moves, lines)).collect::<Result<_, _>>().map_err(contract)
    }

    /// A shipment as it stands now.
    pub(super) async fn shipment(&self, id: i64, lines: &[Line]) -> Result<Shipment, ErpError> {
        let found = self.shipments(&[id], lines).await?.into_iter().next();
        found.ok_or_else(|| ErpError::Conflict { detail: format!("shipment with id {id} is gone") })
    }

    /// Presses a button of a document.
    pub(super) async fn press(
        &self,
        model: &str,
        id: i64,
        button: &str,
        context: Map<String, Value>,
    ) -> Result<(), ErpError> {
        let method = format!("model.{model}.{button}");
        self.rpc.call(Does::Write, &method, vec![json!([id])], context).await.map(|_| ())
    }

    /// Writes fields of a document.
    pub(super) async fn write(
        &self,
        model: &str,
        id: i64,
        values: Value,
        context: Map<String, Value>,
    ) -> Result<(), ErpError> {
        let method = format!("model.{model}.write");
        self.rpc.call(Does::Write, &method, vec![json!([id]), values], context).await.map(|_| ())
    }

    /// Makes a document and gives its id.
    pub(super) async fn create(&self, model: &str, values: Value) -> Result<i64, ErpError> {
        let method = format!("model.{model}.create");
        let made = self.rpc.call(Does::Write, &method, vec![json!([values])], Map::new()).await?;
        made[0].as_i64().ok_or_else(|| contract(format!("{method}: the number of the new row is expected, not {made}")))
    }

    /// Leaves a note on a sale, unless the posting has left it already. Gives its name.
    pub(super) async fn note(&self, sale: &Sale, posting: &Posting, text: &str) -> Result<String, ErpError> {
        let id = match self.notes(sale, posting).await?.first() {
            Some(id) => *id,
            None => {
                let message = format!("{} {text}", note_head(posting));
                let resource = format!("sale.sale,{}", sale.id);
                self.create("ir.note", json!({ "resource": resource, "message": message })).await?
            }
        };
        Ok(note_name(id, sale))
    }

    async fn notes(&self, sale: &Sale, posting: &Posting) -> Result<Vec<i64>, ErpError> {
        let domain = json!([["resource", "=", format!("sale.sale,{}", sale.id)]]);
        let mut found = Vec::new();
        for note in self.rpc.rows(Query::of("ir.note", domain, &["message"])).await? {
            // Compared here: in a search `_` would stand for any letter.
            if note.text("message").map_err(contract)?.is_some_and(|text| text.starts_with(&note_head(posting))) {
                found.push(note.id().map_err(contract)?);
            }
        }
        Ok(found)
    }

    /// What a posting that ends with a note wrote, if it has.
    pub(super) async fn noted(&self, posting: &Posting) -> Result<Option<String>, ErpError> {
        let sale = self.sale(&posting.order).await?;
        Ok(self.notes(&sale, posting).await?.first().map(|id| note_name(*id, &sale)))
    }
}

fn note_name(id: i64, sale: &Sale) -> String {
    format!("note {id} on sale {}", sale.number)
}

fn note_head(posting: &Posting) -> String {
    format!("[gatehouse:{}]", posting.key)
}
