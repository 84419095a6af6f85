//! The protobuf form of a Sparkplug B payload, as far as it is read: time, sequence, and metrics of plain values.
//!
//! In: bytes of anybody. Out: a [`Payload`], or what is wrong. Fields that are not known are passed over, as protobuf
//! wants it. Written by hand: four field forms and two messages are less than a code generator.

use serde_json::Value;

/// A Sparkplug payload.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Payload {
    /// Milliseconds since 1970.
    pub timestamp: Option<u64>,
    /// 0 to 255.
    pub seq: Option<u64>,
    /// In the order sent.
    pub metrics: Vec<Metric>,
}

/// One metric. In data messages the name may be left out; the alias stands for it then.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: Option<String>,
    /// A number that stands for the name from the birth on.
    pub alias: Option<u64>,
    /// Milliseconds since 1970.
    pub timestamp: Option<u64>,
    /// How whole numbers are to be read; births always say it.
    pub datatype: Option<u32>,
    /// Whether it says that there is no value.
    pub is_null: bool,
    /// What was sent.
    raw: Option<Raw>,
}

#[derive(Debug, Clone, PartialEq)]
enum Raw {
    Int(u32),
    Long(u64),
    Number(f64),
    Bool(bool),
    Text(String),
    /// Bytes, data sets and templates.
    Composite,
}

impl Metric {
    /// Its value, its whole numbers read as `datatype`; `None` without one that fits into JSON.
    #[must_use]
    pub fn value(&self, datatype: Option<u32>) -> Option<Value> {
        if self.is_null {
            return None;
        }
        Some(match self.raw.as_ref()? {
            // 1 to 4 are the signed ones, sent as two's complement.
            Raw::Int(n) => match (datatype, n.to_le_bytes()) {
                (Some(1), [a, ..]) => Value::from(i8::from_le_bytes([a])),
                (Some(2), [a, b, ..]) => Value::from(i16::from_le_bytes([a, b])),
                (Some(3), bytes) => Value::from(i32::from_le_bytes(bytes)),
                _ => Value::from(*n),
            },
            Raw::Long(n) if datatype == Some(4) => Value::from(i64::from_le_bytes(n.to_le_bytes())),
            Raw::Long(n) => Value::from(*n),
            Raw::Number(number) => Value::from(serde_json::Number::from_f64(*number)?),
            Raw::Bool(yes) => Value::Bool(*yes),
            Raw::Text(text) => Value::String(text.clone()),
            Raw::Composite => return None,
        })
    }
}

/// One field of a protobuf message.
enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// Takes fields off the front of `bytes`.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.bytes.split_first().ok_or("it ends inside a number")?;
            self.bytes = rest;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err("a number is longer than 64 bits");
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is longer than 64 bits")
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], &'static str> {
        let length = usize::try_from(length).map_err(|_| "a field is longer than the message")?;
        let (field, rest) = self.bytes.split_at_checked(length).ok_or("a field is longer than the message")?;
        self.bytes = rest;
        Ok(field)
    }

    /// The next field with its number; `None` at the end.
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, &'static str> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let short = |_| "it ends inside a number";
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(self.take(8)?.try_into().map_err(short)?),
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(self.take(4)?.try_into().map_err(short)?),
            _ => return Err("a field has a form that protobuf gave up"),
        };
        Ok(Some((key >> 3, field)))
    }
}

/// Reads a payload.
/// # Errors
/// What is wrong with the bytes.
pub fn read(bytes: &[u8]) -> Result<Payload, &'static str> {
    let mut payload = Payload::default();
    let mut fields = Fields { bytes };
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Varint(timestamp)) => payload.timestamp = Some(timestamp),
            (2, Field::Bytes(metric)) => payload.metrics.push(read_metric(metric)?),
            (3, Field::Varint(seq)) => payload.seq = Some(seq),
            _ => {}
        }
    }
    Ok(payload)
}

fn read_metric(bytes: &[u8]) -> Result<Metric, &'static str> {
    let mut metric = Metric::default();
    let mut fields = Fields { bytes };
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Bytes(name)) => metric.name = Some(text(name)?).filter(|name| !name.is_empty()),
            (2, Field::Varint(alias)) => metric.alias = Some(alias),
            (3, Field::Varint(timestamp)) => metric.timestamp = Some(timestamp),
            (4, Field::Varint(datatype)) => metric.datatype = u32::try_from(datatype).ok(),
            (7, Field::Varint(is_null)) => metric.is_null = is_null != 0,
            // A negative one is sent with more bits than it has.
            (10, Field::Varint(n)) => {
                metric.raw = Some(Raw::Int(u32::try_from(n & u64::from(u32::MAX)).unwrap_or_default()));
            }
            (11, Field::Varint(n)) => metric.raw = Some(Raw::Long(n)),
            (12, Field::Fixed32(bytes)) => metric.raw = Some(Raw::Number(as_written(f32::from_le_bytes(bytes)))),
            (13, Field::Fixed64(bytes)) => metric.raw = Some(Raw::Number(f64::from_le_bytes(bytes))),
            (14, Field::Varint(yes)) => metric.raw = Some(Raw::Bool(yes != 0)),
            (15, Field::Bytes(value)) => metric.raw = Some(Raw::Text(text(value)?)),
            (16..=19, Field::Bytes(_)) => metric.raw = Some(Raw::Composite),
            _ => {}
        }
    }
    Ok(metric)
}

fn text(bytes: &[u8]) -> Result<String, &'static str> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| "a text is not UTF-8")
}

/// -18.4 as a probe meant it, not the -18.399999618530273 that its 32 bits come to.
fn as_written(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}
