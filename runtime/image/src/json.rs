//! JSON read strictly: a key twice is a mistake, so is one that nobody knows, and every mistake says where it is.
//!
//! For documents that decide about trust. Two readers of one document must not understand it differently.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// A JSON value without duplicate keys at any depth.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number that is a whole one, of 64 bits.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// `"…"`
    Text(String),
    /// `[…]`
    List(Vec<Json>),
    /// `{…}`
    Object(BTreeMap<String, Json>),
}

/// A value and the place where it stands, for messages.
#[derive(Debug, Clone)]
pub(crate) struct At {
    place: String,
    value: Json,
}

/// An object whose keys are taken one by one; what is left at the end is unknown.
#[derive(Debug)]
pub(crate) struct Fields {
    place: String,
    left: BTreeMap<String, Json>,
}

impl At {
    /// Parses a document.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        Ok(Self { place: String::new(), value })
    }

    /// A message about this place.
    pub(crate) fn bad(&self, reason: impl fmt::Display) -> String {
        bad(&self.place, reason)
    }

    /// Whether it is `null`.
    pub(crate) fn is_null(&self) -> bool {
        self.value == Json::Null
    }

    /// As an object whose keys are known.
    pub(crate) fn object(self) -> Result<Fields, String> {
        match self.value {
            Json::Object(left) => Ok(Fields { place: self.place, left }),
            _ => Err(bad(&self.place, "an object {…} is expected")),
        }
    }

    /// As an object whose keys are the user's.
    pub(crate) fn entries(self) -> Result<Vec<(String, At)>, String> {
        let Fields { place, left } = self.object()?;
        let at = |(key, value): (String, Json)| (key.clone(), Self { place: below(&place, &key), value });
        Ok(left.into_iter().map(at).collect())
    }

    /// As a list.
    pub(crate) fn list(self) -> Result<Vec<At>, String> {
        let Json::List(items) = self.value else { return Err(self.bad("a list […] is expected")) };
        let at = |(number, value)| Self { place: format!("{}[{number}]", self.place), value };
        Ok(items.into_iter().enumerate().map(at).collect())
    }

    /// As text.
    pub(crate) fn text(self) -> Result<String, String> {
        match self.value {
            Json::Text(text) => Ok(text),
            _ => Err(bad(&self.place, "a string is expected")),
        }
    }

    /// As text that is not empty.
    pub(crate) fn filled(self) -> Result<String, String> {
        let empty = self.bad("it is empty");
        let text = self.text()?;
        if text.is_empty() { Err(empty) } else { Ok(text) }
    }

    /// As a whole number.
    pub(crate) fn integer(self) -> Result<i64, String> {
        match self.value {
            Json::Integer(number) => Ok(number),
            // Written with a fraction of zero, as some encoders do; exact below 2^53.
            #[expect(clippy::cast_possible_truncation, reason = "whole, and checked to be in range")]
            Json::Number(number) if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 => {
                Ok(number as i64)
            }
            _ => Err(bad(&self.place, "a whole number is expected")),
        }
    }
}

impl Fields {
    /// Takes a key that may be there.
    pub(crate) fn take(&mut self, key: &str) -> Option<At> {
        self.left.remove(key).map(|value| At { place: below(&self.place, key), value })
    }

    /// Takes a key that must be there.
    pub(crate) fn need(&mut self, key: &str) -> Result<At, String> {
        self.take(key).ok_or_else(|| self.bad(format_args!("\"{key}\" is missing")))
    }

    /// Nothing else may be there.
    pub(crate) fn end(self) -> Result<(), String> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(key) => Err(bad(&self.place, format_args!("\"{}\" is not known", shown(key)))),
        }
    }

    /// A message about this object.
    pub(crate) fn bad(&self, reason: impl fmt::Display) -> String {
        bad(&self.place, reason)
    }
}

fn below(place: &str, key: &str) -> String {
    let simple = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match (place, simple) {
        ("", true) => key.to_owned(),
        (_, true) => format!("{place}.{key}"),
        _ => format!("{place}[\"{}\"]", shown(key)),
    }
}

fn bad(place: &str, reason: impl fmt::Display) -> String {
    if place.is_empty() { reason.to_string() } else { format!("{place}: {reason}") }
}

/// Text of a document, cut and without control characters.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "such a number is none that anybody asks for")]
    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Number(value as f64), Json::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry::<String, Json>()? {
            if object.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format_args!("\"{}\" stands there twice", shown(&key))));
            }
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_twice_or_data_after_the_end_is_a_mistake() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":[{"c":1,"c":2}]}}"#,
            "{} {}",
            "{",
            "",
            "{\"a\":\"\u{1}\"}",
            "\u{feff}{}",
        ] {
            assert!(At::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(At::parse(b"{\"a\":\"\xff\"}").is_err());
        let deep = "[".repeat(100_000);
        assert!(At::parse(deep.as_bytes()).is_err(), "the depth is not bounded");
    }

    #[test]
    fn mistakes_say_where_they_are() {
        let mut fields = At::parse(br#"{"a":{"q.io/x":[1,{"b":true}]},"c":1.5}"#).unwrap().object().unwrap();
        let (key, list) = fields.need("a").unwrap().entries().unwrap().remove(0);
        assert_eq!(key, "q.io/x");
        let item = list.list().unwrap().remove(1);
        assert_eq!(item.bad("x"), "a[\"q.io/x\"][1]: x");
        assert_eq!(item.object().unwrap().end().unwrap_err(), "a[\"q.io/x\"][1]: \"b\" is not known");
        assert_eq!(fields.take("c").unwrap().integer().unwrap_err(), "c: a whole number is expected");
        assert_eq!(fields.need("d").unwrap_err(), "\"d\" is missing");
        assert_eq!(At::parse(b"3.0").unwrap().integer().unwrap(), 3);
        assert!(At::parse(b"18446744073709551615").unwrap().integer().is_err());
    }
}
