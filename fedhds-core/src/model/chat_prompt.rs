//! A tokenizer's own chat template as the prompt of records.

use super::chat_template::ChatMessage;
use super::tokenizer::Tokenizer;
use crate::dataset::{Prompt, RenderPrompt, Rendered};
use crate::error::Result;
use crate::types::Record;
use std::sync::Arc;

/// The user says instruction and input, a blank line between them; the response is the assistant's turn.
#[derive(Debug, Clone)]
pub struct ChatPrompt {
    tokenizer: Arc<Tokenizer>,
}

impl ChatPrompt {
    /// The chat template of this tokenizer.
    ///
    /// # Errors
    /// [`crate::Error::Model`] when it has none, or its template cannot be rendered.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Result<Self> {
        let prompt = Self { tokenizer };
        prompt.render(&Record::default())?;
        Ok(prompt)
    }
}

impl RenderPrompt for ChatPrompt {
    fn render(&self, record: &Record) -> Result<Rendered> {
        let content = if record.input.trim().is_empty() {
            record.instruction.clone()
        } else {
            format!("{}\n\n{}", record.instruction, record.input)
        };
        let prompt = self.tokenizer.apply_chat_template(&[ChatMessage::new("user", content)], true)?;
        Ok(Rendered { prompt, response: record.response().into() })
    }
}

/// What renders the prompts that a configuration asks for, with this tokenizer.
///
/// # Errors
/// [`crate::Error::Config`] for a template with an unknown field; [`crate::Error::Model`] where the chat template is asked for
/// and the tokenizer has none.
pub fn prompt_renderer(prompt: &Prompt, tokenizer: &Arc<Tokenizer>) -> Result<Arc<dyn RenderPrompt>> {
    Ok(match prompt {
        Prompt::Template(template) => {
            template.check()?;
            Arc::new(template.clone())
        }
        Prompt::Chat => Arc::new(ChatPrompt::new(tokenizer.clone())?),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::tokenizer::{SpecialTokens, tests::words};

    fn tokenizer(template: Option<&str>) -> Arc<Tokenizer> {
        let inner = tokenizers::Tokenizer::from_bytes(words().to_string()).unwrap();
        Arc::new(Tokenizer::new(inner, SpecialTokens::default(), template, "x").unwrap())
    }

    #[test]
    fn the_chat_template_frames_the_record() {
        let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}";
        let record = |input: &str| Record {
            instruction: "Add.".into(),
            input: input.into(),
            responses: vec!["3".into()],
            ..Record::default()
        };
        let prompt = prompt_renderer(&Prompt::Chat, &tokenizer(Some(template))).unwrap();
        let rendered = prompt.render(&record("1 + 2")).unwrap();
        assert_eq!((rendered.prompt.as_str(), rendered.response.as_str()), ("<user>Add.\n\n1 + 2>", "3"));
        assert_eq!(prompt.render(&record(" ")).unwrap().prompt, "<user>Add.>");
    }

    #[test]
    fn a_missing_chat_template_is_an_error_at_once() {
        assert!(prompt_renderer(&Prompt::Chat, &tokenizer(None)).is_err());
        assert!(prompt_renderer(&Prompt::default(), &tokenizer(None)).is_ok());
    }
}
