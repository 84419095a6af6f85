//! What the agent writes to standard error: one whole sentence a line, with fields to search by.
//!
//! In: events. Out: lines, as text or as JSON. The same sentence is written a few times a minute at most, and all of them
//! together a few hundred times: what is left out is counted and told, so that a fault which repeats neither fills the
//! disk nor hides another.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    fmt::{self, Write},
    hash::{Hash, Hasher},
    io::IsTerminal,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    info,
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::{Context, Filter, SubscriberExt},
    util::SubscriberInitExt,
};

/// How often the same sentence is written in one span.
const SAME_MAX: u32 = 5;
/// How many lines are written in one span, whatever they say.
const ALL_MAX: u32 = 300;
/// The span, in real time.
const SPAN: Duration = Duration::from_secs(60);
/// Different sentences that are told apart in one span; more count as one.
const KINDS_MAX: usize = 1_000;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Starts writing. Give what comes back to [`Flood::tell_for_ever`].
#[must_use]
pub fn start(format: Format) -> Arc<Flood> {
    let flood = Arc::new(Flood::default());
    let wanted = std::env::var("GATEHOUSE_LOG").ok().and_then(|levels| levels.parse::<Targets>().ok());
    let filter = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines.with_filter(Kept(flood.clone()))).init();
    flood
}

/// Counts lines by what they say.
#[derive(Debug, Default)]
pub struct Flood(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    since: Instant,
    lines: u32,
    said: HashMap<u64, u32>,
    left_out: u64,
    /// The first sentence that was left out.
    such_as: String,
}

impl Default for Counts {
    fn default() -> Self {
        Self { since: Instant::now(), lines: 0, said: HashMap::new(), left_out: 0, such_as: String::new() }
    }
}

impl Flood {
    /// Whether a line that says `sentence`, from the place `place` of the program, is written.
    fn lets_through(&self, place: u64, sentence: &str, now: Instant) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(counts.since) >= SPAN {
            let (left_out, such_as) = (counts.left_out, std::mem::take(&mut counts.such_as));
            *counts = Counts { since: now, left_out, such_as, ..Counts::default() };
        }
        let mut hasher = DefaultHasher::new();
        (place, sentence).hash(&mut hasher);
        let kind = if counts.said.len() < KINDS_MAX { hasher.finish() } else { 0 };
        let said = counts.said.entry(kind).or_default();
        *said += 1;
        let is_repeat = *said > SAME_MAX;
        if is_repeat || counts.lines >= ALL_MAX {
            if counts.left_out == 0 {
                counts.such_as = sentence.chars().take(200).collect();
            }
            counts.left_out += 1;
            return false;
        }
        counts.lines += 1;
        true
    }

    /// What was left out since it was last asked: how many lines, and what the first of them said.
    fn left_out(&self) -> Option<(u64, String)> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = std::mem::take(&mut counts.left_out);
        (left_out > 0).then(|| (left_out, std::mem::take(&mut counts.such_as)))
    }

    /// Tells once a span what was left out.
    pub async fn tell_for_ever(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SPAN).await;
            if let Some((lines, such_as)) = self.left_out() {
                info!(lines, such_as, "left out {lines} log lines that repeat others, such as: {such_as}");
            }
        }
    }
}

/// Lets through what the budget allows.
struct Kept(Arc<Flood>);

impl<S: Subscriber> Filter<S> for Kept {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let place = event.metadata();
        // What tells of the flood is no part of it.
        if place.target() == module_path!() {
            return true;
        }
        let mut sentence = Sentence(String::new());
        event.record(&mut sentence);
        let mut hasher = DefaultHasher::new();
        (place.target(), place.line()).hash(&mut hasher);
        self.0.lets_through(hasher.finish(), &sentence.0, Instant::now())
    }
}

/// The text of an event, without its fields: those may differ each time.
struct Sentence(String);

impl Visit for Sentence {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_sentence_is_written_a_few_times_and_then_counted_until_the_span_is_over() {
        let (flood, start) = (Flood::default(), Instant::now());
        let written = (0..100).filter(|_| flood.lets_through(1, "the broker is away", start)).count();
        assert_eq!(written, SAME_MAX as usize);
        assert!(flood.lets_through(1, "the hub is away", start), "another sentence is not hidden by it");
        assert_eq!(flood.left_out(), Some((95, "the broker is away".to_owned())));
        assert_eq!(flood.left_out(), None, "told once");
        assert!(flood.lets_through(1, "the broker is away", start + SPAN));
    }

    #[test]
    fn however_different_the_sentences_are_their_number_has_a_bound() {
        let (flood, start) = (Flood::default(), Instant::now());
        let written = (0..5_000).filter(|n| flood.lets_through(1, &format!("message {n}"), start)).count();
        assert_eq!(written, ALL_MAX as usize);
        assert_eq!(flood.left_out().map(|(lines, _)| lines), Some(5_000 - u64::from(ALL_MAX)));
    }

    #[test]
    fn what_was_left_out_just_before_a_new_span_is_still_told() {
        let (flood, start) = (Flood::default(), Instant::now());
        for _ in 0..10 {
            flood.lets_through(1, "again", start);
        }
        flood.lets_through(1, "other", start + SPAN);
        assert_eq!(flood.left_out(), Some((5, "again".to_owned())));
    }
}
