//! Chat templates: the Jinja text that turns a conversation into a prompt, as transformers evaluates it.

use super::jinja::Program;
use crate::error::{Error, Result};
use minijinja::value::Value;
use std::path::{Path, PathBuf};

const NAME: &str = "chat_template";

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`, or what else the template knows.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl ChatMessage {
    /// A turn.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// A compiled chat template.
///
/// It sees what transformers shows it: `messages`, `add_generation_prompt`, the special tokens, `tools` and `documents` (none),
/// `raise_exception`, `tojson` as Python writes it, mappings in the order in which they are written, and `strftime_now`. The last gives always
/// 26 July 2024, since features must not hang on the clock.
///
/// A template is a program from a file. It may have 128 KiB, and 2,000 tokens in a tag; a conversation may have 4 MiB. What it may do
/// is bounded by steps: 100,000, and 1,000 for each message and one for each 4 bytes of the conversation beside; 64 bytes that it makes are a step.
/// A value with all that it holds may have 16 MiB and nest 100 deep. A chain of comparisons (`a < b < c`) is not supported.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    program: Program,
    path: PathBuf,
    source: String,
}

impl ChatTemplate {
    /// Compiles a template; `path` is what errors name.
    ///
    /// # Errors
    /// [`Error::Model`] with the line that does not parse, or the bound that is met.
    pub fn new(source: &str, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let program = Program::new(without_generation_tags(source))
            .map_err(|e| Error::model(&path, NAME, format!("expected a Jinja template: {e}")))?;
        Ok(Self { program, path, source: source.into() })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The conversation as text, with the beginning of the answer when `add_generation_prompt`.
    ///
    /// `special` are the special tokens by the names that templates use, such as `bos_token`.
    ///
    /// # Errors
    /// [`Error::Model`] with what the template raised, or the bound that it met.
    pub fn render(
        &self,
        messages: &[ChatMessage],
        special: &[(&str, &str)],
        add_generation_prompt: bool,
    ) -> Result<String> {
        let bytes = messages.iter().map(|m| m.role.len() + m.content.len()).sum();
        let turns: Vec<Value> = messages
            .iter()
            .map(|m| {
                Value::from_pairs([
                    ("role", Value::from(m.role.as_str())),
                    ("content", Value::from(m.content.as_str())),
                ])
            })
            .collect();
        let mut variables: Vec<(String, Value)> =
            special.iter().map(|(name, token)| ((*name).to_string(), Value::from(*token))).collect();
        variables.push(("messages".into(), Value::from(turns)));
        // transformers passes both also where there are none: they are defined.
        variables.push(("tools".into(), Value::from(())));
        variables.push(("documents".into(), Value::from(())));
        variables.push(("add_generation_prompt".into(), Value::from(add_generation_prompt)));
        self.program.render(variables, messages.len(), bytes).map_err(|e| Error::model(&self.path, NAME, e))
    }
}

/// transformers marks the assistant's words with `{% generation %}`, which changes nothing in the text. What is set within stays
/// within, as there.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(end) = rest[start..].find("%}").map(|i| start + i + 2) else { break };
        let tag = &rest[start..end];
        let inner = tag.get(2..tag.len() - 2).unwrap_or_default().trim_matches(|c| c == '-' || c == '+');
        let replaced = match inner.trim() {
            "generation" => tag.replacen("generation", "with", 1),
            "endgeneration" => tag.replacen("endgeneration", "endwith", 1),
            _ => tag.to_string(),
        };
        out.push_str(&rest[..start]);
        out.push_str(&replaced);
        rest = &rest[end..];
    }
    out + rest
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const CHATML: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    #[test]
    fn chatml_reads_as_transformers_renders_it() {
        let template = ChatTemplate::new(CHATML, "x").unwrap();
        let text = template.render(&[ChatMessage::new("user", "Hi")], &[], true).unwrap();
        assert_eq!(
            text,
            "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn python_methods_exceptions_and_generation_tags_work() {
        let source = "{%- for m in messages -%}\n{%- if m.role == 'tool' -%}{{ raise_exception('no tools') }}{%- endif -%}\n{% generation %}{{ bos_token + m.content.strip() }}{% endgeneration %}\n{%- endfor -%}";
        let template = ChatTemplate::new(source, "folder").unwrap();
        let special = [("bos_token", "<s>")];
        assert_eq!(template.render(&[ChatMessage::new("user", " a ")], &special, false).unwrap(), "<s>a");
        let error = template.render(&[ChatMessage::new("tool", "")], &special, false).unwrap_err().to_string();
        assert!(error.contains("no tools") && error.contains("folder"), "{error}");
        assert!(ChatTemplate::new("{% for %}", "x").is_err());
    }

    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        messages: Vec<BTreeMap<String, String>>,
        add_generation_prompt: bool,
        text: Option<String>,
    }

    #[derive(serde::Deserialize)]
    struct Cases {
        special: BTreeMap<String, String>,
        templates: BTreeMap<String, String>,
        cases: Vec<Case>,
    }

    #[test]
    fn templates_read_as_in_transformers() {
        let told: Cases = serde_json::from_str(include_str!("../../../tests/fixtures/chat/cases.json")).unwrap();
        let special: Vec<(&str, &str)> =
            told.special.iter().map(|(name, token)| (name.as_str(), token.as_str())).collect();
        assert!(told.cases.len() > 100);
        let mut wrong = Vec::new();
        for case in &told.cases {
            let template = ChatTemplate::new(&told.templates[&case.name], "x").unwrap();
            let messages: Vec<_> = case.messages.iter().map(|m| ChatMessage::new(&m["role"], &m["content"])).collect();
            let got = template.render(&messages, &special, case.add_generation_prompt);
            if got.as_ref().ok() != case.text.as_ref() {
                wrong.push(format!("{}: expected {:?}, got {got:?}", case.name, case.text));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_clock_has_no_say() {
        let template = ChatTemplate::new("{{ strftime_now('%Y-%m-%d %H:%M') }}", "x").unwrap();
        assert_eq!(template.render(&[], &[], false).unwrap(), "2024-07-26 00:00");
    }

    #[test]
    fn odd_tags_are_no_panic() {
        for source in ["{%}", "{%%}", "{%-%}", "{%é%}", "{% generation", "{%-generation-%}x{%-endgeneration-%}"] {
            let _ = ChatTemplate::new(source, "x");
        }
    }
}
