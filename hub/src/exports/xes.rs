//! XES (IEEE 1849): one log, one trace for each object of one type, its events by time.
//!
//! XES has traces, not objects, so the events of one document are gathered before they are written; documents come one
//! after another, and no more than one is held.

use std::io::Write;

use super::{ExportError, LogEvent, LogObject, Sink, rfc3339};

/// Writes to `W` the traces of objects of one type, such as `Case`.
pub struct Xes<W: Write> {
    out: W,
    /// The begin of the names of the objects that are traces, such as `case:`.
    word: &'static str,
    started: bool,
    trace: Option<(String, Vec<LogEvent>)>,
}

impl<W: Write> Xes<W> {
    /// Nothing is written yet. `word` is `case` or `dispatch`.
    pub fn new(out: W, word: &'static str) -> Self {
        Self { out, word, started: false, trace: None }
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn begin(&mut self) -> Result<(), ExportError> {
        if !self.started {
            self.started = true;
            self.out.write_all(HEAD.as_bytes())?;
        }
        Ok(())
    }

    fn end_trace(&mut self) -> Result<(), ExportError> {
        let Some((name, mut events)) = self.trace.take() else { return Ok(()) };
        self.begin()?;
        events.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        writeln!(self.out, "<trace><string key=\"concept:name\" value=\"{}\"/>", escaped(&name))?;
        for event in events {
            let resource = event.attributes.iter().find(|(name, _)| *name == "by").map_or("", |(_, by)| by.as_str());
            writeln!(
                self.out,
                "<event><string key=\"concept:name\" value=\"{}\"/><date key=\"time:timestamp\" value=\"{}\"/>\
                 <string key=\"lifecycle:transition\" value=\"complete\"/><string key=\"org:resource\" value=\"{}\"/></event>",
                escaped(&event.kind),
                rfc3339(event.at),
                escaped(resource),
            )?;
        }
        Ok(self.out.write_all(b"</trace>\n")?)
    }
}

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <log xes.version=\"1849-2016\" xes.features=\"\" xmlns=\"http://www.xes-standard.org/\">\n\
    <extension name=\"Concept\" prefix=\"concept\" uri=\"http://www.xes-standard.org/concept.xesext\"/>\n\
    <extension name=\"Time\" prefix=\"time\" uri=\"http://www.xes-standard.org/time.xesext\"/>\n\
    <extension name=\"Lifecycle\" prefix=\"lifecycle\" uri=\"http://www.xes-standard.org/lifecycle.xesext\"/>\n\
    <extension name=\"Organizational\" prefix=\"org\" uri=\"http://www.xes-standard.org/org.xesext\"/>\n";

/// Text in an attribute of XML; what XML cannot hold at all is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

impl<W: Write> Sink for Xes<W> {
    fn object(&mut self, _: &LogObject) -> Result<(), ExportError> {
        Ok(())
    }

    fn event(&mut self, event: &LogEvent) -> Result<(), ExportError> {
        let Some((name, _)) = event.objects.iter().find(|(_, part)| *part == self.word) else { return Ok(()) };
        // A decision names its dispatch too, long after that was written; its release stands there already.
        if !event.id.starts_with(name.as_str()) {
            return Ok(());
        }
        if self.trace.as_ref().is_some_and(|(open, _)| open != name) {
            self.end_trace()?;
        }
        self.trace.get_or_insert_with(|| (name.clone(), Vec::new())).1.push(event.clone());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        self.end_trace()?;
        self.begin()?;
        self.out.write_all(b"</log>\n")?;
        Ok(self.out.flush()?)
    }
}
