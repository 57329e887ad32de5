//! Settings as a tree: what JSON, TOML and tables that were built in memory have in common.

use super::fault::{Met, Step};
use crate::sorting;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use std::vec::IntoIter;
use toml::de::{DeTable, DeValue};

/// A value of any kind. A table keeps the order in which it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Table(Vec<(String, Value)>),
}

impl Value {
    /// What a message calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// The value of a key; none where there is no such key, or this is no table.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Table(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Leaves out every key and every item that is null.
    pub fn without_nulls(self) -> Self {
        let kept = |value: &Value| *value != Value::Null;
        match self {
            Value::List(items) => Value::List(items.into_iter().filter(kept).map(Value::without_nulls).collect()),
            Value::Table(entries) => {
                let entries = entries.into_iter().filter(|(_, value)| kept(value));
                Value::Table(entries.map(|(key, value)| (key, value.without_nulls())).collect())
            }
            other => other,
        }
    }

    /// Every step that leads on from here.
    pub(super) fn steps(&self) -> Vec<Step> {
        match self {
            Value::List(items) => (0..items.len()).map(Step::Index).collect(),
            Value::Table(entries) => entries.iter().map(|(key, _)| Step::Key(key.clone())).collect(),
            _ => Vec::new(),
        }
    }

    /// The value that the steps lead to.
    pub(super) fn at(&mut self, path: &[Step]) -> Option<&mut Value> {
        path.iter().try_fold(self, |value, step| match (value, step) {
            (Value::List(items), Step::Index(i)) => items.get_mut(*i),
            (Value::Table(entries), Step::Key(key)) => entries.iter_mut().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        })
    }

    /// Takes out what one step leads to.
    pub(super) fn remove(&mut self, step: &Step) {
        match (self, step) {
            (Value::List(items), Step::Index(i)) if *i < items.len() => {
                items.remove(*i);
            }
            (Value::Table(entries), Step::Key(key)) => entries.retain(|(k, _)| k != key),
            _ => {}
        }
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Value::Null => Unexpected::Unit,
            Value::Bool(b) => Unexpected::Bool(*b),
            Value::Integer(i) => i64::try_from(*i).map_or(Unexpected::Other("a larger number"), Unexpected::Signed),
            Value::Float(f) => Unexpected::Float(*f),
            Value::Text(text) => Unexpected::Str(text),
            Value::List(_) => Unexpected::Seq,
            Value::Table(_) => Unexpected::Map,
        }
    }
}

/// A TOML document, its keys in the order of the text.
impl From<&DeTable<'_>> for Value {
    fn from(table: &DeTable<'_>) -> Self {
        let mut entries: Vec<_> = table.iter().collect();
        sorting::sort_by_key(&mut entries, |(key, _)| key.span().start);
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let key: &std::borrow::Cow<'_, str> = key.get_ref();
            (key.to_string(), value.get_ref().into())
        };
        Value::Table(entries.into_iter().map(entry).collect())
    }
}

impl From<&DeValue<'_>> for Value {
    fn from(value: &DeValue<'_>) -> Self {
        // A number that is too large for its type is a number all the same.
        let float = |digits: &str| Value::Float(digits.parse().unwrap_or(f64::INFINITY));
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(digits) => {
                let parsed = i128::from_str_radix(digits.as_str(), digits.radix());
                parsed.map_or_else(|_| float(digits.as_str()), Value::Integer)
            }
            DeValue::Float(digits) => float(digits.as_str()),
            DeValue::Boolean(b) => Value::Bool(*b),
            DeValue::Datetime(time) => Value::Text(time.to_string()),
            DeValue::Array(items) => Value::List(items.iter().map(|item| item.get_ref().into()).collect()),
            DeValue::Table(table) => table.into(),
        }
    }
}

impl From<toml::Value> for Value {
    fn from(value: toml::Value) -> Self {
        match value {
            toml::Value::String(text) => Value::Text(text),
            toml::Value::Integer(i) => Value::Integer(i.into()),
            toml::Value::Float(f) => Value::Float(f),
            toml::Value::Boolean(b) => Value::Bool(b),
            toml::Value::Datetime(time) => Value::Text(time.to_string()),
            toml::Value::Array(items) => Value::List(items.into_iter().map(Value::from).collect()),
            toml::Value::Table(table) => Value::Table(table.into_iter().map(|(k, v)| (k, v.into())).collect()),
        }
    }
}

