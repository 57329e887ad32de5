//! Prompt templates: a record becomes the text that the model reads and the text that it should answer.
//!
//! A template is plain string formatting. The tokenizer's own chat template needs the tokenizer and is rendered by the
//! `model` module, through the same trait [`RenderPrompt`]; `model::RecordTokenizer` turns the text into tokens.

use crate::error::{Error, Result};
use crate::types::Record;
use serde::{Deserialize, Serialize};

/// A record as text, before tokenisation: the model reads `prompt` and should continue with `response`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// What the model reads; ends where the response begins.
    pub prompt: String,
    /// The first reference response, as it is; `model::RecordTokenizer` adds the end of sequence.
    pub response: String,
}

/// Turns records into text.
pub trait RenderPrompt: Send + Sync {
    /// Prompt and response of one record.
    ///
    /// # Errors
    /// Where the template cannot be rendered; [`Error::Config`] for an unknown field of a custom template.
    fn render(&self, record: &Record) -> Result<Rendered>;
}

/// A prompt template by name. In a configuration: `prompt = "alpaca"`, or a table `[prompt.custom]`.
///
/// Where a record's input is empty or blank, the form without input is used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptTemplate {
    /// Stanford Alpaca's two templates, letter for letter; what the paper uses.
    #[default]
    Alpaca,
    /// Alpaca's headings without the sentence before them: about 25 tokens shorter.
    #[serde(alias = "ni")]
    Short,
    /// Instruction, input and response on lines of their own, without headings.
    Raw,
    /// One's own texts.
    Custom(CustomPrompt),
}

/// Texts with named fields: `{instruction}`, `{input}`, `{category}`, `{family}`; `{{` and `}}` are braces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomPrompt {
    /// The prompt of a record that has an input.
    pub with_input: String,
    /// The prompt of a record without; left out, `with_input` serves, its `{input}` replaced by nothing.
    #[serde(default)]
    pub without_input: Option<String>,
}

/// What a configuration can ask for: a template of this module, or the tokenizer's chat template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Names", into = "Names")]
pub enum Prompt {
    /// A template of this module.
    Template(PromptTemplate),
    /// The chat template that came with the tokenizer; the `model` module renders it.
    Chat,
}

impl Default for Prompt {
    fn default() -> Self {
        Prompt::Template(PromptTemplate::default())
    }
}

/// The names of a configuration, flat, so that an unknown one is answered with the whole list.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Names {
    Alpaca,
    #[serde(alias = "ni")]
    Short,
    Raw,
    Chat,
    Custom(CustomPrompt),
}

impl From<Names> for Prompt {
    fn from(name: Names) -> Self {
        match name {
            Names::Alpaca => Prompt::Template(PromptTemplate::Alpaca),
            Names::Short => Prompt::Template(PromptTemplate::Short),
            Names::Raw => Prompt::Template(PromptTemplate::Raw),
            Names::Custom(custom) => Prompt::Template(PromptTemplate::Custom(custom)),
            Names::Chat => Prompt::Chat,
        }
    }
}

impl From<Prompt> for Names {
    fn from(prompt: Prompt) -> Self {
        match prompt {
            Prompt::Template(PromptTemplate::Alpaca) => Names::Alpaca,
            Prompt::Template(PromptTemplate::Short) => Names::Short,
            Prompt::Template(PromptTemplate::Raw) => Names::Raw,
            Prompt::Template(PromptTemplate::Custom(custom)) => Names::Custom(custom),
            Prompt::Chat => Names::Chat,
        }
    }
}

// The texts are Stanford Alpaca's `train.py`: nothing stands between "Response:" and the response.
const ALPACA_INPUT: &str = "Below is an instruction that describes a task, paired with an input that provides further \
    context. Write a response that appropriately completes the request.\n\n\
    ### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:";
const ALPACA: &str = "Below is an instruction that describes a task. Write a response that appropriately completes the \
    request.\n\n### Instruction:\n{instruction}\n\n### Response:";
const SHORT_INPUT: &str = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n";
const SHORT: &str = "### Instruction:\n{instruction}\n\n### Response:\n";
const RAW_INPUT: &str = "{instruction}\n{input}\n";
const RAW: &str = "{instruction}\n";

impl PromptTemplate {
    /// Checks a custom template's fields before any work.
    ///
    /// # Errors
    /// [`Error::Config`] that names the field that is unknown, or the brace that is left open.
    pub fn check(&self) -> Result<()> {
        let record = Record::default();
        if let PromptTemplate::Custom(custom) = self {
            for text in std::iter::once(&custom.with_input).chain(&custom.without_input) {
                fill(text, &record)?;
            }
        }
        Ok(())
    }
}

