//! The rows of the table of concurrent pairs that this version settles, by what each side did.

/// Released, not loading; the order was cancelled.
pub const RELEASED_CANCELLED: u8 = 1;
/// On board; the order was cancelled.
pub const ON_BOARD_CANCELLED: u8 = 2;
/// Departed; the order was cancelled.
pub const DEPARTED_CANCELLED: u8 = 3;
/// Delivered; the order was cancelled.
pub const DELIVERED_CANCELLED: u8 = 4;
/// Released; the customer went on credit hold.
pub const RELEASED_CREDIT_HOLD: u8 = 5;
/// Departed; the customer went on credit hold.
pub const DEPARTED_CREDIT_HOLD: u8 = 6;
/// Released; the order was reduced or raised.
pub const RELEASED_QUANTITY: u8 = 7;
/// Departed with more than is ordered now.
pub const DEPARTED_TOO_MUCH: u8 = 8;
/// Departed; the order was raised.
pub const DEPARTED_BEFORE_RAISE: u8 = 9;
/// Departed with less than was ordered.
pub const DEPARTED_SHORT: u8 = 10;
/// Price, address or date changed: of what has not left the depot weighs its gates again.
pub const TERMS_CHANGED: u8 = 11;
/// The order leaves from another depot.
pub const REASSIGNED: u8 = 12;
/// Two depots let the same goods leave.
pub const LEFT_TWICE: u8 = 13;
/// One carrier has the goods, another was tendered them.
pub const OTHER_CARRIER: u8 = 14;
/// Departed although a hold was placed that the depot did not know of.
pub const HOLD_PLACED: u8 = 16;
/// Overrode a hold that was lifted meanwhile.
pub const OVERRIDE_UNNEEDED: u8 = 17;
/// Overrode a hold that was confirmed meanwhile.
pub const OVERRIDE_REFUSED: u8 = 18;
/// Took units that the warehouse says it had not.
pub const STOCK_TAKEN: u8 = 20;
/// Decided by rules that were replaced meanwhile.
pub const POLICY_LAGGED: u8 = 33;
/// Decided under a lease that had expired.
pub const LEASE_EXPIRED: u8 = 34;
/// Delivered and billed, and too warm on the way.
pub const TOO_WARM: u8 = 35;
/// Less was signed for whole than was billed: beyond the table, which has no row for what is signed for.
pub const DELIVERED_OTHERWISE: u8 = 36;
/// More was signed for than left: beyond the table.
pub const DELIVERED_MORE: u8 = 37;
