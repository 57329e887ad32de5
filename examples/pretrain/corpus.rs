//! The pretraining corpus: the skills and facts of the embedded tasks as plain text, by seed.
//!
//! The same [`Skill`]s as the instruction tasks, in other clothes: statements, questions and answers, dialogues, lists,
//! notes. No document has the form of an instruction prompt, and no wording is one of the tasks' (a test compares them):
//! what is asked is known to the model before it is tuned, how instructions ask for it is not.

use fedhds_core::dataset::embedded::TestTasks;
use fedhds_core::dataset::embedded::lexicon::{Lexicon, capitalised, with_article};
use fedhds_core::dataset::embedded::skills::Skill;
use fedhds_core::dataset::embedded::tasks::fill;
use fedhds_core::types::{Rng, Seed};
use rand::RngExt as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use std::collections::BTreeMap;
use std::ops::Range;

/// Stand around an answer while a document is put together.
const OPEN: char = '\u{2}';
const CLOSE: char = '\u{3}';

/// A document: its text, and where answers stand in it (in bytes), which is what there is to learn; names, words to sort
/// and numbers to add are drawn at random and cannot be foreseen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The text.
    pub text: String,
    /// The answers.
    pub answers: Vec<Range<usize>>,
}

impl Document {
    fn new(marked: &str) -> Self {
        let (mut text, mut answers, mut start) = (String::with_capacity(marked.len()), Vec::new(), 0);
        for c in marked.chars() {
            match c {
                OPEN => start = text.len(),
                CLOSE => answers.push(start..text.len()),
                c => text.push(c),
            }
        }
        Self { text, answers }
    }
}

fn mark(answer: &str) -> String {
    format!("{OPEN}{answer}{CLOSE}")
}

/// [`fill`] with the answer marked.
fn worded_as(wording: &str, x: &str, y: &str) -> String {
    let wording = wording.replace("{ay}", &mark(&with_article(y))).replace("{y}", &mark(y));
    fill(&wording, x, y)
}

/// How one skill is worded.
#[derive(Debug, Clone, Default)]
pub struct Wording {
    /// Statements, with `{x}` and `{y}`.
    pub statements: Vec<String>,
    /// Questions, with `{x}`.
    pub questions: Vec<String>,
    /// What a list of such pairs is called.
    pub headings: Vec<String>,
}

/// Which skills a corpus holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Skills {
    /// Those of the model that lies in the repository: what the train tasks and the test tasks of the development ask for.
    #[default]
    Pretrained,
    /// What the confirmation tasks ask for as well.
    All,
}

impl Skills {
    fn listed(self) -> &'static [Skill] {
        match self {
            Self::Pretrained => Skill::PRETRAINED,
            Self::All => Skill::ALL,
        }
    }

    /// The test tasks that ask for them.
    pub fn test_tasks(self) -> TestTasks {
        match self {
            Self::Pretrained => TestTasks::Development,
            Self::All => TestTasks::All,
        }
    }

    fn wordings(self) -> &'static [&'static str] {
        const FILES: [&str; 2] = [include_str!("wording.txt"), include_str!("wording_confirmation.txt")];
        if self == Self::All { &FILES } else { &FILES[..1] }
    }
}

/// Draws documents.
#[derive(Debug, Clone)]
pub struct Corpus {
    seed: Seed,
    skills: Skills,
    wordings: BTreeMap<Skill, Wording>,
}

