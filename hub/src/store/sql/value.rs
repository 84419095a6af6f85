//! Values as both engines keep them: nothing, a number, text, bytes.
//!
//! A truth is the number 0 or 1. Each parameter knows its kind even when it is nothing, since PostgreSQL
//! wants to know the type of every parameter before it plans.

use super::Error;

/// What kind of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number, or a truth.
    Integer,
    /// Text.
    Text,
    /// Bytes.
    Blob,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing, where a value of this kind could be.
    Null(Kind),
    /// A whole number, or a truth.
    Integer(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

impl Value {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Null(kind) => *kind,
            Self::Integer(_) => Kind::Integer,
            Self::Text(_) => Kind::Text,
            Self::Blob(_) => Kind::Blob,
        }
    }
}

/// A column's value, where the engine has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueRef<'a> {
    /// Nothing.
    Null,
    /// A whole number, or a truth.
    Integer(i64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

/// What can be a parameter.
pub trait ToValue {
    /// Its kind.
    const KIND: Kind;
    /// Itself.
    fn to_value(&self) -> Value;
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl ToValue for $t {
            const KIND: Kind = Kind::Integer;
            fn to_value(&self) -> Value {
                Value::Integer(i64::from(*self))
            }
        }

        impl FromValue for $t {
            fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
                let n = i64::from_value(value)?;
                Self::try_from(n).map_err(|_| format!("{n} is out of range"))
            }
        }
    )*};
}
integers!(u8, u16, u32, i32);

impl ToValue for i64 {
    const KIND: Kind = Kind::Integer;
    fn to_value(&self) -> Value {
        Value::Integer(*self)
    }
}

impl ToValue for bool {
    const KIND: Kind = Kind::Integer;
    fn to_value(&self) -> Value {
        Value::Integer(i64::from(*self))
    }
}

impl ToValue for str {
    const KIND: Kind = Kind::Text;
    fn to_value(&self) -> Value {
        // PostgreSQL keeps no NUL in a text. What is signed or hashed is JSON, which has none.
        Value::Text(if self.contains('\0') { self.replace('\0', "\u{fffd}") } else { self.to_owned() })
    }
}

impl ToValue for String {
    const KIND: Kind = Kind::Text;
    fn to_value(&self) -> Value {
        self.as_str().to_value()
    }
}

impl ToValue for [u8] {
    const KIND: Kind = Kind::Blob;
    fn to_value(&self) -> Value {
        Value::Blob(self.to_vec())
    }
}

impl ToValue for Vec<u8> {
    const KIND: Kind = Kind::Blob;
    fn to_value(&self) -> Value {
        Value::Blob(self.clone())
    }
}

impl<const N: usize> ToValue for [u8; N] {
    const KIND: Kind = Kind::Blob;
    fn to_value(&self) -> Value {
        Value::Blob(self.to_vec())
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    const KIND: Kind = T::KIND;
    fn to_value(&self) -> Value {
        (**self).to_value()
    }
}

impl<T: ToValue> ToValue for Option<T> {
    const KIND: Kind = T::KIND;
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null(T::KIND), T::to_value)
    }
}

/// What a column can be read as.
pub trait FromValue: Sized {
    /// Reads it.
    /// # Errors
    /// What it is instead.
    fn from_value(value: ValueRef<'_>) -> Result<Self, String>;
}

fn instead<T>(wanted: &str, value: ValueRef<'_>) -> Result<T, String> {
    let is = match value {
        ValueRef::Null => "nothing",
        ValueRef::Integer(_) => "a number",
        ValueRef::Text(_) => "text",
        ValueRef::Blob(_) => "bytes",
    };
    Err(format!("it is {is}, not {wanted}"))
}

impl FromValue for i64 {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Integer(n) => Ok(n),
            other => instead("a number", other),
        }
    }
}

impl FromValue for bool {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        Ok(i64::from_value(value)? != 0)
    }
}

impl FromValue for String {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Text(text) => Ok(text.to_owned()),
            other => instead("text", other),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Blob(bytes) => Ok(bytes.to_vec()),
            other => instead("bytes", other),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Null => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}

/// A column, by name or by place from 0.
pub trait Column {
    /// The column's place among `names`.
    /// # Errors
    /// [`Error::Column`] if there is none.
    fn place<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<usize, Error>;
}

impl Column for &str {
    fn place<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> Result<usize, Error> {
        let none = || Error::Column { column: (*self).to_owned(), why: "there is none".to_owned() };
        names.position(|name| name == *self).ok_or_else(none)
    }
}

impl Column for usize {
    fn place<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<usize, Error> {
        let none = || Error::Column { column: self.to_string(), why: "there is none".to_owned() };
        if *self < names.count() { Ok(*self) } else { Err(none()) }
    }
}

/// The parameters of a statement, `?1` first.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::store::sql::ToValue::to_value(&$value)),*] as &[$crate::store::sql::Value]
    };
}
pub(crate) use params;
