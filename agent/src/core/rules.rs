//! Which rules are in force: put in force, and taken back, by a person.
//!
//! In: a bundle's text. Out: other rules from the next input on, and the record of it, in one transaction with
//! whatever follows. A text that does not check is never in force, and a version never goes back but by a rollback.

use gatehouse_common::{bundle::Bundle, id::Hash32, time::Moment};

use super::{
    Core,
    decision::{Change, Record, TapDone, TapRefused},
    ground::GroundInput,
    input::Tap,
};

/// The texts of the rules in force and of those before them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    /// In force.
    pub active: String,
    /// In force before; none yet if there were no others.
    pub previous: Option<String>,
}

impl Core {
    pub(super) fn tap_activate(&mut self, now: &Moment, tap: &Tap, text: &str) -> Result<TapDone, TapRefused> {
        self.may_change_rules(tap)?;
        let bundle = Bundle::parse(text).map_err(|error| TapRefused::State(error.to_string()))?;
        let (version, active) = (bundle.rules.version, self.profile.bundle.rules.version);
        if bundle.hash == self.profile.bundle.hash {
            return Err(TapRefused::State(format!("version {version} of these rules is in force already")));
        }
        if version < active {
            return Err(TapRefused::State(format!(
                "version {active} is in force and this is {version}; raise the version, or roll back"
            )));
        }
        Ok(self.put_in_force(now, tap, bundle, text.to_owned(), "activate"))
    }

    pub(super) fn tap_roll_back(&mut self, now: &Moment, tap: &Tap) -> Result<TapDone, TapRefused> {
        self.may_change_rules(tap)?;
        let Some(text) = self.texts.previous.clone() else {
            return Err(TapRefused::State("there were no other rules before these".to_owned()));
        };
        let bundle = Bundle::parse(&text)
            .map_err(|error| TapRefused::State(format!("the rules before are not read by this program: {error}")))?;
        Ok(self.put_in_force(now, tap, bundle, text, "rollback"))
    }

    pub(super) fn may_change_rules(&self, tap: &Tap) -> Result<(), TapRefused> {
        let roles = &self.profile.bundle.rules.activation_roles;
        if roles.contains(&tap.role) {
            return Ok(());
        }
        Err(TapRefused::Role { role: tap.role.clone(), allowed: roles.join(" or ") })
    }

    fn put_in_force(&mut self, now: &Moment, tap: &Tap, bundle: Bundle, text: String, how: &'static str) -> TapDone {
        let version = bundle.rules.version;
        self.texts =
            Texts { previous: Some(std::mem::replace(&mut self.texts.active, text.clone())), active: text.clone() };
        self.profile.bundle = bundle;
        self.keep(now, GroundInput::Rules { bundle: self.profile.bundle.hash });
        self.out.records.push(Record::Bundle { text, version, at: now.wall, by: tap.who.to_string(), how });
        (self.look_at_all, self.watch_anew) = (true, true);
        self.changed(Change::Status);
        let hash = short(&self.profile.bundle.hash);
        TapDone { decision: None, message: format!("rules of version {version} ({hash}) are in force") }
    }
}

/// The beginning of a hash, for people.
pub fn short(hash: &Hash32) -> String {
    hash.to_string().chars().take(12).collect()
}
