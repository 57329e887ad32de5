//! Chat templates: the Jinja text that turns a conversation into a prompt, as transformers evaluates it.

use crate::error::{Error, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, ErrorKind};
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
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    path: PathBuf,
    source: String,
}

impl ChatTemplate {
    /// Compiles a template; `path` is what errors name.
    ///
    /// # Errors
    /// [`Error::Model`] with the line that does not parse.
    pub fn new(source: &str, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let failed = |e: minijinja::Error| Error::model(&path, NAME, format!("expected a Jinja template: {e}"));
        let mut environment = Environment::new();
        // What transformers sets, and what Python's strings and lists can do.
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failed)?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |message: String| -> std::result::Result<String, minijinja::Error> {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        environment.add_function("strftime_now", |format: String| {
            let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
            strftime(&format, seconds)
        });
        environment.add_template_owned(NAME, without_generation_tags(source)).map_err(failed)?;
        Ok(Self { environment, path, source: source.into() })
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
    /// [`Error::Model`] with what the template raised.
    pub fn render(
        &self,
        messages: &[ChatMessage],
        special: &[(&str, &str)],
        add_generation_prompt: bool,
    ) -> Result<String> {
        let failed = |e: minijinja::Error| Error::model(&self.path, NAME, e.to_string());
        let messages: Vec<Value> = messages
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
        variables.push(("messages".into(), Value::from(messages)));
        variables.push(("add_generation_prompt".into(), Value::from(add_generation_prompt)));
        let context = Value::from_pairs(variables);
        self.environment.get_template(NAME).and_then(|t| t.render(context)).map_err(failed)
    }
}

/// transformers marks the assistant's words with `{% generation %}`, which changes nothing in the text.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(end) = rest[start..].find("%}").map(|i| start + i + 2) else { break };
        let tag = &rest[start..end];
        let inner = tag[2..tag.len() - 2].trim_matches(|c| c == '-' || c == '+');
        let replaced = match inner.trim() {
            "generation" => tag.replacen("generation", "if true", 1),
            "endgeneration" => tag.replacen("endgeneration", "endif", 1),
            _ => tag.to_string(),
        };
        out.push_str(&rest[..start]);
        out.push_str(&replaced);
        rest = &rest[end..];
    }
    out + rest
}

/// The directives of strftime that templates use, for a time in UTC.
fn strftime(format: &str, seconds: u64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    let days = seconds / 86_400;
    // Days to a date in the Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let month_name = MONTHS[(month as usize - 1) % 12];
    let day_name = DAYS[(days % 7) as usize];
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('d') => out.push_str(&format!("{day:02}")),
            Some('m') => out.push_str(&format!("{month:02}")),
            Some('Y') => out.push_str(&year.to_string()),
            Some('y') => out.push_str(&format!("{:02}", year % 100)),
            Some('b') => out.push_str(&month_name[..3]),
            Some('B') => out.push_str(month_name),
            Some('a') => out.push_str(&day_name[..3]),
            Some('A') => out.push_str(day_name),
            Some('H') => out.push_str(&format!("{:02}", seconds / 3_600 % 24)),
            Some('M') => out.push_str(&format!("{:02}", seconds / 60 % 60)),
            Some('S') => out.push_str(&format!("{:02}", seconds % 60)),
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

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

    #[test]
    fn dates_are_right() {
        assert_eq!(strftime("%d %b %Y, %A %H:%M:%S %%", 0), "01 Jan 1970, Thursday 00:00:00 %");
        assert_eq!(strftime("%Y-%m-%d %a", 1_709_164_800), "2024-02-29 Thu");
    }
}
