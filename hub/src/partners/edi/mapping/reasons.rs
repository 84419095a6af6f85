//! Why something is so, of two lists in one.

use gatehouse_common::case::CaseType;
use serde::Serialize;

/// Where a cause lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// Nothing is out of order.
    #[default]
    Normal,
    /// At the pick-up.
    Pickup,
    /// The carrier's time.
    CarrierTime,
    /// The carrier.
    Carrier,
    /// Weather, road, authorities.
    External,
    /// Our own site.
    OurSite,
    /// The customer; no fault of the carrier.
    Customer,
    /// Addresses and names.
    MasterData,
    /// At the handing over.
    Pod,
    /// The cargo.
    Cargo,
    /// Customs.
    Customs,
    /// Money.
    Finance,
    /// How it was loaded or planned.
    LoadPlan,
    /// A slip of the pen.
    DataQuality,
    /// A code that is not in the list.
    Unknown,
}

impl Bucket {
    /// Its word, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Pickup => "pickup",
            Self::CarrierTime => "carrier_time",
            Self::Carrier => "carrier",
            Self::External => "external",
            Self::OurSite => "our_site",
            Self::Customer => "customer",
            Self::MasterData => "master_data",
            Self::Pod => "pod",
            Self::Cargo => "cargo",
            Self::Customs => "customs",
            Self::Finance => "finance",
            Self::LoadPlan => "load_plan",
            Self::DataQuality => "data_quality",
            Self::Unknown => "unknown",
        }
    }
}

/// What a reason says: where the cause lies, and the case it asks for, where one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// Where it lies.
    pub bucket: Bucket,
    /// What kind of case it is, before departure and after it.
    pub raises: Option<(CaseType, CaseType)>,
}

const fn cause(bucket: Bucket, case: CaseType) -> Cause {
    Cause { bucket, raises: Some((case, case)) }
}

const fn delay(bucket: Bucket) -> Cause {
    Cause { bucket, raises: Some((CaseType::DepartureDelay, CaseType::LateDelivery)) }
}

/// X12 element 1651.
pub(super) fn x12(code: &str) -> Cause {
    use Bucket as B;
    use CaseType as C;
    match code {
        "" | "NS" | "NA" => Cause { bucket: B::Normal, raises: None },
        "AY" | "AX" | "AW" => cause(B::Pickup, C::MissedPickup),
        "A1" | "BH" | "AL" => cause(B::CarrierTime, C::LateDelivery),
        "AI" | "AF" | "AH" | "D2" | "D1" | "AJ" | "BO" | "BR" => delay(B::Carrier),
        "AO" | "BE" | "AU" => cause(B::External, C::EtaRisk),
        "AM" | "BB" | "C6" => delay(B::OurSite),
        "BN" | "BC" => cause(B::OurSite, C::DocHold),
        "AG" | "B1" | "B9" | "AN" | "AQ" | "AD" | "BK" | "HB" | "C4" | "C5" => cause(B::Customer, C::LateDelivery),
        "A2" | "A5" | "A6" => cause(B::MasterData, C::DeliveryFailed),
        "BS" => cause(B::Pod, C::PodRefused),
        "BT" => cause(B::Pod, C::Return),
        "AK" | "BP" | "AA" => cause(B::Cargo, C::PodDamage),
        "AS" | "AR" | "CA" | "BD" | "F1" | "F2" => cause(B::Customs, C::CustomsHold),
        "C2" | "B4" | "C8" | "C9" => cause(B::Finance, C::CreditHold),
        "C3" => cause(B::Customer, C::HoldCustomer),
        "BQ" | "AV" => cause(B::LoadPlan, C::CapacityShort),
        "B8" => cause(B::LoadPlan, C::DockConflict),
        "BF" => cause(B::DataQuality, C::MasterData),
        _ => Cause { bucket: B::Unknown, raises: None },
    }
}

/// EDIFACT element 9013.
pub(super) fn edifact(code: &str) -> Cause {
    use Bucket as B;
    use CaseType as C;
    match code {
        "" => Cause { bucket: B::Normal, raises: None },
        "2" | "50" => cause(B::Pickup, C::MissedPickup),
        "4" => cause(B::Cargo, C::SealBroken),
        "8" | "17" | "58" => delay(B::CarrierTime),
        "10" => delay(B::External),
        "11" | "46" => cause(B::Finance, C::CreditHold),
        "13" => cause(B::Customs, C::CustomsHold),
        "14" => cause(B::Cargo, C::PodDamage),
        "19" => cause(B::Cargo, C::InvMismatch),
        "27" | "45" | "96" => cause(B::Pod, C::PodShort),
        "35" | "88" => delay(B::Carrier),
        "37" => cause(B::OurSite, C::DocHold),
        "43" => delay(B::OurSite),
        "49" => cause(B::Pod, C::PodRefused),
        "63" => cause(B::External, C::EtaRisk),
        "89" => cause(B::Customer, C::HoldCustomer),
        "95" => cause(B::Pod, C::PodOver),
        "100" => cause(B::Customer, C::LateDelivery),
        _ => Cause { bucket: B::Unknown, raises: None },
    }
}
