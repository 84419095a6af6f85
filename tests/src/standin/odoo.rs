//! The same ERP as Odoo 19 answers over JSON-2, as far as its documentation says: `POST /json/2/MODEL/METHOD`, arguments by
//! name in the body, the bare value as the answer, `false` for what is empty, `write_date` to the second, and errors with
//! a name. A model of a module of one's own, `gatehouse.posting`, takes postings; its key is unique.
//! No line of it was seen on a running server.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use jiff::{SignedDuration, civil};
use serde_json::{Map, Value, json};

use super::{
    books::{Customer, Order, Status},
    erp::Erp,
    wire::{Fields, Problem, json_body},
};

/// The header that names the database, and the one that is served.
const DATABASE: (&str, &str) = ("x-odoo-database", "erp");
/// Our fields of a posting, theirs first.
const FIELDS: [(&str, &str); 9] = [
    ("kind", "kind"),
    ("order_name", "order"),
    ("key", "reference"),
    ("note", "text"),
    ("happened_at", "at"),
    ("line_number", "line"),
    ("quantity", "quantity"),
    ("new_status", "status"),
    ("order_write_date", "revision"),
];

/// What it answers.
pub(super) fn router() -> Router<Erp> {
    Router::new().route("/json/2/{model}/{method}", post(call))
}

fn beginning() -> civil::DateTime {
    civil::datetime(2026, 1, 1, 0, 0, 0, 0)
}

fn write_date(revision: u64) -> String {
    let since = SignedDuration::from_secs(i64::try_from(revision).unwrap_or(i64::MAX));
    beginning().saturating_add(since).to_string().replace('T', " ")
}

fn revision(write_date: &str) -> Option<u64> {
    let at: civil::DateTime = write_date.parse().ok()?;
    u64::try_from(at.duration_since(beginning()).as_secs()).ok()
}

/// How Odoo says no.
pub(super) fn refused(status: StatusCode, name: &str, detail: &str) -> Response {
    let body = json!({
        "name": name, "message": detail, "arguments": [detail], "context": {},
        "debug": format!("Traceback (most recent call last):\n  File \"odoo/http.py\", in _serve_db\n{name}: {detail}\n"),
    });
    (status, Json(body)).into_response()
}

fn of_problem(problem: &Problem) -> Response {
    let (status, name) = match problem.status {
        StatusCode::NOT_FOUND => (StatusCode::NOT_FOUND, "odoo.exceptions.MissingError"),
        StatusCode::PRECONDITION_FAILED => {
            (StatusCode::UNPROCESSABLE_ENTITY, "odoo.addons.gatehouse.exceptions.OrderChanged")
        }
        StatusCode::CONFLICT => (StatusCode::UNPROCESSABLE_ENTITY, "odoo.exceptions.ValidationError"),
        _ => (StatusCode::UNPROCESSABLE_ENTITY, "odoo.exceptions.UserError"),
    };
    refused(status, name, &problem.detail)
}

#[expect(clippy::cast_precision_loss, reason = "amounts of a test")]
fn amount(minor: i64) -> f64 {
    minor as f64 / 100.0
}

fn sale_order(order: &Order) -> Value {
    let line = |line: &super::books::Line| {
        json!({ "id": order.revision * 1_000_000 + u64::from(line.line), "product_id": { "id": 7, "default_code": line.product },
                "product_uom_qty": f64::from(line.quantity), "price_unit": amount(line.unit_price_minor), "name": false })
    };
    json!({
        "id": 1, "name": order.id, "write_date": write_date(order.revision), "client_order_ref": false,
        "state": if order.status == Status::Cancelled { "cancel" } else { "sale" },
        "partner_id": { "id": 3, "ref": order.customer.id, "name": order.customer.name },
        "warehouse_id": { "id": 1, "code": order.site }, "currency_id": { "id": 1, "name": order.currency },
        "commitment_date": order.planned_departure.to_string().replace('T', " ").trim_end_matches('Z'),
        "order_line": order.lines.iter().map(line).collect::<Vec<_>>(),
    })
}

fn partner(customer: &Customer) -> Value {
    json!({
        "id": 3, "ref": customer.id, "name": customer.name, "write_date": write_date(customer.revision),
        "credit_limit": amount(customer.credit.limit_minor), "credit": amount(customer.credit.exposure_minor),
        "gatehouse_hold": customer.credit.on_hold,
    })
}

/// A field of a record through its links, such as `location_id.warehouse_id.code`.
fn field<'a>(row: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(row, |value, name| &value[name])
}

fn matches(row: &Value, domain: &Value) -> Result<bool, Problem> {
    let Some(terms) = domain.as_array() else { return Err(Problem::malformed("domain", "is no list")) };
    let mut all = true;
    for term in terms {
        let (Some(path), Some(how)) = (term[0].as_str(), term[1].as_str()) else {
            return Err(Problem::malformed("domain", format!("{term} is no term")));
        };
        let (found, wanted) = (field(row, path), &term[2]);
        all &= match how {
            "=" => found == wanted,
            "!=" => found != wanted,
            ">=" => found.as_str() >= wanted.as_str(),
            "in" => wanted.as_array().is_some_and(|values| values.contains(found)),
            _ => return Err(Problem::malformed("domain", format!("{how} is not known here"))),
        };
    }
    Ok(all)
}