impl Corpus {
    /// The corpus of these skills and a seed.
    pub fn new(skills: Skills, seed: u64) -> Self {
        let mut wordings: BTreeMap<Skill, Wording> = BTreeMap::new();
        let mut current = None;
        for line in skills.wordings().iter().flat_map(|file| file.lines()).map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                current = Skill::named(name);
            } else if let Some((kind, text)) = line.split_once(": ")
                && let Some(skill) = current
            {
                let wording = wordings.entry(skill).or_default();
                match kind {
                    "s" => wording.statements.push(text.to_owned()),
                    "q" => wording.questions.push(text.to_owned()),
                    "h" => wording.headings.push(text.to_owned()),
                    _ => {}
                }
            }
        }
        Self { seed: Seed(seed), skills, wordings }
    }

    /// Document `number`; the same for the same seed, whatever was drawn before.
    pub fn document(&self, number: u64) -> Document {
        let mut rng = self.seed.derive("document", number).rng();
        let rng = &mut rng;
        let marked = match rng.random_range(0..20) {
            0..3 => self.statements(rng),
            3..5 => self.mixed_questions(rng),
            5..8 => self.list(rng),
            8..15 => self.sheet(rng),
            15 => self.dialogue(rng),
            16 => self.quiz(rng),
            17 => self.notes(rng),
            _ => self.single(rng),
        };
        Document::new(&marked)
    }

    /// Which skills it holds.
    pub fn skills(&self) -> Skills {
        self.skills
    }

    fn skill(&self, rng: &mut Rng) -> (Skill, Wording) {
        let skill = self.skills.listed().choose(rng).copied().unwrap_or(Skill::Opposite);
        (skill, self.wordings.get(&skill).cloned().unwrap_or_default())
    }

    fn pair(skill: Skill, rng: &mut Rng) -> (String, String) {
        let item = skill.draw(rng);
        (item.input.clone(), item.response().to_owned())
    }

    fn worded(&self, rng: &mut Rng) -> String {
        let (skill, wording) = self.skill(rng);
        let (x, y) = Self::pair(skill, rng);
        worded_as(one(&wording.statements, rng), &x, &y)
    }

    /// Statements on any skills, or several on one.
    fn statements(&self, rng: &mut Rng) -> String {
        let count = rng.random_range(2..6);
        if rng.random_range(0..2) == 0 {
            return (0..count).map(|_| self.worded(rng)).collect::<Vec<_>>().join(" ");
        }
        let (skill, wording) = self.skill(rng);
        let lines = (0..count).map(|_| {
            let (x, y) = Self::pair(skill, rng);
            worded_as(one(&wording.statements, rng), &x, &y)
        });
        lines.collect::<Vec<_>>().join(if count % 2 == 0 { " " } else { "\n" })
    }

    /// One question with its answer, or a few on different skills.
    fn mixed_questions(&self, rng: &mut Rng) -> String {
        let (ask, answer) = one_pair(&[("Q:", "A:"), ("Question:", "Answer:"), ("", ""), ("Asked:", "Said:")], rng);
        let count = rng.random_range(1..5);
        let lines = (0..count).map(|_| {
            let (skill, wording) = self.skill(rng);
            let (x, y) = Self::pair(skill, rng);
            let question = worded_as(one(&wording.questions, rng), &x, &y);
            format!("{ask} {question}\n{answer} {}", mark(&y)).trim_start().replace("\n ", "\n")
        });
        lines.collect::<Vec<_>>().join("\n\n")
    }

    /// A heading and pairs under it.
    fn list(&self, rng: &mut Rng) -> String {
        let (skill, wording) = self.skill(rng);
        let heading = one(&wording.headings, rng);
        let between = *[": ", " -> ", " | ", " = ", "; "].choose(rng).unwrap_or(&": ");
        let count = rng.random_range(2..7);
        let mut text = match rng.random_range(0..4) {
            0 => format!("{}:", capitalised(heading)),
            1 => format!("List of {heading}"),
            2 => format!("# {}", capitalised(heading)),
            _ => format!("Topic: {heading}."),
        };
        for _ in 0..count {
            let (x, y) = Self::pair(skill, rng);
            text.push_str(&format!("\n{x}{between}{}", mark(&y)));
        }
        text
    }

    /// What is wanted, what it is about, what came out, each in its section: a form to fill in.
    fn sheet(&self, rng: &mut Rng) -> String {
        let (skill, wording) = self.skill(rng);
        let [what, given, result] = *[
            ["Wanted", "Given", "Found"],
            ["Topic", "Entry", "Value"],
            ["Aim", "Case", "Result"],
            ["Heading", "Item", "Note"],
            ["Subject", "Text", "Reply"],
            ["Exercise", "Line", "Solution"],
            ["### Subject", "### Text", "### Reply"],
            ["## Exercise", "## Line", "## Solution"],
        ]
        .choose(rng)
        .unwrap_or(&["Wanted", "Given", "Found"]);
        let break_ = *[" ", "\n"].choose(rng).unwrap_or(&" ");
        let gap = *["\n", "\n\n"].choose(rng).unwrap_or(&"\n");
        let (x, y) = Self::pair(skill, rng);
        if rng.random_range(0..3) == 0 {
            let question = worded_as(one(&wording.questions, rng), &x, &y);
            return format!("{what}:{break_}{question}{gap}{result}:{break_}{}", mark(&y));
        }
        let heading = one(&wording.headings, rng);
        let heading = match rng.random_range(0..4) {
            0 => capitalised(heading),
            1 => format!("Here we note {heading}."),
            2 => format!("This is about {heading}."),
            _ => format!("{}.", capitalised(heading)),
        };
        format!("{what}:{break_}{heading}{gap}{given}:{break_}{x}{gap}{result}:{break_}{}", mark(&y))
    }

    /// Two people talk.
    fn dialogue(&self, rng: &mut Rng) -> String {
        let lexicon = Lexicon::shipped();
        let (a, b) = (one(lexicon.list("girls"), rng), one(lexicon.list("boys"), rng));
        let lines = (0..rng.random_range(1..4)).map(|_| {
            let (skill, wording) = self.skill(rng);
            let (x, y) = Self::pair(skill, rng);
            let question = worded_as(one(&wording.questions, rng), &x, &y);
            let reply = match rng.random_range(0..4) {
                0 => worded_as(one(&wording.statements, rng), &x, &y),
                1 => format!("{}.", mark(&capitalised(&y))),
                2 => format!("I think it is {}.", mark(&y)),
                _ => mark(&y),
            };
            format!("{a}: {question}\n{b}: {reply}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Questions of one skill, each with its answer on the same line.
    fn quiz(&self, rng: &mut Rng) -> String {
        let (skill, wording) = self.skill(rng);
        let question = one(&wording.questions, rng);
        let lines = (0..rng.random_range(2..6)).map(|_| {
            let (x, y) = Self::pair(skill, rng);
            format!("{} {}", worded_as(question, &x, &y), mark(&y))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Plain sentences about words, lists and texts, so that the words of instructions are no strangers.
    fn notes(&self, rng: &mut Rng) -> String {
        let notes: Vec<&str> = include_str!("notes.txt").lines().filter(|line| !line.is_empty()).collect();
        let mut text: Vec<String> = (0..rng.random_range(2..5)).map(|_| one(&notes, rng).to_owned()).collect();
        text.push(self.worded(rng));
        text.shuffle(rng);
        text.join(" ")
    }

    /// One statement, question or heading with its pair.
    fn single(&self, rng: &mut Rng) -> String {
        let (skill, wording) = self.skill(rng);
        let (x, y) = Self::pair(skill, rng);
        match rng.random_range(0..3) {
            0 => worded_as(one(&wording.statements, rng), &x, &y),
            1 => format!("{}\n{}", worded_as(one(&wording.questions, rng), &x, &y), mark(&y)),
            _ => format!("{}: {x}\n{}", capitalised(one(&wording.headings, rng)), mark(&y)),
        }
    }
}

fn one<'a, T: AsRef<str>>(texts: &'a [T], rng: &mut Rng) -> &'a str {
    texts.choose(rng).map_or("", AsRef::as_ref)
}

fn one_pair<'a>(pairs: &[(&'a str, &'a str)], rng: &mut Rng) -> (&'a str, &'a str) {
    pairs.choose(rng).copied().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use fedhds_core::dataset::embedded::tasks;
    use std::collections::BTreeSet;

    #[test]
    fn every_skill_is_worded() {
        for skills in [Skills::Pretrained, Skills::All] {
            let corpus = Corpus::new(skills, 1);
            assert_eq!(corpus.wordings.keys().collect::<Vec<_>>(), skills.listed().iter().collect::<Vec<_>>());
            for (skill, wording) in &corpus.wordings {
                assert!(wording.statements.len() >= 2, "{skill:?}");
                assert!(!wording.questions.is_empty() && !wording.headings.is_empty(), "{skill:?}");
            }
        }
        let wide: BTreeSet<_> = Skills::All.listed().iter().collect();
        assert!(tasks::all().iter().all(|task| wide.contains(&task.skill)), "a task that no corpus knows");
    }

    #[test]
    fn no_wording_is_an_instruction() {
        let normal = |text: &str| text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), " ").trim().to_owned();
        let instructions: BTreeSet<String> =
            tasks::all().iter().flat_map(|task| &task.instructions).map(|text| normal(text)).collect();
        let corpus = Corpus::new(Skills::All, 1);
        for wording in corpus.wordings.values() {
            for text in wording.statements.iter().chain(&wording.questions).chain(&wording.headings) {
                assert!(!instructions.contains(&normal(text)), "{text}");
            }
        }
        for number in 0..3000 {
            let text = corpus.document(number).text;
            assert!(!text.contains("### Instruction") && !text.contains("### Response"), "{text}");
            for task in tasks::all() {
                for instruction in task.instructions.iter().filter(|i| !i.contains('{')) {
                    assert!(!text.contains(instruction.as_str()), "{instruction}: {text}");
                }
            }
        }
    }

    #[test]
    fn a_document_depends_on_seed_and_number_only() {
        let corpus = Corpus::new(Skills::Pretrained, 1);
        let _ = corpus.document(3);
        assert_eq!(corpus.document(5), Corpus::new(Skills::Pretrained, 1).document(5));
        assert_ne!(corpus.document(5), Corpus::new(Skills::Pretrained, 2).document(5));
        assert!((0..2000).all(|number| !corpus.document(number).text.contains(['{', '}', OPEN, CLOSE])));
    }

    /// What the model that lies in the repository was pretrained on: skills and tasks that are new since change nothing of it.
    #[test]
    fn the_corpus_is_that_of_the_shipped_model() {
        let corpus = Corpus::new(Skills::Pretrained, 1);
        let documents = (0..2000).map(|number| corpus.document(number));
        let all = documents.fold(Seed(0), |all, document| all.derive(&document.text, document.answers.len() as u64));
        assert_eq!(all, Seed(13_184_220_626_089_447_384));
    }

    #[test]
    fn answers_are_marked() {
        let document = Document::new("Q: 1 + 1\nA: \u{2}2\u{3} and \u{2}b c\u{3}.");
        assert_eq!(document.text, "Q: 1 + 1\nA: 2 and b c.");
        assert_eq!(document.answers.iter().map(|a| &document.text[a.clone()]).collect::<Vec<_>>(), ["2", "b c"]);
        let corpus = Corpus::new(Skills::Pretrained, 1);
        assert!((0..500).all(|number| !corpus.document(number).answers.is_empty()));
    }
}
