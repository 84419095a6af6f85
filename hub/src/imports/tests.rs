//! A small file of our own with each fault; each line ends as part of an order or as a reject with field and why.

use super::*;

const MAP: &str = r##"
line_id = "id"
same = ["to", "day"]
names = ["item"]
[weight]
kilograms = "weight"
elsewhere = "See {order} (ID#:{line})"
unknown = ["Weighed Separately"]
[sites]
"Main Store" = "D1"
[terms]
vehicle = "V1"
carrier = "ACME"
door = "1"
[order]
id = "order"
site = "from"
customer = "to"
departure = "day"
lines = "-"
[order.line]
line = "#"
product = "item"
quantity = "packs"
price = "price"
"##;

const HEAD: &str = "id,order,from,to,day,item,packs,price,weight\n";

fn read_text(text: &[u8]) -> Read {
    let map: ImportMap = toml::from_str(MAP).unwrap();
    let read = super::read(Lines::read(text).unwrap(), &map).unwrap();
    let in_orders: usize = read.orders.iter().map(|(_, lines)| lines).sum();
    let lines = Lines::read(text).unwrap().rows.len();
    assert_eq!(in_orders + read.rejects.len(), lines, "each line is in one of the two");
    read
}

fn told(rows: &str) -> Vec<String> {
    let read = read_text(format!("{HEAD}{rows}").as_bytes());
    read.rejects.iter().map(|r| format!("{} {}: {} {}", r.line, r.id, r.field, r.why)).collect()
}

#[test]
fn lines_of_one_order_become_one_order_and_a_weight_is_shared_by_those_that_refer_to_it() {
    let rows = "1,DN-1,Main Store,C1,2030-01-31,\"HIV 1/2, Kit (30)\",30,12.50,11\n\
                2,DN-2,D2,C2,2030-02-01,Gloves,5,0.10,Weighed Separately\n\
                3,DN-1,Main Store,C1,2030-01-31,Gloves,10,0.10,See DN-1 (ID#:1)\n";
    let read = read_text(format!("{HEAD}{rows}").as_bytes());
    assert_eq!(read.rejects, []);
    let (first, lines) = &read.orders[0];
    assert_eq!((first.id.as_str(), first.site.as_str(), *lines), ("DN-1", "D1", 2));
    assert_eq!((first.lines[0].product.as_str(), first.lines[0].unit_price_minor), ("HIV-1-2-Kit-30", 1_250));
    assert_eq!((first.lines[1].line, first.lines[1].quantity), (2, 10));
    // 11 kg over 40 units.
    assert_eq!(first.lines.iter().map(|l| l.unit_weight_grams).collect::<Vec<_>>(), [Some(275), Some(275)]);
    assert_eq!(first.planned_departure.to_string(), "2030-01-31T17:00:00Z");
    assert_eq!(read.orders[1].0.lines[0].unit_weight_grams, None);
}

#[test]
fn each_fault_of_a_line_is_told_with_its_field() {
    let rows = "1,DN-1,D1,C1,2030-01-31,A,1.5,1,1\n\
                2,DN-2,D1,C1,2030-01-31,A,0,1,1\n\
                3,DN-3,D1,C1,2030-01-31,A,1,cheap,1\n\
                4,DN-4,D1,C1,2030-01-31,A,1,-1,1\n\
                5,DN-5,D1,C1,31/01/2030,A,1,1,1\n\
                6,DN-6,D1,,2030-01-31,A,1,1,1\n\
                7,,D1,C1,2030-01-31,A,1,1,1\n\
                ,DN-8,D1,C1,2030-01-31,A,1,1,1\n\
                9,DN-9,D1,C1,2030-01-31,A,1,1\n\
                10,DN-10,D 1,C1,2030-01-31,A,1,1,1\n\
                10,DN-11,D1,C1,2030-01-31,A,1,1,1\n\
                12,DN-12,D1,C1,2030-01-31,A,1,1,heavy\n\
                13,DN-13,D1,C1,2030-01-31,,1,1,1\n";
    assert_eq!(
        told(rows),
        [
            "2 1: packs is 1.5, a whole number is expected",
            "3 2: packs is 0",
            "4 3: price is cheap, an amount is expected",
            "5 4: price is below 0",
            "6 5: day is \"31/01/2030\", a time in RFC 3339 or a day is expected",
            "7 6: to is missing or empty",
            "8 7: order is missing or empty",
            "9 : id is missing or empty",
            "10 : (line) has 8 columns, 9 are expected",
            "11 10: from site id \"D 1\" may not contain ' '",
            "12 10: id is 10 like that of line 11",
            "13 12: weight is \"heavy\": neither a weight nor a reference",
            "14 13: item is missing or empty",
        ]
    );
}

