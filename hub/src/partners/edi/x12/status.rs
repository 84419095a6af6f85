//! 214: a carrier tells where a shipment stands.

use super::write::Body;
use crate::partners::edi::{Message, Segment};

/// One thing that is told (AT7 with what follows it).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Element 1650; empty where it is an appointment.
    pub status: String,
    /// Element 1652; empty where it is a status.
    pub appointment: String,
    /// Element 1651, of the status or of the appointment.
    pub reason: String,
    /// `CCYYMMDD`.
    pub day: String,
    /// `HHMM`; empty where none was given.
    pub hour: String,
    /// Element 623; empty means local time.
    pub zone: String,
    /// City, state, country (MS1).
    pub place: [String; 3],
    /// Owner and number of the equipment (MS2).
    pub equipment: [String; 2],
    /// Lading exceptions (Q7): code, packaging, quantity.
    pub exceptions: Vec<[String; 3]>,
}

/// A shipment status message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusMessage {
    /// The carrier's number of it (PRO).
    pub own_number: String,
    /// The shipper's number of the shipment.
    pub shipment: String,
    /// Standard carrier alpha code.
    pub carrier: String,
    /// References of the whole message (L11 before the first LX).
    pub references: Vec<(String, String)>,
    /// What is told, in order.
    pub statuses: Vec<Status>,
}

impl StatusMessage {
    /// Reads a 214 that has no faults.
    #[must_use]
    pub fn read(message: &Message) -> Self {
        let mut read = Self::default();
        let mut in_details = false;
        for segment in message.body() {
            let get = |n| segment.get(n).to_owned();
            match (segment.tag.as_str(), read.statuses.last_mut()) {
                ("B10", _) => (read.own_number, read.shipment, read.carrier) = (get(1), get(2), get(3)),
                ("LX", _) => in_details = true,
                ("L11", _) if !in_details => read.references.push((get(1), get(2))),
                ("AT7", _) => {
                    let is_status = !segment.get(1).is_empty();
                    read.statuses.push(Status {
                        status: get(1),
                        appointment: get(3),
                        reason: if is_status { get(2) } else { get(4) },
                        day: get(5),
                        hour: get(6),
                        zone: get(7),
                        ..Status::default()
                    });
                }
                ("MS1", Some(status)) => status.place = [1, 2, 3].map(get),
                ("MS2", Some(status)) => status.equipment = [1, 2].map(get),
                ("Q7", Some(status)) => status.exceptions.push([1, 2, 3].map(get)),
                _ => {}
            }
        }
        read
    }

    /// The same as segments, each status under an LX of its own.
    #[must_use]
    pub fn body(&self) -> Body {
        let mut out = vec![Segment::new("B10", [self.own_number.as_str(), &self.shipment, &self.carrier])];
        for (value, qualifier) in &self.references {
            out.push(Segment::new("L11", [value.as_str(), qualifier.as_str()]));
        }
        for (n, status) in (1_u32..).zip(&self.statuses) {
            out.push(Segment::new("LX", [n.to_string().as_str()]));
            let (of_status, of_appointment) =
                if status.status.is_empty() { ("", status.reason.as_str()) } else { (status.reason.as_str(), "") };
            out.push(Segment::new(
                "AT7",
                [
                    status.status.as_str(),
                    of_status,
                    &status.appointment,
                    of_appointment,
                    &status.day,
                    &status.hour,
                    &status.zone,
                ],
            ));
            if status.place.iter().any(|p| !p.is_empty()) {
                out.push(Segment::new("MS1", status.place.iter().map(String::as_str)));
            }
            if status.equipment.iter().any(|p| !p.is_empty()) {
                out.push(Segment::new("MS2", status.equipment.iter().map(String::as_str)));
            }
            for exception in &status.exceptions {
                out.push(Segment::new("Q7", exception.iter().map(String::as_str)));
            }
        }
        ("214", out)
    }
}