/// Any self-describing format. A key that comes twice in a table is an error.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        Value::deserialize(inner)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut table: Vec<(String, Value)> = Vec::new();
        while let Some((key, value)) = entries.next_entry::<String, Value>()? {
            if table.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format!("expected each key once, got `{key}` twice")));
            }
            table.push((key, value));
        }
        Ok(Value::Table(table))
    }
}

impl Value {
    /// One value for a visitor that takes no lists and no tables: without them its code stays small.
    fn scalar<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Met> {
        match self {
            Value::Bool(b) => visitor.visit_bool(b),
            Value::Integer(i) => match (u64::try_from(i), i64::try_from(i)) {
                (Ok(i), _) => visitor.visit_u64(i),
                (_, Ok(i)) => visitor.visit_i64(i),
                _ => Err(Met::invalid_value(Unexpected::Other(&format!("`{i}`")), &visitor)),
            },
            Value::Float(f) => visitor.visit_f64(f),
            Value::Text(text) => visitor.visit_string(text),
            other => Err(Met::invalid_type(other.unexpected(), &visitor)),
        }
    }
}

macro_rules! scalars {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Met> {
            self.scalar(visitor)
        })*
    };
}

/// A list on its way into a type.
struct Items {
    items: IntoIter<Value>,
    taken: usize,
}

impl<'de> de::SeqAccess<'de> for Items {
    type Error = Met;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Met> {
        let Some(item) = self.items.next() else { return Ok(None) };
        self.taken += 1;
        seed.deserialize(item).map(Some).map_err(|met| met.under(Step::Index(self.taken - 1)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// A table on its way into a type.
struct Entries {
    entries: IntoIter<(String, Value)>,
    /// The key that was read last, and its value until that is read.
    key: String,
    value: Option<Value>,
    taken: usize,
}

impl Entries {
    fn new(entries: Vec<(String, Value)>) -> Self {
        Self { entries: entries.into_iter(), key: String::new(), value: None, taken: 0 }
    }
}

impl<'de> de::MapAccess<'de> for Entries {
    type Error = Met;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Met> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        (self.key, self.value) = (key, Some(value));
        self.taken += 1;
        seed.deserialize(self.key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Met> {
        let value = self.value.take().unwrap_or(Value::Null);
        seed.deserialize(value).map_err(|met| met.under(Step::Key(std::mem::take(&mut self.key))))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// An error where a type took fewer than there are.
fn none_left(what: &str, taken: usize, left: usize) -> Result<(), Met> {
    match left {
        0 => Ok(()),
        _ => Err(Met::custom(format!("expected {taken} {what}, got {}", taken + left))),
    }
}

impl<'de> Deserializer<'de> for Value {
    type Error = Met;

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Met> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Table(_) => self.deserialize_map(visitor),
            scalar => scalar.scalar(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Met> {
        match self {
            Value::List(items) => {
                let mut items = Items { items: items.into_iter(), taken: 0 };
                let read = visitor.visit_seq(&mut items)?;
                none_left("items", items.taken, items.items.len())?;
                Ok(read)
            }
            other => Err(Met::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Met> {
        match self {
            Value::Table(entries) => {
                let mut entries = Entries::new(entries);
                let read = visitor.visit_map(&mut entries)?;
                none_left("keys", entries.taken, entries.entries.len())?;
                Ok(read)
            }
            other => Err(Met::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Met> {
        match self {
            Value::Null => visitor.visit_none(),
            other => visitor.visit_some(other),
        }
    }

    /// A table alone: serde would take a list for the fields in their order, and an empty one for the defaults.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Met> {
        self.deserialize_map(visitor)
    }

    /// A name, or a table of one name and its value.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Met> {
        match self {
            Value::Text(name) => {
                let read: Result<V::Value, Met> = visitor.visit_enum(name.as_str().into_deserializer());
                // A name that is known, of something that takes a value.
                read.map_err(|met| if met.is_unknown_name() { met } else { met.under(Step::Key(name)) })
            }
            Value::Table(entries) if entries.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(&mut Entries::new(entries)))
            }
            Value::Table(entries) => {
                let keys: Vec<String> = entries.iter().map(|(key, _)| format!("`{key}`")).collect();
                let got = if keys.is_empty() { "an empty table".into() } else { keys.join(", ") };
                Err(Met::custom(format!("expected a name, or a table of one name and its value, got {got}")))
            }
            other => Err(Met::invalid_type(other.unexpected(), &"a name, or a table of one name and its value")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Met> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! { bytes byte_buf unit unit_struct tuple tuple_struct ignored_any }
}

impl IntoDeserializer<'_, Met> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