#[test]
fn a_reference_that_leads_nowhere_is_told() {
    let rows = "1,DN-1,D1,C1,2030-01-31,A,1,1,See DN-9 (ID#:99)\n\
                2,DN-2,D1,C1,2030-01-31,A,1,1,See DN-1 (ID#:3)\n\
                3,DN-3,D1,C1,2030-01-31,A,1,1,5\n\
                4,DN-4,D1,C1,2030-01-31,A,1,1,See DN-1 (ID#:1)\n\
                5,DN-5,D1,C1,2030-01-31,A,1,1,See DN-5 (ID#:)\n";
    assert_eq!(
        told(rows),
        [
            "2 1: weight refers to line 99, which is not there",
            "3 2: weight refers to line 3 of DN-1, but that line is of DN-3",
            "5 4: weight refers to line 1, which refers to another in turn",
            "6 5: weight is \"See DN-5 (ID#:)\": neither a weight nor a reference",
        ]
    );
}

#[test]
fn an_order_of_which_one_line_is_wrong_is_none() {
    let rows = "1,DN-1,D1,C1,2030-01-31,A,1,1,1\n\
                2,DN-1,D1,C1,2030-02-01,B,1,1,1\n\
                3,DN-2,D1,C1,2030-01-31,A,1,1,1\n\
                4,DN-2,D1,C1,2030-01-31,\"A-\",1,1,1\n";
    assert_eq!(
        told(rows),
        [
            "2 1: order is not whole: line 3 of it cannot be read",
            "3 2: day is \"2030-02-01\", but the order's first line 2 says \"2030-01-31\"",
            "4 3: order is not whole: line 5 of it cannot be read",
            "5 4: item is \"A-\", which has the same name A as \"A\"",
        ]
    );
}

#[test]
fn what_is_not_text_is_told_and_the_next_line_is_read() {
    let mut text = HEAD.as_bytes().to_vec();
    text.extend(b"1,DN-1,D1,C1,2030-01-31,\xff,1,1,1\n2,DN-2,D1,C1,2030-01-31,A,1,1,1\n");
    let read = read_text(&text);
    assert_eq!((read.orders.len(), read.rejects[0].why.as_str()), (1, "is not UTF-8"));
    assert_eq!(read.rejects[0].field, "item");
    // A quote that is never closed swallows what follows: that is one line with too few columns.
    assert_eq!(told("1,DN-1,\"D1,C1\n2,DN-2\n"), ["2 : (line) has 3 columns, 9 are expected"]);
}

#[test]
fn a_file_without_a_column_that_the_map_names_is_refused_whole() {
    let map: ImportMap = toml::from_str(MAP).unwrap();
    let lines = Lines::read("id,order\n1,2\n".as_bytes()).unwrap();
    let error = super::read(lines, &map).unwrap_err();
    assert_eq!(error, "the file has no column \"from\", which the map names");
    assert!(Lines::read("a,a\n".as_bytes()).unwrap_err().contains("twice"));
    assert!(Lines::read(&b""[..]).is_err());
}
