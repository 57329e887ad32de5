//! Which field of an object holds what, and the record that an object makes.

use super::objects::Object;
use super::source::Place;
use super::values::{self, BlankResponse, Ids};
use crate::error::Result;
use crate::types::Record;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Which field of a file's objects (or column of its table) holds what; none means the format's own name.
/// Names joined with dots reach into nested objects: `meta.topic`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fields {
    /// What is asked; must be there and not blank. Own name `instruction`.
    pub instruction: Option<String>,
    /// What it is asked about; missing or null in a record means empty. Own name `input`; Dolly `context`.
    pub input: Option<String>,
    /// The response, a text or a list of texts; must be there. Own name `response`; Alpaca `output`.
    pub response: Option<String>,
    /// The record's id. Own name none: ids are the file's name and the line (or the number in a list or table).
    pub id: Option<String>,
    /// The category, a text or number. Own name none: it is the file's name; Dolly `category`.
    pub category: Option<String>,
    /// The family, a text or number. Own name none: it is the category.
    pub family: Option<String>,
}

/// Every role that a field can have.
pub(super) const ROLES: &[&str] = &["instruction", "input", "response", "id", "category", "family"];

/// What fields are called in the wild, the likelier name first.
const KNOWN: [(&str, &[&str]); 4] = [
    ("instruction", &["instruction", "prompt", "question", "query", "inputs"]),
    ("input", &["input", "context"]),
    ("response", &["response", "output", "completion", "answer", "targets", "target"]),
    ("category", &["category"]),
];

impl Fields {
    /// The roles that are named, with their names.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let names = [&self.instruction, &self.input, &self.response, &self.id, &self.category, &self.family];
        ROLES.iter().copied().zip(names).filter_map(|(role, name)| Some((role, name.as_deref()?)))
    }

    /// These names, and `own` for roles without one.
    pub(super) fn or(&self, own: &Fields) -> Fields {
        let pick = |name: &Option<String>, own: &Option<String>| name.as_ref().or(own.as_ref()).cloned();
        Fields {
            instruction: pick(&self.instruction, &own.instruction),
            input: pick(&self.input, &own.input),
            response: pick(&self.response, &own.response),
            id: pick(&self.id, &own.id),
            category: pick(&self.category, &own.category),
            family: pick(&self.family, &own.family),
        }
    }

    /// The names of plain JSON lines.
    pub(super) fn plain() -> Fields {
        let name = |name: &str| Some(name.to_string());
        Fields {
            instruction: name("instruction"),
            input: name("input"),
            response: name("response"),
            ..Fields::default()
        }
    }

    /// These names, and for other roles the usual name that `first` has.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) with the fields that there are where none looks like an instruction or a response.
    pub(super) fn guess(&self, first: &Map<String, Value>, place: Place<'_>) -> Result<Fields> {
        let usual = |role: &str| {
            let names = KNOWN.iter().find(|(known, _)| *known == role).map_or(&[][..], |(_, names)| names);
            names.iter().find(|name| first.contains_key(**name)).map(ToString::to_string)
        };
        let guessed = Fields {
            instruction: usual("instruction"),
            input: usual("input"),
            response: usual("response"),
            category: usual("category"),
            ..Fields::default()
        };
        let fields = self.or(&guessed);
        for (name, what) in [(&fields.instruction, "an instruction"), (&fields.response, "a response")] {
            if name.is_none() {
                let has = first.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                let has = if has.is_empty() { "none" } else { &has };
                let role = what.rsplit(' ').next().unwrap_or_default();
                let message = format!("no field looks like {what} (fields: {has}): name the field of the {role}");
                return Err(place.error("", message));
            }
        }
        Ok(fields)
    }

    /// Whether the fields that `first` has are the same under both names.
    pub(super) fn agree(&self, other: &Fields, first: &Map<String, Value>) -> bool {
        let there = |fields: &Fields| -> Vec<(&'static str, String)> {
            let named = fields.named().filter(|(_, name)| values::find(first, name).is_some());
            named.map(|(role, name)| (role, name.to_string())).collect()
        };
        there(self) == there(other)
    }
}

/// Makes records of a file's objects, all under the same names.
pub(super) struct Maker<'a> {
    fields: Fields,
    blank: BlankResponse,
    /// The file's name, which stands for what the objects do not say.
    stem: &'a str,
    ids: Ids,
}

impl<'a> Maker<'a> {
    /// `fields` names at least the instruction and the response.
    pub fn new(fields: Fields, blank: BlankResponse, stem: &'a str) -> Self {
        Self { fields, blank, stem, ids: Ids::default() }
    }

    /// The record of an object; none where its response is blank and such records are left out.
    pub fn record(&mut self, object: &Object<'_>) -> Result<Option<Record>> {
        let (map, place) = (&object.map, object.place());
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        let instruction = values::filled(map, &name(&self.fields.instruction), place)?.to_string();
        let input = match &self.fields.input {
            Some(field) => values::optional(map, field, place)?.to_string(),
            None => String::new(),
        };
        let responses = values::responses(map, &name(&self.fields.response), place, self.blank)?;
        if responses.is_empty() {
            return Ok(None);
        }
        self.finish(object, instruction, input, responses).map(Some)
    }

    /// The record of an object whose texts were found.
    pub fn finish(
        &mut self,
        object: &Object<'_>,
        instruction: String,
        input: String,
        responses: Vec<String>,
    ) -> Result<Record> {
        let label = |field: &Option<String>, otherwise: String| match field {
            Some(field) => values::label(&object.map, field, object.place()),
            None => Ok(otherwise),
        };
        let id = label(&self.fields.id, format!("{}-{}", self.stem, object.at.number()))?;
        let category = label(&self.fields.category, self.stem.to_string())?;
        let family = label(&self.fields.family, category.clone())?;
        let record = Record { id, instruction, input, responses, category, family };
        self.ids.take(&record, self.fields.id.as_deref().unwrap_or_default(), object.place())?;
        Ok(record)
    }
}
