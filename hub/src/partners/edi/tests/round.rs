//! What is written is read back as it was meant.

use gatehouse_common::time::UtcMs;

use crate::partners::edi::{
    Frame, Interchange, Message, Party, answer,
    edifact::{
        self,
        control::Control,
        despatch::{Despatch, DespatchLine},
        status::{Status as Consignment, StatusReport},
    },
    read,
    x12::{
        self,
        acknowledge::Acknowledgement,
        advice::{Advice, AdviceLine},
        notice::{Item, ShipNotice},
        response::{Action, Response},
        status::{Status, StatusMessage},
        tender::{Dated, Purpose, Stop, Tender},
    },
};

fn s(text: &str) -> String {
    text.to_owned()
}

fn parties() -> (Party, Party) {
    (Party { qualifier: s("ZZ"), id: s("HUB") }, Party { qualifier: s("ZZ"), id: s("CARRIER") })
}

fn at() -> UtcMs {
    "2026-11-23T19:58:00Z".parse().unwrap()
}

/// Written into a folder as well, for the outside readers, where one is named.
fn keep(name: &str, text: &str) {
    if let Some(folder) = std::env::var_os("GATEHOUSE_EDI_WRITTEN") {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(std::path::Path::new(&folder).join(name), text).unwrap();
    }
}

fn frame() -> Frame {
    let (sender, receiver) = parties();
    Frame { sender, receiver, at: at(), control: 12, test: false }
}

fn write_x12(body: x12::write::Body) -> Message {
    let frame = frame();
    let kind = body.0;
    let text = x12::write::interchange(&frame, &[body]).unwrap();
    keep(&format!("{kind}.x12"), &text);
    read(text.as_bytes()).unwrap().remove(0).groups.remove(0).messages.remove(0)
}

fn write_edifact(body: edifact::write::Body) -> Message {
    let frame = frame();
    let kind = body.0;
    let text = edifact::write::interchange(&frame, &[body]).unwrap();
    keep(&format!("{kind}.edifact"), &text);
    read(&edifact::write::bytes(&text)).unwrap().remove(0).groups.remove(0).messages.remove(0)
}

pub(super) fn tender(purpose: Purpose) -> Tender {
    let dated = |qualifier: &str, hour: &str| Dated {
        qualifier: s(qualifier),
        day: s("20261124"),
        hour: s(hour),
        zone: s("UT"),
    };
    let stop = |number, reason: &str, name: &str| Stop {
        number,
        reason: s(reason),
        dates: vec![dated("37", "0800"), dated("38", "1000")],
        party: [s("SF"), s(name), s("92"), s("D1")],
        address: [s("MAIN ROAD 1"), s("DAYTON"), s("OH"), s("45402"), s("US")],
    };
    Tender {
        carrier: s("ABCD"),
        shipment: s("DSP-1001"),
        payment: s("PP"),
        purpose,
        references: vec![(s("SO-1"), s("PO"))],
        stops: vec![stop(1, "CL", "DEPOT D1"), stop(2, "CU", "CUSTOMER")],
        weight: s("42000"),
    }
}

#[test]
fn every_message_of_x12_is_read_back_as_it_was_written() {
    for purpose in [Purpose::Original, Purpose::Cancel] {
        let tender = tender(purpose);
        assert_eq!(Tender::read(&write_x12(tender.body())), tender);
    }
    for action in [Action::Accepted, Action::Declined, Action::Counter, Action::Conditional] {
        let reason = if action == Action::Declined { s("BCS") } else { String::new() };
        let response = Response {
            carrier: s("ABCD"),
            shipment: s("DSP-1001"),
            day: s("20261123"),
            action,
            reason,
            own_number: s("PRO1"),
        };
        assert_eq!(Response::read(&write_x12(response.body())), response);
    }
    let told = |status: &str, appointment: &str| Status {
        status: s(status),
        appointment: s(appointment),
        reason: s(if status.is_empty() { "NA" } else { "NS" }),
        day: s("20261123"),
        hour: s("1958"),
        zone: s("UT"),
        place: [s("DAYTON"), s("OH"), s("US")],
        equipment: [s("ABCD"), s("53001")],
        exceptions: if status == "D1" { vec![[s("S"), s("PCS"), s("2")]] } else { Vec::new() },
    };
    let status = StatusMessage {
        own_number: s("PRO1"),
        shipment: s("DSP-1001"),
        carrier: s("ABCD"),
        references: vec![(s("SO-1"), s("PO"))],
        statuses: vec![told("AF", ""), told("", "AB"), told("D1", "")],
    };
    assert_eq!(StatusMessage::read(&write_x12(status.body())), status);
    let line = |line, status: &str, shipped: &str| AdviceLine {
        line,
        status: s(status),
        ordered: s("10"),
        shipped: s(shipped),
        product: [s("VN"), s("P-1")],
        unit: s("EA"),
    };
    let advice = Advice {
        order: s("SO-1"),
        day: s("20261123"),
        shipment: s("DSP-1001"),
        ship_to: [s("ADA"), s("92"), s("C-1")],
        lines: vec![line(1, "CC", "10"), line(2, "CP", "9")],
        totals: [s("19"), s("420"), s("LB")],
    };
    assert_eq!(Advice::read(&write_x12(advice.body())), advice);
    let item = |order: &str, line: &str, packed: Option<&str>| Item {
        order: s(order),
        line: s(line),
        product: [s("VN"), s("P-1")],
        quantity: [s("9"), s("EA")],
        packed_in: packed.map(s).into_iter().collect(),
    };
    let notice = ShipNotice {
        purpose: s("00"),
        shipment: s("DSP-1001"),
        written: [s("20261123"), s("1958")],
        references: vec![(s("BM"), s("BOL1"))],
        carrier: s("ABCD"),
        equipment: [s("53001"), s("SEAL1")],
        items: vec![item("SO-1", "1", Some("00000010012345614785")), item("SO-2", "1", None)],
    };
    assert_eq!(ShipNotice::read(&write_x12(notice.body())), notice);
}

