//! How agents and the hub exchange what they know in the pretend world: the same frames and sessions as
//! over HTTP, carried by lines that the weather rules.

use gatehouse_agent::{
    core::input::{Input, Line as LineInput},
    sync::Due,
};
use gatehouse_common::{
    id::DeviceId,
    sync::{
        Downward, FeedItem, Lane, PullReply, Push, PushReply, Repair, Repaired, Stand, decode, encode,
        repair::Step,
        session::{BATCH_MAX, Pulled},
    },
};

use super::{
    Call, Event, World,
    bugs::Bug,
    clock::{MINUTE, SECOND},
    hub::{Answer, WaitingPull},
    revoked::OK,
};

/// How long a pull waits at the hub for something new, in milliseconds; longer than in life, to play faster.
const LONG_POLL_MS: u32 = 120_000;
/// How long an agent waits for an answer on top of that.
pub(super) const ANSWER_MAX: i64 = 20 * SECOND;

impl World {
    pub(super) fn push_soon(&mut self, place: usize) {
        let start = self.agents[place].starts;
        let Some(running) = &mut self.agents[place].running else { return };
        if running.push.is_none() && !running.push_is_due {
            running.push_is_due = true;
            let pause = self.dice.between(5, 100);
            self.after(pause, Event::PushIsDue { agent: place, start });
        }
    }

    pub(super) fn pushes(&mut self, place: usize, start: u64) {
        if self.agents[place].starts != start {
            return;
        }
        let Some(running) = &mut self.agents[place].running else { return };
        running.push_is_due = false;
        if running.push.is_some() || !running.stands {
            return;
        }
        let waiting = running.store.look().outbox(u32::try_from(BATCH_MAX).unwrap_or(u32::MAX));
        let Some(waiting) = self.must("reading the outbox", waiting) else { return };
        let Some(running) = &mut self.agents[place].running else { return };
        let Some(push) = running.session.next_push(waiting.into_iter().map(|w| (w.n, w.says))) else { return };
        let frame = encode(&push);
        let Some(frame) = self.must("writing a push", frame) else { return };
        let request = self.asks(place, Call::Push, frame, ANSWER_MAX);
        if let Some(running) = &mut self.agents[place].running {
            running.push = Some(request);
        }
    }

    pub(super) fn pulls(&mut self, place: usize, start: u64) {
        if self.agents[place].starts != start {
            return;
        }
        let Some(running) = &mut self.agents[place].running else { return };
        if running.pull.is_some() || self.asks_how_it_stands(place) || self.mends(place) {
            return;
        }
        let Some(running) = &mut self.agents[place].running else { return };
        let Some(pull) = running.session.next_pull(LONG_POLL_MS) else {
            running.session.line_lost();
            self.after(SECOND, Event::PullIsDue { agent: place, start });
            return;
        };
        let frame = encode(&pull);
        let Some(frame) = self.must("writing a pull", frame) else { return };
        let request = self.asks(place, Call::Pull, frame, ANSWER_MAX + i64::from(pull.wait_ms));
        if let Some(running) = &mut self.agents[place].running {
            running.pull = Some(request);
        }
    }

    pub(super) fn asks(&mut self, place: usize, call: Call, frame: Vec<u8>, patience: i64) -> u64 {
        self.requests += 1;
        let request = self.requests;
        let arrivals = self.agents[place].line.carry(&mut self.dice);
        // A line that is cut refuses at once or swallows in silence.
        let patience = if self.agents[place].line.is_cut { self.dice.between(50, ANSWER_MAX) } else { patience };
        if arrivals.len() > 1 {
            self.book.note("requests that came twice");
        }
        for delay in arrivals {
            self.after(delay, Event::AtHub { agent: place, request, call, frame: frame.clone() });
        }
        self.after(patience, Event::GivenUp { agent: place, request });
        request
    }

