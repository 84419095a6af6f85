//! What the connector makes of answers that a real Tryton seldom gives. What it does with a real one is
//! proven in `tests/tests/with_tryton.rs`.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use gatehouse_common::{
    id::{CarrierId, DecisionId, DoorId, VehicleId},
    time::UtcMs,
};
use serde_json::{Value, json};

use super::*;

/// What a fake answers to anything but a login.
type Says = fn() -> Response;

#[derive(Clone)]
struct Fake {
    says: Says,
    logins: Arc<AtomicU32>,
    /// Sessions end after each call.
    forgets: bool,
}

async fn answer(State(fake): State<Fake>, headers: HeaderMap, Json(call): Json<Value>) -> Response {
    let known = headers.get("authorization").map(|h| h.to_str().unwrap().to_owned());
    match call["method"].as_str().unwrap() {
        "common.db.login" => {
            let n = fake.logins.fetch_add(1, Ordering::Relaxed);
            Json(json!({ "id": 1, "result": [7, format!("token-{n}"), null] })).into_response()
        }
        "model.res.user.get_preferences" => {
            Json(json!({ "id": 1, "result": { "company": 1, "companies": [1] } })).into_response()
        }
        // The first session is as good as ended.
        _ if fake.forgets && known == Some(session("token-0")) => StatusCode::UNAUTHORIZED.into_response(),
        "model.party.party.fields_get" => json_answer(&json!({ "id": 1, "result": { "credit_amount": {} } })),
        _ => (fake.says)(),
    }
}

fn session(token: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("Session {}", STANDARD.encode(format!("hub:7:{token}")))
}

async fn tryton(says: Says, forgets: bool) -> (Tryton, Arc<AtomicU32>) {
    let logins = Arc::new(AtomicU32::new(0));
    let fake = Fake { says, logins: logins.clone(), forgets };
    let app = Router::new().route("/erp/rpc/", post(answer)).with_state(fake);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let options = TrytonOptions {
        url,
        database: "erp".to_owned(),
        user: "hub".to_owned(),
        password: Secret::new("p"),
        sites: BTreeMap::new(),
        terms: SaleTerms {
            vehicle: VehicleId::new("V1").ok(),
            carrier: CarrierId::new("ACME").ok(),
            door: DoorId::new("1").ok(),
            ..SaleTerms::default()
        },
    };
    (Tryton::new(options).unwrap(), logins)
}

fn json_answer(body: &Value) -> Response {
    Json(body.clone()).into_response()
}

async fn reading(says: Says) -> ErpError {
    tryton(says, false).await.0.customer(&CustomerId::new("C1").unwrap()).await.unwrap_err()
}

async fn writing(says: Says) -> ErpError {
    let (tryton, _) = tryton(says, false).await;
    tryton.press("stock.shipment.out", 1, "do", serde_json::Map::new()).await.unwrap_err()
}

#[tokio::test]
async fn each_error_of_tryton_has_its_class_whatever_its_words() {
    let stale = || json_answer(&json!({ "id": 1, "error": ["ConcurrencyException", "Registros modificados"] }));
    assert!(matches!(writing(stale).await, ErpError::Conflict { .. }));
    let user = || json_answer(&json!({ "id": 1, "error": ["UserError", ["Nein.", "", null]] }));
    assert_eq!(writing(user).await, ErpError::Rejected { detail: "model.stock.shipment.out.do: Nein.".to_owned() });
    let warning = || json_answer(&json!({ "id": 1, "error": ["UserWarning", ["a.b", "Sure?", ""]] }));
    assert!(matches!(writing(warning).await, ErpError::Rejected { .. }));
    let field = || json_answer(&json!({ "id": 1, "error": ["'nofield'", ""] }));
    assert!(matches!(reading(field).await, ErpError::Contract { .. }));
}

#[tokio::test]
async fn a_server_in_trouble_is_transient_for_a_read_and_in_doubt_for_a_write() {
    let down = || (StatusCode::SERVICE_UNAVAILABLE, "<html>couldn't get a connection").into_response();
    assert!(matches!(reading(down).await, ErpError::Transient { .. }));
    assert!(matches!(writing(down).await, ErpError::Ambiguous { .. }));
    let busy = || (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], "").into_response();
    let ErpError::Transient { retry_after, .. } = writing(busy).await else { panic!("429 changes nothing") };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn an_answer_of_the_wrong_shape_is_told_with_its_place() {
    let html = || "<!doctype html><title>proxy</title>".into_response();
    assert!(reading(html).await.to_string().contains("model.party.party.search_read: no JSON"));
    let neither = || json_answer(&json!({ "id": 1 }));
    assert!(reading(neither).await.to_string().contains("neither a result nor an error"));
    let object = || json_answer(&json!({ "id": 1, "result": {} }));
    assert!(reading(object).await.to_string().contains("party.party: a list of rows is expected"));
    let rows = || json_answer(&json!({ "id": 1, "result": [{ "id": 3, "code": 17 }] }));
    let error = reading(rows).await;
    assert_eq!(error, ErpError::Contract { detail: "party.party 3: code is 17, text is expected".to_owned() });
    let missing = || StatusCode::NOT_FOUND.into_response();
    assert!(reading(missing).await.to_string().contains("no database \"erp\" is served at http://127.0.0.1:"));
}

#[tokio::test]
async fn a_session_that_ended_is_opened_again_once() {
    let rows = || json_answer(&json!({ "id": 1, "result": [{ "id": 3, "code": "C1" }] }));
    let (erp, logins) = tryton(rows, true).await;
    let customer = erp.customer(&CustomerId::new("C1").unwrap()).await.unwrap();
    // Without Tryton's credit limits nobody is held and nothing limits.
    assert_eq!((customer.on_hold, customer.limit_minor, customer.headroom_minor()), (false, None, i64::MAX));
    assert_eq!(logins.load(Ordering::Relaxed), 2);
    let (erp, logins) = tryton(|| StatusCode::UNAUTHORIZED.into_response(), false).await;
    let refused = erp.customer(&CustomerId::new("C1").unwrap()).await.unwrap_err();
    assert!(matches!(refused, ErpError::Auth { .. }), "{refused}");
    assert_eq!(logins.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_posting_about_a_sale_that_is_not_there_is_not_found() {
    let (erp, _) = tryton(|| json_answer(&json!({ "id": 1, "result": [] })), false).await;
    let posting = Posting {
        key: "gw-1-1/release/0".to_owned(),
        decision: DecisionId::new("gw-1-1").unwrap(),
        order: OrderId::new("404").unwrap(),
        line: None,
        kind: PostingKind::Release,
        quantity: None,
        total: Vec::new(),
        status: None,
        amount_minor: None,
        text: String::new(),
        at: UtcMs(0),
    };
    assert_eq!(erp.apply(&posting).await, Err(ErpError::NotFound { detail: "sale 404".to_owned() }));
}