#[test]
fn every_message_of_edifact_is_read_back_as_it_was_written() {
    let report = StatusReport {
        number: s("N'1"),
        written: [s("202611231958"), s("203")],
        statuses: vec![Consignment {
            consignment: s("DSP+1001?"),
            references: vec![(s("BM"), s("BOL:1"))],
            category: s("1"),
            status: s("24"),
            list: String::new(),
            words: s("Abfahrt Köln"),
            reason: s("17"),
            at: [s("202611231950"), s("203")],
            place: [s("DEKOL"), s("Köln")],
            equipment: s("T-1"),
            seals: vec![(s("S1"), s("1"))],
        }],
    };
    assert_eq!(StatusReport::read(&write_edifact(report.body())), report);
    let line = |line: &str, variance: &str| DespatchLine {
        line: s(line),
        product: [s("P-1"), s("SA")],
        quantity: [s("9"), s("PCE")],
        variance: if variance.is_empty() { Default::default() } else { [s(variance), s("AS")] },
    };
    let despatch = Despatch {
        number: s("DSP-1001"),
        written: [s("202611231958"), s("203")],
        order: s("SO-1"),
        lines: vec![line("1", ""), line("2", "-1")],
    };
    assert_eq!(Despatch::read(&write_edifact(despatch.body())), despatch);
}

#[test]
fn what_cannot_be_written_is_refused_with_its_element_and_never_altered() {
    let mut tender = tender(Purpose::Original);
    tender.shipment = s("DSP*1");
    let frame = frame();
    let fault = x12::write::interchange(&frame, &[tender.body()]).unwrap_err();
    assert_eq!((fault.tag.as_str(), fault.element), ("B2", Some(4)));
    tender.shipment = s("D").repeat(31);
    let fault = x12::write::interchange(&frame, &[tender.body()]).unwrap_err();
    assert_eq!((fault.tag.as_str(), fault.element), ("B2", Some(4)), "longer than a reader takes");
}

fn answered(text: &str) -> (Interchange, String) {
    let read = read(text.as_bytes()).unwrap().remove(0);
    let answer = answer::to(&read, 5, at()).unwrap().unwrap();
    (super::super::read(answer.as_bytes()).unwrap().remove(0), answer)
}

const TWO: &str = "ISA*00*          *00*          *ZZ*CARRIER        *ZZ*HUB            *261123*2000*U*00401*000000007*0*P*>~GS*QM*CARRIER*HUB*20261123*2000*7*X*004010~ST*214*0001~B10*PRO1*DSP1001*ABCD~LX*1~AT7*SD*AI***2026112*1958*UT~SE*5*0001~ST*214*0002~B10*PRO1*DSP1002*ABCD~SE*3*0002~GE*2*7~IEA*1*000000007~";

#[test]
fn a_group_is_answered_message_by_message_with_the_place_of_each_fault() {
    let (answer, text) = answered(TWO);
    keep("997.x12", &text);
    assert_eq!((answer.sender.id.as_str(), answer.receiver.id.as_str()), ("HUB", "CARRIER"));
    let said = Acknowledgement::read(&answer.groups[0].messages[0]);
    assert_eq!((said.group.as_str(), said.control.as_str(), said.code.as_str()), ("QM", "7", "P"));
    let codes: Vec<&str> = said.messages.iter().map(|m| m.code.as_str()).collect();
    assert_eq!(codes, ["R", "A"]);
    assert_eq!(said.messages[0].notes, ["segment 4 (AT7), code 8", "element 5, code 8: \"\""]);
    assert!(text.contains("AK9*P*2*2*1~"), "{text}");
    assert!(super::super::answer::to(&answer, 6, at()).unwrap().is_none(), "an answer is not answered");
}

#[test]
fn an_interchange_of_edifact_is_answered_message_by_message() {
    let two = "UNB+UNOC:3+A:14+B:14+261123:2000+7'UNH+1+IFTSTA:D:01B:UN'BGM+23+N1+9'CNI+1+DSP1'STS+1+24+LONG'UNT+5+1'UNH+2+IFTSTA:D:01B:UN'BGM+23+N1+9'CNI+1+DSP1'STS+1+24'UNT+5+2'UNZ+2+7'";
    let (answer, text) = answered(two);
    keep("CONTRL.edifact", &text);
    let said = Control::read(&answer.groups[0].messages[0]);
    assert_eq!((said.interchange.as_str(), said.action.as_str()), ("7", "7"));
    let first = (s("1"), s("4"), vec![s("segment 4, code "), s("element 4, code 39")]);
    assert_eq!(said.messages, [first, (s("2"), s("7"), Vec::new())]);
    assert!(answer::to(&answer, 6, at()).unwrap().is_none());
}