    pub(super) fn at_hub(&mut self, place: usize, request: u64, call: Call, frame: &[u8]) {
        if self.agents[place].line.is_cut {
            return;
        }
        self.at_some_replica();
        if self.is_walled_off(place) {
            self.book.note("requests to a replica that cannot be reached");
            return;
        }
        if self.is_of_another_time(place, request) {
            return;
        }
        if self.revoked.has(place) {
            return self.asks_at_endpoint(place, request, call, frame);
        }
        let device = self.agents[place].device.clone();
        if self.dice.chance(self.weather.mangles) {
            self.mangles(&device, call, frame);
        }
        let answered = match call {
            Call::Push => {
                let pushed = self.hub.push(&device, frame);
                if pushed.is_ok() && self.dice.chance(self.weather.hub_dies) {
                    self.book.note("hub deaths between commit and answer");
                    self.hub_dies();
                    return;
                }
                pushed
            }
            Call::Repair => self.hub.repair(&device, frame),
            Call::Stand => self.hub.stands(&device, frame),
            Call::Pull => match self.hub.pull(&device, frame) {
                Ok(Answer::Frame(frame)) => Ok(frame),
                Ok(Answer::Waits(pull)) => {
                    let wait = i64::from(pull.wait_ms);
                    if let Some(hub) = &mut self.hub.running {
                        hub.waiting.push(WaitingPull { agent: place, request, pull });
                    }
                    self.after(wait, Event::WaitedLongEnough { request });
                    return;
                }
                Err(error) => Err(error),
            },
        };
        match answered {
            Ok(frame) => self.replies(place, request, call, &frame),
            Err(super::hub::HubError::Down) => {}
            Err(error) => self.failures.push(format!("the hub refused a request of {device}: {error}")),
        }
        self.hub_has_changed();
    }

    /// Somebody sends the hub what this device sent, with other bytes. Its signature is wrong, so what would write is
    /// only read, which no bytes may make fail otherwise than with a reason.
    fn mangles(&mut self, device: &DeviceId, call: Call, frame: &[u8]) {
        let mut bytes = frame.to_vec();
        for _ in 0..=self.dice.place(3) {
            let place = self.dice.place(bytes.len());
            bytes[place] ^= 1 << self.dice.place(8);
        }
        let read = match call {
            Call::Push => decode::<Push>(&bytes).is_ok(),
            Call::Pull => self.hub.pull(device, &bytes).is_ok(),
            Call::Repair => decode::<Repair>(&bytes).is_ok(),
            Call::Stand => decode::<Stand>(&bytes).is_ok(),
        };
        self.book.note(if read { "mangled requests that were read" } else { "mangled requests" });
    }

    pub(super) fn replies(&mut self, place: usize, request: u64, call: Call, frame: &[u8]) {
        if self.is_walled_off(place) {
            return;
        }
        for delay in self.agents[place].line.carry(&mut self.dice) {
            self.after(delay, Event::AtAgent { agent: place, request, call, frame: frame.to_vec() });
        }
    }

    /// Something may have been committed at the hub: pulls that wait for it are answered, and work begins.
    pub(super) fn hub_has_changed(&mut self) {
        let news = self.hub.news();
        if news.work {
            self.hub_works_at(self.now.plus(100));
        }
        if news.feed {
            self.answers_who_waits();
        }
        self.others_hear(news.told);
    }

    pub(super) fn answers_who_waits(&mut self) {
        let Some(running) = &mut self.hub.running else { return };
        for waiting in std::mem::take(&mut running.waiting) {
            let device = self.agents[waiting.agent].device.clone();
            let answer = self.hub.answer(&device, &waiting.pull);
            if self.is_refused(&waiting, &answer) {
                continue;
            }
            match self.must("answering a pull", answer) {
                Some(PullReply::Page { items, .. }) if items.is_empty() => {
                    if let Some(running) = &mut self.hub.running {
                        running.waiting.push(waiting);
                    }
                }
                Some(reply) => self.answers(&waiting, &reply),
                None => return,
            }
        }
    }

    pub(super) fn waited_long_enough(&mut self, request: u64) {
        self.turn_to_who_keeps(request);
        let Some(running) = &mut self.hub.running else { return };
        let Some(place) = running.waiting.iter().position(|w| w.request == request) else { return };
        let waiting = running.waiting.remove(place);
        let device = self.agents[waiting.agent].device.clone();
        let answer = self.hub.answer(&device, &waiting.pull);
        if self.is_refused(&waiting, &answer) {
            return;
        }
        if let Some(reply) = self.must("answering a pull", answer) {
            self.answers(&waiting, &reply);
        }
    }

    fn answers(&mut self, waiting: &WaitingPull, reply: &PullReply) {
        let frame = encode(reply);
        if let Some(frame) = self.must("writing an answer", frame) {
            self.was_answered(waiting.agent, OK);
            self.replies(waiting.agent, waiting.request, Call::Pull, &frame);
        }
    }