/// What of a record was asked for: ids of what it links to, unless their fields are named.
fn by_specification(row: &Value, specification: &Value) -> Value {
    let Some(fields) = specification.as_object() else { return row.clone() };
    let mut read = Map::new();
    read.insert("id".to_owned(), row["id"].clone());
    for (name, of) in fields {
        let value = match (&row[name], of.get("fields")) {
            (Value::Object(_), None) => row[name]["id"].clone(),
            (Value::Array(rows), None) => rows.iter().map(|row| row["id"].clone()).collect(),
            (Value::Array(rows), Some(of)) => rows.iter().map(|row| by_specification(row, of)).collect(),
            (linked, Some(of)) => by_specification(linked, of),
            (plain, None) => plain.clone(),
        };
        read.insert(name.clone(), value);
    }
    Value::Object(read)
}

fn search(rows: Vec<Value>, arguments: &Map<String, Value>) -> Result<Vec<Value>, Problem> {
    let number = |name: &str| arguments.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let mut found = Vec::new();
    for row in rows {
        if matches(&row, arguments.get("domain").unwrap_or(&json!([])))? {
            found.push(row);
        }
    }
    Ok(found.into_iter().skip(number("offset").unwrap_or(0)).take(number("limit").unwrap_or(usize::MAX)).collect())
}

fn quants(erp: &Erp, arguments: &Map<String, Value>) -> Vec<Value> {
    let domain = arguments.get("domain").and_then(Value::as_array).into_iter().flatten();
    let code = domain.filter(|term| term[0] == "location_id.warehouse_id.code").find_map(|term| term[2].as_str());
    let site = code.unwrap_or_default();
    let quant = |(product, units): (&String, i64)| {
        // Half lies at one place and half at another, as quants do.
        [units / 2, units - units / 2].map(|units| {
            json!({ "id": 9, "product_id": { "id": 7, "default_code": product }, "available_quantity": units,
                    "location_id": { "id": 8, "usage": "internal", "warehouse_id": { "id": 1, "code": site } } })
        })
    };
    erp.look(|books| books.stock(site).flat_map(quant).collect())
}

async fn call(
    State(erp): State<Erp>,
    Path((model, method)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if headers.get(DATABASE.0).is_none_or(|name| name != DATABASE.1) {
        return refused(StatusCode::NOT_FOUND, "werkzeug.exceptions.NotFound", "no such database");
    }
    match answer(&erp, &model, &method, &headers, &body) {
        Ok(answer) => Json(answer).into_response(),
        Err(problem) => of_problem(&problem),
    }
}

fn answer(erp: &Erp, model: &str, method: &str, headers: &HeaderMap, body: &[u8]) -> Result<Value, Problem> {
    let Value::Object(arguments) = json_body(body)? else { return Err(Problem::malformed("body", "is no object")) };
    let rows = match model {
        "sale.order" => erp.look(|books| books.orders_since(0).map(sale_order).collect()),
        "res.partner" => erp.look(|books| books.customers_since(0).map(partner).collect()),
        "stock.quant" => quants(erp, &arguments),
        "gatehouse.posting" => erp.look(|books| {
            books.effects().iter().map(|e| json!({ "id": e.seq, "key": e.reference })).collect::<Vec<_>>()
        }),
        _ => return Err(Problem::not_found(format!("the model {model} does not exist"))),
    };
    match (model, method) {
        ("gatehouse.posting", "create") => create(erp, headers, arguments),
        (_, "search_read") => Ok(json!(search(rows, &arguments)?)),
        (_, "web_search_read") => {
            let found = search(rows, &arguments)?;
            let specification = arguments.get("specification").cloned().unwrap_or_default();
            let records: Vec<Value> = found.iter().map(|row| by_specification(row, &specification)).collect();
            Ok(json!({ "length": records.len(), "records": records }))
        }
        _ => Err(Problem::not_found(format!("{model} has no public method {method}"))),
    }
}

fn create(erp: &Erp, headers: &HeaderMap, mut arguments: Map<String, Value>) -> Result<Value, Problem> {
    let Some(Value::Array(values)) = arguments.remove("vals_list") else {
        return Err(Problem::malformed("vals_list", "is missing"));
    };
    let [Value::Object(posting)] = values.as_slice() else {
        return Err(Problem::malformed("vals_list", "one posting a call is expected"));
    };
    let (mut ours, mut key) = (Map::new(), String::new());
    for (name, value) in posting {
        let Some((_, known)) = FIELDS.iter().find(|(theirs, _)| theirs == name) else {
            return Err(Problem::malformed(name.as_str(), "is no field of gatehouse.posting"));
        };
        let value = match (*known, value.as_str()) {
            ("revision", Some(text)) => {
                json!(revision(text).ok_or_else(|| Problem::malformed(name.as_str(), "is no time"))?)
            }
            ("reference", Some(text)) => {
                text.clone_into(&mut key);
                value.clone()
            }
            _ => value.clone(),
        };
        ours.insert((*known).to_owned(), value);
    }
    erp.post(headers, Fields::of_value(Value::Object(ours), "")?)?;
    let seq = erp.look(|books| books.effects_of(&key).next().map_or(0, |effect| effect.seq));
    Ok(json!([seq]))
}