impl RenderPrompt for PromptTemplate {
    fn render(&self, record: &Record) -> Result<Rendered> {
        let (with, without) = match self {
            PromptTemplate::Alpaca => (ALPACA_INPUT, ALPACA),
            PromptTemplate::Short => (SHORT_INPUT, SHORT),
            PromptTemplate::Raw => (RAW_INPUT, RAW),
            PromptTemplate::Custom(custom) => {
                let with = custom.with_input.as_str();
                (with, custom.without_input.as_deref().unwrap_or(with))
            }
        };
        let template = if record.input.trim().is_empty() { without } else { with };
        Ok(Rendered { prompt: fill(template, record)?, response: record.response().into() })
    }
}

/// Puts the record's fields in; what a field holds is never read as a template itself.
fn fill(template: &str, record: &Record) -> Result<String> {
    let mut out = String::with_capacity(template.len() + record.instruction.len() + record.input.len());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        if let Some(tail) = tail.strip_prefix("{{") {
            out.push('{');
            rest = tail;
        } else if let Some(tail) = tail.strip_prefix("}}") {
            out.push('}');
            rest = tail;
        } else if let Some((name, tail)) = tail.strip_prefix('{').and_then(|tail| tail.split_once('}')) {
            out.push_str(match name {
                "instruction" => &record.instruction,
                "input" => &record.input,
                "category" => &record.category,
                "family" => &record.family,
                other => {
                    let message =
                        format!("expected {{instruction}}, {{input}}, {{category}} or {{family}}, got {{{other}}}");
                    return Err(Error::config("prompt", message));
                }
            });
            rest = tail;
        } else {
            return Err(Error::config(
                "prompt",
                format!("expected {{name}}, {{{{ or }}}}, got a single brace: `{tail}`"),
            ));
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn record(input: &str) -> Record {
        Record {
            id: "1".into(),
            instruction: "Add {the} numbers.".into(),
            input: input.into(),
            responses: vec!["3".into(), "three".into()],
            category: "sums".into(),
            family: "maths".into(),
        }
    }

    #[test]
    fn alpaca_is_letter_for_letter() {
        let with = PromptTemplate::Alpaca.render(&record("1 2")).unwrap();
        assert_eq!(
            with.prompt,
            "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd {the} numbers.\n\n### Input:\n1 2\n\n### Response:"
        );
        assert_eq!(with.response, "3");
        let without = PromptTemplate::Alpaca.render(&record(" ")).unwrap();
        assert_eq!(
            without.prompt,
            "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd {the} numbers.\n\n### Response:"
        );
    }

    #[test]
    fn the_short_forms() {
        assert_eq!(
            PromptTemplate::Short.render(&record("1 2")).unwrap().prompt,
            "### Instruction:\nAdd {the} numbers.\n\n### Input:\n1 2\n\n### Response:\n"
        );
        assert_eq!(PromptTemplate::Raw.render(&record("")).unwrap().prompt, "Add {the} numbers.\n");
        assert_eq!(PromptTemplate::Raw.render(&record("x")).unwrap().prompt, "Add {the} numbers.\nx\n");
    }

    #[test]
    fn custom_fields_and_braces() {
        let custom = |with: &str, without: Option<&str>| {
            PromptTemplate::Custom(CustomPrompt { with_input: with.into(), without_input: without.map(Into::into) })
        };
        let template = custom("{{{family}/{category}}} Q: {instruction} {input}\nA:", Some("Q: {instruction}"));
        assert_eq!(template.render(&record("1")).unwrap().prompt, "{maths/sums} Q: Add {the} numbers. 1\nA:");
        assert_eq!(template.render(&record("")).unwrap().prompt, "Q: Add {the} numbers.");
        assert_eq!(custom("[{input}]", None).render(&record("")).unwrap().prompt, "[]");
        for bad in ["{question}", "{", "a } b", "{instruction"] {
            assert!(custom("", Some(bad)).check().is_err(), "{bad}");
            assert!(custom(bad, None).render(&record("x")).is_err(), "{bad}");
        }
        let error = custom("{question}", None).check().unwrap_err().to_string();
        assert!(error.contains("got {question}"), "{error}");
    }

    #[test]
    fn configurations_name_them() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Config {
            prompt: Prompt,
        }
        let read = |text: &str| toml::from_str::<Config>(text).map(|c| c.prompt);
        assert_eq!(read("prompt = 'chat'").unwrap(), Prompt::Chat);
        assert_eq!(read("prompt = 'ni'").unwrap(), Prompt::Template(PromptTemplate::Short));
        let custom = read("[prompt.custom]\nwith_input = '{input}'").unwrap();
        assert!(matches!(custom, Prompt::Template(PromptTemplate::Custom(_))));
        let text = toml::to_string(&Config { prompt: custom.clone() }).unwrap();
        assert_eq!(read(&text).unwrap(), custom);
        let error = read("prompt = 'alpacca'").unwrap_err().to_string();
        assert!(error.contains("alpaca") && error.contains("chat"), "{error}");
        assert!(read("[prompt.custom]\nwith_inputs = ''").is_err());
    }
}