    pub(super) fn at_agent(&mut self, place: usize, request: u64, call: Call, frame: &[u8]) {
        if self.agents[place].line.is_cut {
            return;
        }
        let Some(running) = &mut self.agents[place].running else { return };
        // An answer belongs to its request by its nonce: one to an older request is not heard.
        let asked = match call {
            Call::Push => &mut running.push,
            Call::Pull | Call::Repair | Call::Stand => &mut running.pull,
        };
        if *asked != Some(request) {
            return;
        }
        *asked = None;
        running.failures = 0;
        let hub = self.hub.machine.at(self.now).wall;
        self.agents[place].machine.hears_hub_time(self.now, hub);
        match call {
            Call::Push => self.was_pushed(place, frame),
            Call::Pull => self.was_pulled(place, frame),
            Call::Repair => self.was_mended(place, frame),
            Call::Stand => self.was_told_how_it_stands(place, frame),
        }
    }

    /// Asks the next question of what makes both sides alike, if that is due. Says whether it asked.
    fn mends(&mut self, place: usize) -> bool {
        let now = self.agents[place].machine.at(self.now);
        let Some(running) = &mut self.agents[place].running else { return false };
        if !running.session.recalls_known() {
            return false;
        }
        if running.comparison.is_none() {
            let documents_at = running.session.cursor().positions[Lane::Documents.index()];
            let Some(due) = running.mender.due(documents_at, &now) else { return false };
            let begun = running.mender.begin(due, running.store.look());
            let Some(comparison) = self.must("beginning a comparison", begun) else { return false };
            self.book.note(match due {
                Due::Proof => "proofs shown to the hub",
                Due::Everything { .. } => "comparisons of everything",
                Due::Lacks => "comparisons for what was put aside",
                Due::Check => "checks of likeness",
            });
            let Some(running) = &mut self.agents[place].running else { return false };
            running.comparison = Some((due, comparison));
        }
        let Some(running) = &mut self.agents[place].running else { return false };
        let Some((due, comparison)) = &mut running.comparison else { return false };
        let due = *due;
        let step = comparison.next(running.store.look());
        match self.must("reading what differs", step) {
            None => false,
            Some(Step::Done(head)) => {
                self.is_alike(place, due, head);
                // In life recalls and what is new in documents are pulled beside it. Here nothing is before all that is due is
                // done, which is simpler to play.
                self.mends(place)
            }
            Some(Step::Ask(asked)) => {
                let frame = encode(&asked);
                let Some(frame) = self.must("writing a question", frame) else { return false };
                let request = self.asks(place, Call::Repair, frame, ANSWER_MAX);
                if let Some(running) = &mut self.agents[place].running {
                    running.pull = Some(request);
                }
                true
            }
        }
    }

    fn is_alike(&mut self, place: usize, due: Due, head: u64) {
        let now = self.agents[place].machine.at(self.now);
        let Some(running) = &mut self.agents[place].running else { return };
        running.comparison = None;
        running.mender.done(due, &now);
        if let Due::Everything { .. } = due {
            let mut cursor = running.session.cursor();
            cursor.pass(Lane::Documents, head);
            if self.give(place, vec![Input::Alike { cursor }]).is_some()
                && let Some(running) = &mut self.agents[place].running
            {
                running.session.alike(cursor);
            }
            self.hub_has_given_back(place);
        }
    }

    fn was_mended(&mut self, place: usize, frame: &[u8]) {
        let start = self.agents[place].starts;
        let read = decode::<Repaired>(frame);
        let Some(reply) = self.must("reading an answer about likeness", read) else { return };
        let Some(running) = &mut self.agents[place].running else { return };
        if running.comparison.is_none() {
            return;
        }
        if let Repaired::Given(refused) = &reply
            && !refused.is_empty()
        {
            let why = refused.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>().join("; ");
            self.say(&format!("the hub does not take back: {why}"));
            self.book.note("changes that were not taken back");
        }
        let Some(running) = &mut self.agents[place].running else { return };
        let Some((_, comparison)) = &mut running.comparison else { return };
        let items = comparison.answered(reply);
        let Some(items) = self.must("an answer about likeness", items) else { return };
        let Some(running) = &self.agents[place].running else { return };
        let cursor = running.session.cursor();
        if !items.is_empty() && self.give(place, vec![Input::Feed { items, cursor, more: true }]).is_none() {
            return;
        }
        if self.answered(place).is_some() {
            self.after(1, Event::PullIsDue { agent: place, start });
        }
    }

