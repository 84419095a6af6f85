//! Maps read what they say, and tell what they cannot read.

use serde_json::json;

use super::*;

fn map() -> OrderMap {
    let text = "id = 'No'\nsite = 'Plant'\ncustomer = 'Sold/To'\ndeparture = 'Day'\nstatus = 'Gone'\nlines = 'items'\n\
                cut_off = 'Latest'\ndangerous_goods = 'Adr'\n\
                [line]\nline = 'Item'\nstep = 10\nproduct = 'Mat'\nquantity = 'Qty'\nprice = 'Net'\nweight_grams = 'G'";
    toml::from_str(text).unwrap()
}

fn terms() -> SaleTerms {
    let name = "X1";
    SaleTerms {
        vehicle: name.parse().ok(),
        carrier: name.parse().ok(),
        door: name.parse().ok(),
        ..SaleTerms::default()
    }
}

fn object() -> Value {
    json!({ "No": 4711, "Plant": "W1", "Sold": { "To": "C1" }, "Day": "2030-01-31", "Gone": false, "Adr": "X",
            "Latest": "2030-01-31T16:00:00Z",
            "items": [{ "Item": "000010", "Mat": "P1", "Qty": "4.000", "Net": "12.505", "G": 700 }] })
}

#[test]
fn an_order_is_read_by_its_map_with_weight_cut_off_and_dangerous_goods() {
    let sites = [("W1".to_owned(), SiteId::new("D1").unwrap())].into();
    let order = map().read(&object(), &sites, &terms()).unwrap();
    assert_eq!((order.id.as_str(), order.site.as_str(), order.customer.name.as_str()), ("4711", "D1", "C1"));
    assert_eq!(order.planned_departure.to_string(), "2030-01-31T17:00:00Z");
    let line = &order.lines[0];
    assert_eq!((line.line, line.quantity, line.unit_price_minor, line.unit_weight_grams), (1, 4, 1251, Some(700)));
    assert_eq!(order.cut_off.map(|at| at.to_string()).as_deref(), Some("2030-01-31T16:00:00Z"));
    assert!(order.dangerous_goods);
    assert_eq!(order.status, OrderStatus::Released);
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    let none = BTreeMap::new();
    let told = |change: fn(&mut Value)| {
        let mut object = object();
        change(&mut object);
        map().read(&object, &none, &terms()).unwrap_err().to_string()
    };
    let quantity = told(|o| o["items"][0]["Qty"] = json!("1.500"));
    assert_eq!(quantity, "order 4711: Qty is 1.500, a whole number is expected");
    assert_eq!(told(|o| o["items"] = json!([])), "order 4711: items has no lines");
    assert_eq!(told(|o| o["items"][0]["Item"] = json!(15)), "order 4711: Item is 15, a multiple of 10 is expected");
    assert_eq!(told(|o| o["Sold"] = json!(7)), "order 4711: Sold/To is missing or empty");
    let nobody = SaleTerms { vehicle: None, ..terms() };
    let no_vehicle = map().read(&object(), &none, &nobody).unwrap_err().to_string();
    assert_eq!(no_vehicle, "order 4711: vehicle is named nowhere: map a field to it, or set erp.terms.vehicle");
}

#[test]
fn a_word_that_the_map_does_not_know_is_refused() {
    let error = toml::from_str::<StockMap>("site = 'a'\nproduct = 'b'\navailable = 'c'\ncolour = 'd'").unwrap_err();
    assert!(error.to_string().contains("unknown field `colour`"), "{error}");
}
