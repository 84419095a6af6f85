//! What partners' codes come to.

use gatehouse_common::id::{CarrierId, OrderId};

use super::*;
use crate::partners::edi::{read, x12::write};

const NOT_LEFT: Terms<'static> = Terms { ahead: Ahead(0), departed: &|_| false };
const LEFT: Terms<'static> = Terms { ahead: Ahead(0), departed: &|_| true };

fn x12(segments: &str, terms: &Terms<'_>) -> Vec<Word> {
    let count = segments.matches('~').count() + 1;
    let set = &segments[3..6];
    let group = crate::partners::edi::x12::group_of(set).unwrap();
    let text = format!(
        "ISA*00*          *00*          *ZZ*CARRIER        *ZZ*HUB            *261123*2000*U*00401*000000007*0*P*>~GS*{group}*CARRIER*HUB*20261123*2000*7*X*004010~{segments}SE*{count}*0001~GE*1*7~IEA*1*000000007~"
    );
    let read = read(text.as_bytes()).unwrap();
    assert_eq!(read[0].faults().collect::<Vec<_>>(), Vec::<&crate::partners::edi::Fault>::new());
    words(&read[0].groups[0].messages[0], terms)
}

#[test]
fn the_same_delay_is_of_the_departure_before_it_and_of_the_delivery_after() {
    let delayed = "ST*214*0001~B10*PRO1*DSP1001*ABCD~LX*1~AT7*SD*AI***20261123*1958*UT~MS1*DAYTON*OH*US~";
    let told = x12(delayed, &NOT_LEFT);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].subject.as_str(), told[0].code.as_str(), told[0].reason.as_str()), ("DSP1001", "SD", "AI"));
    assert_eq!(told[0].at.unwrap().to_string(), "2026-11-23T19:58:00Z");
    assert_eq!(told[0].says, [Says::Is(Milestone::Delayed), Says::Opens(CaseType::DepartureDelay)]);
    assert_eq!(told[0].bucket, Bucket::Carrier);
    assert_eq!(told[0].detail, "delayed, DAYTON OH US");
    let told = x12(delayed, &LEFT);
    assert_eq!(told[0].says[1], Says::Opens(CaseType::LateDelivery));
    // What the same message says before counts as known.
    let after = x12(&delayed.replace("AT7*SD", "AT7*AF*NS***20261123*1900*UT~LX*2~AT7*SD"), &NOT_LEFT);
    assert_eq!(after[1].says[1], Says::Opens(CaseType::LateDelivery));
}

#[test]
fn an_unknown_code_is_kept_as_it_came_and_opens_nothing() {
    let told = x12("ST*214*0001~B10*PRO1*DSP1*ABCD~LX*1~AT7*ZQ*QQ***20261123*1958~", &NOT_LEFT);
    assert_eq!((told[0].code.as_str(), told[0].reason.as_str(), told[0].known), ("ZQ", "QQ", false));
    assert_eq!(told[0].says, [Says::Is(Milestone::Noted)]);
    let told = x12("ST*214*0001~B10*PRO1*DSP1*ABCD~LX*1~AT7*ZQ*AY***20261123*1958~", &NOT_LEFT);
    assert_eq!(told[0].says[1], Says::Opens(CaseType::MissedPickup), "a known reason counts all the same");
    assert!(!told[0].known);
}

#[test]
fn good_news_with_a_reason_opens_nothing() {
    let told = x12("ST*214*0001~B10*PRO1*DSP1*ABCD~LX*1~AT7*X1*AD***20261123*1958~", &LEFT);
    assert_eq!(told[0].says, [Says::Is(Milestone::ArrivedDelivery)]);
    assert_eq!(told[0].bucket, Bucket::Customer);
}

#[test]
fn a_decline_is_read_whichever_of_its_two_letters_it_has() {
    for letter in ["D", "E"] {
        let told = x12(&format!("ST*990*0001~B1*ABCD*DSP1*20261123*{letter}~"), &NOT_LEFT);
        let order = OrderId::new("DSP1").unwrap();
        let carrier = CarrierId::new("ABCD").unwrap();
        let fact = Says::Fact(Source::Tms, FactKey::Carrier { order }, FactValue::Carrier { accepted: false, carrier });
        assert!(told[0].says.contains(&fact), "{told:?}");
        assert!(told[0].says.contains(&Says::Opens(CaseType::CarrierReject)));
    }
    let told = x12("ST*990*0001~B1*ABCD*DSP1*20261123*A~", &NOT_LEFT);
    assert!(matches!(told[0].says[0], Says::Fact(_, _, FactValue::Carrier { accepted: true, .. })));
}

#[test]
fn what_a_warehouse_shipped_is_stock_confirmed_line_by_line() {
    let text = "ST*945*0001~W06*J*SO1*20261123*S1~LX*1~W12*CC*10*10*0*EA**VN*P1~LX*2~W12*CP*10*7*3*EA**VN*P2~LX*3~W12*XX*1*1*0*EA~W03*18~";
    let told = x12(text, &NOT_LEFT);
    let key = |line| FactKey::Inventory { order: OrderId::new("SO1").unwrap(), line };
    let fact = |line, confirmed| Says::Fact(Source::Wms, key(line), FactValue::Inventory { confirmed });
    assert_eq!(told[0].says, [fact(1, 10), Says::Clears(CaseType::InvUnconfirmed)]);
    assert_eq!(told[1].says, [fact(2, 7), Says::Opens(CaseType::InvShortfall)]);
    assert_eq!(told[1].detail, "line 2: 7 shipped of 10");
    assert_eq!((told[2].says.clone(), told[2].known), (vec![fact(3, 1)], false));
}

#[test]
fn a_status_of_another_list_is_not_taken_for_ours() {
    let report = |list: &str, seal: &str| {
        let text = format!(
            "UNB+UNOC:3+A+B+261123:2000+7'UNH+1+IFTSTA:D:01B:UN'BGM+23+N1+9'DTM+137:202611232000:203'CNI+1+DSP1'STS+1+25{list}+17'DTM+334:202611231958:203'EQD+TE+T1'SEL+S1+CA+{seal}'UNT+9+1'UNZ+1+7'"
        );
        let read = read(text.as_bytes()).unwrap();
        assert_eq!(read[0].faults().next(), None);
        words(&read[0].groups[0].messages[0], &NOT_LEFT)
    };
    let told = report("", "1");
    assert_eq!(told[0].says, [Says::Is(Milestone::Delayed), Says::Opens(CaseType::DepartureDelay)]);
    assert_eq!((told[0].reason.as_str(), told[0].bucket), ("17", Bucket::CarrierTime));
    let told = report("::HS", "1");
    assert!(!told[0].known);
    let told = report("", "4");
    assert!(told[0].says.contains(&Says::Opens(CaseType::SealBroken)));
}

#[test]
fn free_text_is_made_writable_and_names_are_not() {
    assert_eq!(write::free_text("Büro * 7~\n", 20), "B?ro   7");
}