    fn was_pushed(&mut self, place: usize, frame: &[u8]) {
        let read = decode::<PushReply>(frame);
        let Some(reply) = self.must("reading the answer to a push", read) else { return };
        if self.answered(place).is_none() {
            return;
        }
        let Some(running) = &mut self.agents[place].running else { return };
        // A pull that failed meanwhile made the session forget the push: it is sent again.
        let Ok(through) = running.session.pushed(&reply) else { return self.push_soon(place) };
        let ledger = running.session.cursor().epoch;
        let (rejected, kept_through) = (reply.rejected, reply.kept_through);
        let changes = running.store.look().changes_among(&rejected);
        let Some(changes) = self.must("reading what was refused", changes) else { return };
        if self.give(place, vec![Input::Pushed { ledger, through, rejected, changes, kept_through }]).is_some() {
            self.push_soon(place);
        }
    }

    fn was_pulled(&mut self, place: usize, frame: &[u8]) {
        let start = self.agents[place].starts;
        let read = decode::<PullReply>(frame);
        let Some(reply) = self.must("reading the answer to a pull", read) else { return };
        let Some(running) = &mut self.agents[place].running else { return };
        let before = running.session.cursor();
        let newest = running.store.look().newest_page();
        let pulled = running.session.pulled(reply);
        let Some(pulled) = self.must("the answer to a pull", pulled) else { return };
        let (cursor, more) = match pulled {
            Pulled::Items { mut items, cursor, more } => {
                let lost = |item: &FeedItem| matches!(item.says, Downward::Chunk { .. });
                if self.bug == Bug::CursorPastUncommitted
                    && self.dice.chance(100)
                    && let Some(place) = items.iter().rposition(lost)
                {
                    items.remove(place);
                }
                let Some(newest) = self.must("reading the newest page", newest) else { return };
                let Some(running) = &mut self.agents[place].running else { return };
                running.mender.heard(newest, &items);
                if (!items.is_empty() || cursor != before)
                    && self.give(place, vec![Input::Feed { items, cursor, more }]).is_none()
                {
                    return;
                }
                (cursor, more)
            }
            Pulled::StartAgain(cursor) => {
                if cursor.epoch == before.epoch {
                    self.book.note("devices that began again");
                }
                let Some(running) = &mut self.agents[place].running else { return };
                running.mender.begins_again(cursor.epoch != before.epoch);
                running.comparison = None;
                if self.give(place, vec![Input::StartAgain { cursor }]).is_none() {
                    return;
                }
                (cursor, true)
            }
        };
        if let Some(running) = &mut self.agents[place].running {
            running.session.committed(cursor, more);
        }
        if self.answered(place).is_some() {
            self.after(1, Event::PullIsDue { agent: place, start });
        }
    }

    /// An exchange was answered: the line is up.
    pub(super) fn answered(&mut self, place: usize) -> Option<()> {
        let recalls_known = self.agents[place].running.as_ref()?.session.recalls_known();
        self.give(place, vec![Input::Line(LineInput::Up { recalls_known })]).map(|_| ())
    }

    pub(super) fn gives_up(&mut self, place: usize, request: u64) {
        let start = self.agents[place].starts;
        let Some(running) = &mut self.agents[place].running else { return };
        let was_push = running.push == Some(request);
        if !was_push && running.pull != Some(request) {
            return;
        }
        running.failures += 1;
        let wait = (250i64 << running.failures.min(7)).min(30 * SECOND);
        if was_push {
            running.push = None;
            running.session.push_failed();
            running.push_is_due = true;
        } else {
            running.pull = None;
            running.comparison = None;
            running.session.line_lost();
        }
        self.book.note("requests without an answer");
        let pause = self.dice.between(wait / 2, wait.min(MINUTE));
        if was_push {
            self.after(pause, Event::PushIsDue { agent: place, start });
        } else if self.give(place, vec![Input::Line(LineInput::Lost)]).is_some() {
            self.after(pause, Event::PullIsDue { agent: place, start });
        }
    }
}
