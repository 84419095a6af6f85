//! What a message means for an order: facts, milestones, and matters for a case.
//!
//! The lists are those of X12 elements 1650, 1651, 368 and 558 and of UN/ECE recommendation 24 with EDIFACT element 9013,
//! as road transport uses them. A code that is not among them says nothing here, and is kept and shown as it came.

mod messages;
mod reasons;
mod statuses;
#[cfg(test)]
mod tests;

use gatehouse_common::{
    case::CaseType,
    fact::{FactKey, FactValue, Source},
    time::UtcMs,
};
use serde::Serialize;

pub use messages::words;
pub use reasons::{Bucket, Cause};

use super::when::Ahead;

/// How far a shipment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Milestone {
    /// The carrier knows of it.
    Acknowledged,
    /// The vehicle is where it picks up.
    ArrivedPickup,
    /// It is being loaded.
    Loading,
    /// It is loaded.
    Loaded,
    /// The trailer is closed and sealed.
    Sealed,
    /// It has left.
    Departed,
    /// It is on its way.
    Transit,
    /// The carrier says when it will arrive.
    Estimated,
    /// An appointment was made or changed.
    Appointed,
    /// It is late.
    Delayed,
    /// The vehicle is where it delivers.
    ArrivedDelivery,
    /// It was delivered.
    Delivered,
    /// A part of it was delivered.
    DeliveredInPart,
    /// Delivery was tried.
    NotDelivered,
    /// It is on its way back.
    Returned,
    /// Customs hold it.
    AtCustoms,
    /// Customs let it go.
    CustomsReleased,
    /// It is announced by its sender.
    Announced,
    /// Something that moves nothing.
    Noted,
}

impl Milestone {
    /// Its word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::ArrivedPickup => "arrived_pickup",
            Self::Loading => "loading",
            Self::Loaded => "loaded",
            Self::Sealed => "sealed",
            Self::Departed => "departed",
            Self::Transit => "transit",
            Self::Estimated => "estimated",
            Self::Appointed => "appointed",
            Self::Delayed => "delayed",
            Self::ArrivedDelivery => "arrived_delivery",
            Self::Delivered => "delivered",
            Self::DeliveredInPart => "delivered_in_part",
            Self::NotDelivered => "not_delivered",
            Self::Returned => "returned",
            Self::AtCustoms => "at_customs",
            Self::CustomsReleased => "customs_released",
            Self::Announced => "announced",
            Self::Noted => "noted",
        }
    }
}

/// One thing that a message says of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Says {
    /// This is so, as the source says.
    Fact(Source, FactKey, FactValue),
    /// The shipment is here.
    Is(Milestone),
    /// Someone must look at it.
    Opens(CaseType),
    /// What was open is over.
    Clears(CaseType),
}

/// What one part of a message comes to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Word {
    /// The order or shipment that it names, as it came.
    pub subject: String,
    /// When it was so; none where the message does not say it in a way that can be read.
    pub at: Option<UtcMs>,
    /// The code as it came, such as `SD`.
    pub code: String,
    /// The reason as it came, such as `AI`.
    pub reason: String,
    /// Why, in one of few words.
    pub bucket: Bucket,
    /// Whether code and reason are both known here.
    pub known: bool,
    /// What follows from it.
    pub says: Vec<Says>,
    /// The same for people.
    pub detail: String,
}

/// What is needed to read a message beside its bytes.
#[derive(Clone, Copy)]
pub struct Terms<'t> {
    /// Where the partner's clock stands.
    pub ahead: Ahead,
    /// Whether a shipment has left already, as far as is known.
    pub departed: &'t dyn Fn(&str) -> bool,
}
