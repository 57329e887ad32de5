//! `junk`: records get a response that answers nothing.

use super::{Flaw, JunkKind, Truth, slots};
use crate::dataset::{ClientData, Dataset};
use crate::types::{Record, Rng, Seed};
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use serde::{Deserialize, Serialize};

/// Which kinds of junk there are. The two sets share no kind and no sentence, so that what is developed on one is confirmed on
/// the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JunkGenerators {
    /// [`JunkKind::Boilerplate`], [`JunkKind::FirstThird`], [`JunkKind::WordSalad`].
    #[default]
    Development,
    /// [`JunkKind::PageText`], [`JunkKind::LastHalf`], [`JunkKind::Scrambled`], [`JunkKind::Echo`].
    Confirmation,
}

const BOILERPLATE: [&str; 8] = [
    "Thank you for your question. I hope that this helps.",
    "There are many things to consider here, and it depends on the situation.",
    "As stated before, this is an important topic that deserves attention.",
    "I am happy to help. Please let me know if there is anything else.",
    "This is a good question, and there are several ways to look at it.",
    "In conclusion, everyone should decide for themselves.",
    "Here is the answer that was asked for.",
    "Further information will be provided at a later time.",
];
const PAGE_TEXT: [&str; 8] = [
    "Click here to read more. All rights reserved.",
    "Home | About | Contact | Terms of use",
    "This page uses cookies. Accept all to continue.",
    "Error 404: the document was moved or deleted.",
    "Subscribe to our newsletter and save ten percent.",
    "Posted by admin on Monday, 0 comments.",
    "Loading, please enable scripts in your browser.",
    "Sign in to view this content.",
];

impl JunkGenerators {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The kinds of this set, each as likely as another.
    pub fn kinds(self) -> &'static [JunkKind] {
        match self {
            Self::Development => &[JunkKind::Boilerplate, JunkKind::FirstThird, JunkKind::WordSalad],
            Self::Confirmation => &[JunkKind::PageText, JunkKind::LastHalf, JunkKind::Scrambled, JunkKind::Echo],
        }
    }

    /// The kind that can be made of anything.
    fn last_resort(self) -> JunkKind {
        match self {
            Self::Development => JunkKind::Boilerplate,
            Self::Confirmation => JunkKind::PageText,
        }
    }
}

/// `share` of the client's records get one response of a random kind, never blank and never one of their own.
pub(super) fn apply(
    share: f64,
    generators: JunkGenerators,
    client: &mut ClientData,
    pool: &Dataset,
    truth: &mut Truth,
    flaws: Seed,
    seed: Seed,
) {
    let order = slots::without_flaw(client, truth, flaws);
    // Words are drawn from the records before any is junk.
    let before = client.records.clone();
    for slot in order.into_iter().rev().take(slots::count(share, before.len())) {
        let Some(record) = before.get(slot) else { continue };
        let mut rng = seed.derive("slot", slot as u64).rng();
        let source = if before.len() > 1 { &before } else { &pool.records };
        let (kind, text) = draw(record, generators, source, &mut rng);
        if let Some(record) = client.records.get_mut(slot) {
            record.responses = vec![text];
            truth.mark(&record.id, Flaw::Junk(kind));
        }
    }
}

fn draw(record: &Record, generators: JunkGenerators, source: &[Record], rng: &mut Rng) -> (JunkKind, String) {
    let usable = |text: &String| {
        let text = text.trim().to_lowercase();
        !text.is_empty() && record.responses.iter().all(|own| own.trim().to_lowercase() != text)
    };
    let last = generators.last_resort();
    let kind = generators.kinds().choose(rng).copied().unwrap_or(last);
    if let Some(text) = kind.make(record, source, rng).filter(usable) {
        return (kind, text);
    }
    let mut sentences: Vec<&str> = last.sentences().to_vec();
    sentences.shuffle(rng);
    let text = sentences.iter().map(|text| (*text).to_owned()).find(usable);
    // A record that has every sentence among its responses gets all of them as one.
    (last, text.unwrap_or_else(|| sentences.join(" ")))
}

impl JunkKind {
    fn sentences(self) -> &'static [&'static str] {
        if self == JunkKind::PageText { &PAGE_TEXT } else { &BOILERPLATE }
    }

    fn make(self, record: &Record, source: &[Record], rng: &mut Rng) -> Option<String> {
        let own = record.response();
        let words: Vec<&str> = own.split_whitespace().collect();
        let characters: Vec<char> = own.trim().chars().collect();
        // One word alone might be right by chance.
        let count = words.len().clamp(3, 60);
        match self {
            JunkKind::Boilerplate | JunkKind::PageText => self.sentences().choose(rng).map(|text| (*text).to_owned()),
            JunkKind::FirstThird => match words.len() / 3 {
                0 => Some(characters.iter().take((characters.len() / 3).max(1)).collect()),
                third => Some(words.iter().take(third).copied().collect::<Vec<_>>().join(" ")),
            },
            JunkKind::LastHalf => match words.len() / 2 {
                0 => Some(characters.iter().skip(characters.len().div_ceil(2)).collect()),
                half => Some(words.iter().skip(words.len() - half).copied().collect::<Vec<_>>().join(" ")),
            },
            JunkKind::Scrambled => Some(scramble(&characters, rng)),
            JunkKind::WordSalad => {
                let others: Vec<&Record> = source.iter().filter(|other| other.id != record.id).collect();
                let words = (0..count).filter_map(|_| word(others.choose(rng)?, rng));
                Some(words.collect::<Vec<_>>().join(" "))
            }
            JunkKind::Echo => {
                let words: Vec<&str> =
                    record.instruction.split_whitespace().chain(record.input.split_whitespace()).collect();
                let echo = (0..count).filter_map(|_| words.choose(rng).copied());
                Some(echo.collect::<Vec<_>>().join(" "))
            }
        }
    }
}

/// A random word of a record's texts.
fn word<'a>(record: &'a Record, rng: &mut Rng) -> Option<&'a str> {
    let texts = [record.instruction.as_str(), record.input.as_str(), record.response()];
    texts.into_iter().flat_map(str::split_whitespace).collect::<Vec<_>>().choose(rng).copied()
}

/// The characters in another order, blanks where they were; the same text where there is no other order.
fn scramble(characters: &[char], rng: &mut Rng) -> String {
    let mut letters: Vec<char> = characters.iter().copied().filter(|c| !c.is_whitespace()).collect();
    letters.shuffle(rng);
    let place = |letters: &[char]| -> String {
        let mut letters = letters.iter();
        characters.iter().filter_map(|c| if c.is_whitespace() { Some(*c) } else { letters.next().copied() }).collect()
    };
    let own: String = characters.iter().collect();
    let text = place(&letters);
    if text.to_lowercase() != own.to_lowercase() {
        return text;
    }
    // The draw happened upon the text itself: turned once it is another, unless its characters are all alike.
    let turn = 1.min(letters.len());
    letters.rotate_left(turn);
    place(&letters)
}
