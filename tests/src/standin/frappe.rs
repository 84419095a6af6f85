//! The same ERP as ERPNext answers over Frappe's REST, as far as its documentation says: `/api/resource/DOCTYPE`, filters
//! and fields as JSON in the query, `modified` as the version of a document, `docstatus`, and everything refused with one
//! status and an `exc_type`. A DocType of one's own, `Gatehouse Posting`, takes postings; its key is unique.
//! No line of it was seen on a running server.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::{SignedDuration, civil};
use serde_json::{Map, Value, json};

use super::{
    books::{Customer, Order, Status},
    erp::Erp,
    wire::{Fields, Problem, json_body},
};

/// Our fields of a posting, theirs first.
const FIELDS: [(&str, &str); 9] = [
    ("kind", "kind"),
    ("sales_order", "order"),
    ("edge_key", "reference"),
    ("remarks", "text"),
    ("posted_at", "at"),
    ("line_idx", "line"),
    ("qty", "quantity"),
    ("new_status", "status"),
    ("order_modified", "revision"),
];
/// Rows of a page unless it is said how many.
const PAGE: usize = 20;

/// What it answers.
pub(super) fn router() -> Router<Erp> {
    Router::new()
        .route("/api/resource/{doctype}", get(list).post(create))
        .route("/api/resource/{doctype}/{name}", get(one))
}

fn beginning() -> civil::DateTime {
    civil::datetime(2026, 1, 1, 0, 0, 0, 1_000)
}

/// A time of its own clock for each change.
fn modified(revision: u64) -> String {
    let since = SignedDuration::from_secs(i64::try_from(revision).unwrap_or(i64::MAX));
    beginning().saturating_add(since).to_string().replace('T', " ")
}

fn revision(modified: &str) -> Option<u64> {
    let at: civil::DateTime = modified.parse().ok()?;
    u64::try_from(at.duration_since(beginning()).as_secs()).ok()
}

/// How Frappe says no.
pub(super) fn refused(status: StatusCode, exc_type: &str, detail: &str) -> Response {
    let message = json!({ "message": detail, "title": "Message", "indicator": "red" }).to_string();
    let body = json!({
        "exc_type": exc_type,
        "exception": format!("frappe.exceptions.{exc_type}: {detail}"),
        "_server_messages": json!([message]).to_string(),
    });
    (status, Json(body)).into_response()
}

fn of_problem(problem: &Problem, is_write: bool) -> Response {
    let (status, exc_type) = match problem.status {
        StatusCode::NOT_FOUND if is_write => (StatusCode::EXPECTATION_FAILED, "LinkValidationError"),
        StatusCode::NOT_FOUND => (StatusCode::NOT_FOUND, "DoesNotExistError"),
        StatusCode::PRECONDITION_FAILED => (StatusCode::EXPECTATION_FAILED, "TimestampMismatchError"),
        StatusCode::CONFLICT => (StatusCode::CONFLICT, "DuplicateEntryError"),
        _ => (StatusCode::EXPECTATION_FAILED, "ValidationError"),
    };
    refused(status, exc_type, &problem.detail)
}

fn sales_order(order: &Order) -> Value {
    let is_cancelled = order.status == Status::Cancelled;
    let item = |line: &super::books::Line| {
        #[expect(clippy::cast_precision_loss, reason = "amounts of a test")]
        let rate = line.unit_price_minor as f64 / 100.0;
        json!({ "name": format!("{}-{}", order.id, line.line), "doctype": "Sales Order Item", "idx": line.line,
                "item_code": line.product, "qty": f64::from(line.quantity), "rate": rate, "warehouse": order.site })
    };
    json!({
        "name": order.id, "doctype": "Sales Order", "owner": "Administrator", "modified": modified(order.revision),
        "docstatus": if is_cancelled { 2 } else { 1 },
        "status": if is_cancelled { "Cancelled" } else { "To Deliver and Bill" },
        "customer": order.customer.id, "customer_name": order.customer.name, "currency": order.currency,
        "set_warehouse": order.site, "delivery_date": order.planned_departure.to_string()[..10],
        "custom_vehicle": order.vehicle, "custom_carrier": order.carrier, "custom_dock_door": order.door,
        "items": order.lines.iter().map(item).collect::<Vec<_>>(),
    })
}

fn customer_of(customer: &Customer) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "amounts of a test")]
    let amount = |minor: i64| minor as f64 / 100.0;
    json!({
        "name": customer.id, "doctype": "Customer", "customer_name": customer.name, "modified": modified(customer.revision),
        "is_frozen": u8::from(customer.credit.on_hold),
        "credit_limits": [{ "idx": 1, "company": "Gatehouse", "credit_limit": amount(customer.credit.limit_minor) }],
        "custom_outstanding": amount(customer.credit.exposure_minor),
    })
}

/// What is asked for in a list.
struct Asked {
    filters: Vec<(String, String, Value)>,
    fields: Vec<String>,
    start: usize,
    length: usize,
}

