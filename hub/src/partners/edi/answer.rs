//! What is answered to an interchange: 997 in X12, CONTRL in EDIFACT.

use gatehouse_common::time::UtcMs;

use super::{Fault, Frame, Interchange, Syntax, edifact, x12};

/// The file that answers an interchange; none where nothing in it is answered. Answers themselves are never answered, or
/// two programs would write to each other for ever. `control` is the number of the file that is written.
/// # Errors
/// A [`Fault`] if it cannot be written, such as for a name of the sender that X12 cannot hold.
pub fn to(interchange: &Interchange, control: u32, at: UtcMs) -> Result<Option<String>, Fault> {
    let (sender, receiver) = (interchange.receiver.clone(), interchange.sender.clone());
    let frame = Frame { sender, receiver, at, control, test: interchange.test };
    match interchange.syntax {
        Syntax::X12 => {
            let asked = interchange.groups.iter().filter(|g| g.kind != "FA");
            let bodies: Vec<_> = asked.map(x12::acknowledge::answer).collect();
            if bodies.is_empty() {
                return Ok(None);
            }
            x12::write::interchange(&frame, &bodies).map(Some)
        }
        Syntax::Edifact => {
            let mut messages = interchange.groups.iter().flat_map(|g| &g.messages);
            if messages.any(|m| m.kind == "CONTRL") {
                return Ok(None);
            }
            let body = edifact::control::answer(interchange);
            edifact::write::interchange(&frame, &[body]).map(Some)
        }
    }
}
