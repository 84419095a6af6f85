//! What partners send, and what becomes of it.

use serde_json::json;

use super::*;

fn now() -> UtcMs {
    "2030-05-01T08:00:00Z".parse().unwrap()
}

fn event() -> Value {
    json!({
        "specversion": "1.0", "id": "i1", "source": "/wms/a", "type": "io.gatehouse.wms.inventory.v1",
        "subject": "SO-1", "time": "2030-05-01T07:59:00Z", "datacontenttype": "application/json",
        "data": { "order": "SO-1", "line": 1, "confirmed": 40, "at": "2030-05-01T07:58:00Z" },
    })
}

fn parse(event: &Value) -> Result<Event, EventError> {
    Event::parse(event.to_string().as_bytes(), now())
}

/// Where the event is wrong once `change` was made.
fn faults(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut event = event();
    change(&mut event);
    match parse(&event) {
        Err(EventError::Faults(faults)) => faults.into_iter().map(|fault| fault.pointer).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_kind_of_event_becomes_the_fact_it_speaks_of() {
    let inventory = parse(&event()).unwrap();
    assert_eq!(inventory.system, System::Wms);
    let order = OrderId::new("SO-1").unwrap();
    assert_eq!(inventory.report.key, FactKey::Inventory { order: order.clone(), line: 1 });
    assert_eq!(inventory.report.value, FactValue::Inventory { confirmed: 40 });
    assert_eq!(inventory.report.at.to_string(), "2030-05-01T07:58:00Z");

    let mut capacity = event();
    capacity["type"] = json!("io.gatehouse.tms.capacity.v1");
    capacity["data"] = json!({ "order": "SO-1", "sufficient": true, "vehicle": null });
    let capacity = parse(&capacity).unwrap();
    assert_eq!(capacity.report.source, Source::Tms);
    assert_eq!(capacity.report.value, FactValue::Capacity { sufficient: true, vehicle: None });
    assert_eq!(capacity.report.at.to_string(), "2030-05-01T07:59:00Z", "the event's own time, where data has none");

    let mut carrier = event();
    carrier["type"] = json!("io.gatehouse.tms.carrier.v1");
    carrier["data"] = json!({ "order": "SO-1", "accepted": false, "carrier": "ACME" });
    let accepted = FactValue::Carrier { accepted: false, carrier: CarrierId::new("ACME").unwrap() };
    assert_eq!(parse(&carrier).unwrap().report.value, accepted);
}

#[test]
fn everything_wrong_with_an_event_is_told_at_once_by_its_place() {
    let told = faults(|e| {
        e["specversion"] = json!("0.3");
        e["id"] = json!("");
        e["source"] = json!(7);
        e["time"] = json!("yesterday");
        e["data"] = json!({ "order": "a|b", "line": 0, "confirmed": -1, "qty": 4 });
    });
    let expected = [
        "/specversion",
        "/id",
        "/source",
        "/time",
        "/data/at",
        "/data/order",
        "/data/line",
        "/data/confirmed",
        "/data/qty",
    ];
    assert_eq!(told, expected);
    assert_eq!(faults(|e| e["data"] = json!([])), ["/data"]);
    assert_eq!(faults(|e| e["data_base64"] = json!("AA==")), ["/data_base64"]);
    assert_eq!(faults(|e| e["datacontenttype"] = json!("text/xml")), ["/datacontenttype"]);
}

#[test]
fn an_event_from_the_future_is_refused_since_no_later_one_could_replace_it() {
    assert_eq!(faults(|e| e["data"]["at"] = json!("2030-05-01T08:02:00Z")), ["/data/at"]);
    let mut a_little = event();
    a_little["data"]["at"] = json!("2030-05-01T08:00:50Z");
    assert!(parse(&a_little).is_ok());
}

#[test]
fn an_unknown_type_is_answered_with_those_that_are_known() {
    let mut other = event();
    other["type"] = json!("com.example.thing");
    let told = parse(&other).unwrap_err().to_string();
    assert!(told.contains("com.example.thing") && told.contains("io.gatehouse.tms.carrier.v1"), "{told}");
}

#[test]
fn what_is_not_json_is_told_with_line_and_column() {
    let told = Event::parse(b"{\"id\": }", now()).unwrap_err().to_string();
    assert!(told.contains("line 1 column 8"), "{told}");
    assert!(Event::parse(b"[]", now()).unwrap_err().to_string().contains("on its own"));
}

#[test]
fn attributes_that_nobody_asked_for_are_left_alone() {
    let mut more = event();
    more["traceparent"] = json!("00-1");
    assert_eq!(parse(&more), parse(&event()));
}

/// Written down with our verdict for `tests/partners/cloudevents.cjs`, which asks the standard's own schema about each:
/// what we take is an event by the schema, and what is none by the schema we do not take.
#[test]
fn what_we_take_and_what_we_refuse_is_written_down_for_the_schema_of_the_standard() {
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut event = event();
        change(&mut event);
        event
    };
    let set = |name: &'static str, value: Value| changed(&|e| e[name] = value.clone());
    let without = |name: &'static str| changed(&|e| drop(e.as_object_mut().unwrap().remove(name)));
    let cases = vec![
        ("as it should be", event()),
        ("without a time", without("time")),
        ("without a subject", without("subject")),
        ("without a content type", without("datacontenttype")),
        ("with an extension", set("recordedtime", json!("2030-05-01T07:59:30Z"))),
        ("a source that is a path", set("source", json!("wms"))),
        ("without a version", without("specversion")),
        ("without an id", without("id")),
        ("without a source", without("source")),
        ("without a type", without("type")),
        ("an empty id", set("id", json!(""))),
        ("an empty source", set("source", json!(""))),
        ("an empty type", set("type", json!(""))),
        ("a number as id", set("id", json!(7))),
        ("a time that is none", set("time", json!("yesterday"))),
        ("a time without a zone", set("time", json!("2030-05-01T07:59:00"))),
        ("an empty subject", set("subject", json!(""))),
        ("a list", json!([event()])),
    ];
    let told: Vec<Value> = cases
        .into_iter()
        .map(|(name, event)| json!({ "name": name, "taken": parse(&event).is_ok(), "event": event }))
        .collect();
    let taken = told.iter().filter(|case| case["taken"] == true).count();
    assert!(taken >= 5 && told.len() - taken >= 8, "{told:#?}");
    if let Some(file) = std::env::var_os("GATEHOUSE_CLOUDEVENTS_WRITTEN") {
        std::fs::write(file, serde_json::to_string(&told).unwrap()).unwrap();
    }
}