impl Asked {
    fn read(query: &BTreeMap<String, String>) -> Result<Self, Problem> {
        let parsed = |name: &str, usual: Value| match query.get(name) {
            Some(text) => serde_json::from_str(text).map_err(|_| Problem::malformed(name, "is not JSON")),
            None => Ok(usual),
        };
        let known = ["filters", "fields", "order_by", "limit_start", "limit_page_length"];
        if let Some(name) = query.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(Problem::malformed(name.as_str(), "is no parameter of a list"));
        }
        let filter = |filter: &Value| {
            let (field, how) = (filter[0].as_str()?.to_owned(), filter[1].as_str()?.to_owned());
            Some((field, how, filter[2].clone()))
        };
        let filters: Vec<Value> =
            serde_json::from_value(parsed("filters", json!([]))?).map_err(|e| Problem::malformed("filters", e))?;
        let filters = filters.iter().map(filter).collect::<Option<Vec<_>>>();
        Ok(Self {
            filters: filters.ok_or_else(|| Problem::malformed("filters", "field, operator and value are expected"))?,
            fields: serde_json::from_value(parsed("fields", json!(["name"]))?)
                .map_err(|e| Problem::malformed("fields", e))?,
            start: usize::try_from(parsed("limit_start", json!(0))?.as_u64().unwrap_or(0)).unwrap_or(0),
            length: usize::try_from(parsed("limit_page_length", json!(PAGE))?.as_u64().unwrap_or(0)).unwrap_or(PAGE),
        })
    }

    fn value(&self, field: &str) -> Option<&Value> {
        self.filters.iter().find(|(name, ..)| name == field).map(|(_, _, value)| value)
    }

    fn matches(&self, row: &Value) -> bool {
        self.filters.iter().all(|(field, how, value)| match how.as_str() {
            "=" => row[field] == *value,
            ">=" => row[field].as_str() >= value.as_str(),
            "in" => value.as_array().is_some_and(|values| values.contains(&row[field])),
            _ => false,
        })
    }

    /// The rows that were asked for, with the fields that were; child tables are in no list.
    fn page(&self, rows: impl Iterator<Item = Value>) -> Response {
        let length = if self.length == 0 { usize::MAX } else { self.length };
        let of_row = |row: Value| {
            let fields = self.fields.iter().map(|field| (field.clone(), row[field].clone()));
            Value::Object(fields.filter(|(_, value)| !value.is_array()).collect::<Map<_, _>>())
        };
        let rows = rows.filter(|row| self.matches(row)).skip(self.start).take(length).map(of_row);
        Json(json!({ "data": rows.collect::<Vec<_>>() })).into_response()
    }
}

async fn list(
    State(erp): State<Erp>,
    Path(doctype): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let asked = match Asked::read(&query) {
        Ok(asked) => asked,
        Err(problem) => return of_problem(&problem, false),
    };
    erp.look(|books| match doctype.as_str() {
        "Sales Order" => asked.page(books.orders_since(0).map(sales_order)),
        "Customer" => asked.page(books.customers_since(0).map(customer_of)),
        "Bin" => {
            let warehouse = asked.value("warehouse").and_then(Value::as_str).unwrap_or_default().to_owned();
            let bins: Vec<Value> = books
                .stock(&warehouse)
                .map(|(product, units)| json!({ "warehouse": warehouse, "item_code": product, "actual_qty": units }))
                .collect();
            asked.page(bins.into_iter())
        }
        "Gatehouse Posting" => asked.page(
            books.effects().iter().map(|e| json!({ "name": format!("GP-{:05}", e.seq), "edge_key": e.reference })),
        ),
        other => refused(StatusCode::NOT_FOUND, "DoesNotExistError", &format!("DocType {other} not found")),
    })
}

async fn one(State(erp): State<Erp>, Path((doctype, name)): Path<(String, String)>) -> Response {
    let found = erp.look(|books| match doctype.as_str() {
        "Sales Order" => books.order(&name).map(sales_order),
        "Customer" => books.customer(&name).map(customer_of),
        _ => Err(Problem::not_found(format!("{doctype} {name} not found"))),
    });
    match found {
        Ok(data) => Json(json!({ "data": data })).into_response(),
        Err(problem) => of_problem(&problem, false),
    }
}

/// A posting in the words of the stand-in.
fn in_our_words(body: Value) -> Result<Fields, Problem> {
    let Value::Object(fields) = body else { return Err(Problem::malformed("body", "is no object")) };
    let mut ours = Map::new();
    for (name, value) in fields {
        let Some((_, known)) = FIELDS.iter().find(|(theirs, _)| *theirs == name) else {
            return Err(Problem::malformed(name, "is no field of Gatehouse Posting"));
        };
        let value = match (*known, value.as_str()) {
            ("revision", Some(text)) => {
                json!(revision(text).ok_or_else(|| Problem::malformed(name, "is no time of a document"))?)
            }
            _ => value,
        };
        ours.insert((*known).to_owned(), value);
    }
    Fields::of_value(Value::Object(ours), "")
}

async fn create(State(erp): State<Erp>, Path(doctype): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    if doctype != "Gatehouse Posting" {
        return refused(StatusCode::FORBIDDEN, "PermissionError", "No permission to create it");
    }
    let posted = json_body(&body).and_then(|body| {
        let key = body["edge_key"].as_str().unwrap_or_default().to_owned();
        erp.post(&headers, in_our_words(body)?).map(|_| key)
    });
    match posted {
        Ok(key) => {
            let seq = erp.look(|books| books.effects_of(&key).next().map_or(0, |effect| effect.seq));
            let data = json!({ "name": format!("GP-{seq:05}"), "doctype": "Gatehouse Posting", "edge_key": key });
            Json(json!({ "data": data })).into_response()
        }
        Err(problem) => of_problem(&problem, true),
    }
}
