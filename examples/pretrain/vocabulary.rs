//! The embedded model's tokenizer: byte-level BPE, trained on the corpus and on the wording of instructions.

use crate::corpus::Corpus;
use fedhds_core::dataset::embedded::EmbeddedTasks;
use fedhds_core::dataset::{PromptTemplate, RenderPrompt as _};
use fedhds_core::model::SpecialTokens;
use fedhds_core::{Error, Result};
use std::path::Path;
use tokenizers::decoders::sequence::Sequence as DecoderSequence;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::utils::Sequence as NormalizerSequence;
use tokenizers::normalizers::{NormalizerWrapper, Prepend};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

/// Padding; its id is 0.
pub const PAD: &str = "<pad>";
/// Begins every sequence; its id is 1.
pub const BOS: &str = "<s>";
/// Ends every text; its id is 2.
pub const EOS: &str = "</s>";
/// Ids of [`PAD`], [`BOS`] and [`EOS`].
pub const IDS: [u32; 3] = [0, 1, 2];

/// Documents of the corpus that the merges are counted on.
const DOCUMENTS: u64 = 30_000;

/// Turns go one after the other, each with its speaker; the assistant's turns end with [`EOS`].
const CHAT_TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}\
{% if message['role'] == 'system' %}{{ message['content'] + '\n\n' }}\
{% elif message['role'] == 'user' %}{{ '### Instruction:\n' + message['content'] + '\n\n### Response:\n' }}\
{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}\
{% endif %}{% endfor %}";

/// Trains a tokenizer of `vocab_size` ids on so many documents and the instructions.
///
/// # Errors
/// [`Error::Stage`] where the trainer fails.
pub fn train(corpus: &Corpus, documents: u64, vocab_size: usize) -> Result<Tokenizer> {
    let failed = |e: tokenizers::Error| Error::stage("tokenizer", e.to_string());
    let mut texts: Vec<String> = (0..documents).map(|number| corpus.document(number).text).collect();
    // Instructions are part of what will be read, so that their words do not fall apart into letters.
    let tasks = EmbeddedTasks { test_tasks: corpus.skills().test_tasks(), ..EmbeddedTasks::default() };
    let (train, test) = tasks.generate()?;
    for record in train.records.iter().chain(&test.records) {
        for template in [PromptTemplate::Alpaca, PromptTemplate::Short] {
            texts.push(template.render(record)?.prompt);
        }
    }
    let mut tokenizer = Tokenizer::new(BPE::default());
    // A word at the beginning of a line is the same token as one behind a space: each fact is learnt once, not twice.
    let line = Replace::new(ReplacePattern::Regex(r"\n(?=\S)".into()), "\n ").map_err(failed)?;
    let start: NormalizerWrapper = Prepend::new(" ".into()).into();
    tokenizer.with_normalizer(Some(NormalizerSequence::new(vec![start, line.into()]))).map_err(failed)?;
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    let line = Replace::new("\n ", "\n").map_err(failed)?;
    tokenizer.with_decoder(Some(DecoderSequence::new(vec![
        ByteLevel::default().into(),
        line.into(),
        Strip::new(' ', 1, 0).into(),
    ])));
    let trainer = BpeTrainer::builder()
        .vocab_size(vocab_size)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens([PAD, BOS, EOS].map(|token| AddedToken::from(token, true)).to_vec())
        .build();
    tokenizer.train(&mut TrainerWrapper::from(trainer), texts.into_iter()).map_err(failed)?;
    let processor = TemplateProcessing::builder()
        .try_single(format!("{BOS} $A").as_str())
        .and_then(|builder| builder.try_pair(format!("{BOS} $A {BOS} $B").as_str()).map(|b| b.clone()))
        .map_err(|e| Error::stage("tokenizer", e))?
        .special_tokens(vec![(BOS, IDS[1])])
        .build()
        .map_err(|e| Error::stage("tokenizer", e.to_string()))?;
    tokenizer.with_post_processor(Some(processor));
    Ok(tokenizer)
}

/// Reads the tokenizer that an earlier start of the same run trained, or trains and writes it.
///
/// # Errors
/// [`Error::Io`] and [`Error::Stage`].
pub fn read_or_train(path: &Path, corpus: &Corpus, vocab_size: usize) -> Result<Tokenizer> {
    let failed = |e: tokenizers::Error| Error::stage("tokenizer", format!("{}: {e}", path.display()));
    if path.exists() {
        return Tokenizer::from_file(path).map_err(failed);
    }
    let tokenizer = train(corpus, DOCUMENTS, vocab_size)?;
    fedhds_core::simulate::atomic_write(path, tokenizer.to_string(true).map_err(failed)?.as_bytes())?;
    Ok(tokenizer)
}

/// The tokenizer as the library knows it, with special tokens and chat template.
///
/// # Errors
/// [`Error::Model`] for a template that does not parse.
pub fn finished(tokenizer: Tokenizer, path: &Path) -> Result<fedhds_core::model::Tokenizer> {
    let special = SpecialTokens {
        bos: Some(BOS.to_owned()),
        eos: vec![EOS.to_owned()],
        pad: Some(PAD.to_owned()),
        ..SpecialTokens::default()
    };
    fedhds_core::model::Tokenizer::new(tokenizer, special, Some(CHAT_TEMPLATE), path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::corpus::Skills;

    #[test]
    fn texts_come_back_and_prompts_are_short() {
        let tokenizer = train(&Corpus::new(Skills::Pretrained, 1), 500, 1024).unwrap();
        assert_eq!(IDS.map(|id| tokenizer.id_to_token(id).unwrap()), [PAD, BOS, EOS]);
        let text = "Name the sound: café, 12 + 7\n\n### Response:\n";
        let encoding = tokenizer.encode(text, true).unwrap();
        assert_eq!(encoding.get_ids()[0], IDS[1]);
        assert_eq!(tokenizer.decode(encoding.get_ids(), true).unwrap(), text);
        let ids = |text: &str| tokenizer.encode(text, false).unwrap().get_ids().to_vec();
        assert_eq!(ids("a\ncat"), [ids("a\n"), ids("cat")].concat());
    }
}
