//! The skills: what is asked about, and the right answer, without any wording.
//!
//! A task of [`super::tasks`] words one skill as instructions; the pretraining corpus words the same skills as plain text.

use super::lexicon::{Lexicon, with_article};
use super::stories;
use crate::types::Rng;
use rand::RngExt as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};

/// One question and its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What is asked about: a word, a list, a sentence, a short text.
    pub input: String,
    /// The right answers, the most usual first; never empty.
    pub responses: Vec<String>,
}

impl Item {
    /// An item with one right answer.
    pub fn new(input: impl Into<String>, response: impl Into<String>) -> Self {
        Item { input: input.into(), responses: vec![response.into()] }
    }

    /// The first answer.
    pub fn response(&self) -> &str {
        self.responses.first().map_or("", String::as_str)
    }
}

macro_rules! skills {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a task asks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Skill { $($(#[$doc])* $name,)* }

        impl Skill {
            /// Every skill.
            pub const ALL: &'static [Skill] = &[$(Skill::$name,)*];

            /// The skill of this name.
            pub fn named(name: &str) -> Option<Skill> {
                Skill::ALL.iter().copied().find(|skill| format!("{skill:?}") == name)
            }
        }
    };
}

skills! {
    /// The sound that an animal makes.
    AnimalSound,
    /// Where an animal lives.
    AnimalHome,
    /// Mammal, bird, fish, insect, reptile or amphibian.
    AnimalKind,
    /// What the young of an animal is called.
    AnimalYoung,
    /// The larger of two animals.
    BiggerAnimal,
    /// The usual colour of a thing.
    ColourOf,
    /// The opposite of an adjective.
    Opposite,
    /// The opposite of a verb.
    VerbOpposite,
    /// A word with the same meaning.
    Synonym,
    /// The past tense of a verb.
    PastTense,
    /// The form of a verb that ends with -ing.
    Participle,
    /// The verb as it follows he or she.
    ThirdPerson,
    /// The base form of a verb in the past tense.
    BaseForm,
    /// The plural of a noun.
    Plural,
    /// The singular of a noun.
    Singular,
    /// The comparative of an adjective.
    Comparative,
    /// The superlative of an adjective.
    Superlative,
    /// The capital of a country.
    Capital,
    /// The country that a city is the capital of.
    CountryOfCapital,
    /// The language that a country speaks.
    Language,
    /// The continent of a country.
    Continent,
    /// Where someone with a job works.
    JobPlace,
    /// What someone with a job works with.
    JobTool,
    /// What someone with a job does.
    JobTask,
    /// Who works at a place.
    JobOfPlace,
    /// What a thing is used for.
    UseOf,
    /// What a thing is made of.
    Material,
    /// The female form of a male word.
    Feminine,
    /// The Spanish word.
    Spanish,
    /// The French word.
    French,
    /// A short form written out.
    Expand,
    /// A long form made short.
    Contract,
    /// The formal word for a casual one.
    Formal,
    /// What a part of the body does.
    PartSense,
    /// How many small units are in a large one.
    UnitCount,
    /// The category that a word belongs to.
    CategoryOf,
    /// A member of a category.
    ExampleOf,
    /// The word of a list that does not belong there.
    OddOneOut,
    /// Whether a word belongs to a category.
    IsMember,
    /// A word that rhymes.
    Rhyme,
    /// Whether two words rhyme.
    DoRhyme,
    /// The sum of two numbers.
    Add,
    /// The difference of two numbers.
    Subtract,
    /// Twice a number.
    Double,
    /// The larger of two numbers.
    LargerNumber,
    /// The number that continues a sequence.
    NextNumber,
    /// A number in words.
    NumberWord,
    /// A number word in digits.
    WordNumber,
    /// How many words a list has.
    CountWords,
    /// The first word of a list.
    FirstWord,
    /// The second word of a list.
    SecondWord,
    /// The last word of a list.
    LastWord,
    /// The longest word of a list.
    LongestWord,
    /// A list from its end.
    ReverseList,
    /// A list in alphabetical order.
    SortList,
    /// A list as a phrase with `and`.
    JoinAnd,
    /// The day that follows.
    NextDay,
    /// The day before.
    PreviousDay,
    /// The month that follows.
    NextMonth,
    /// The letter that follows.
    NextLetter,
    /// Who a story is about.
    StoryWho,
    /// Where a story happens.
    StoryWhere,
    /// When a story happens.
    StoryWhen,
    /// How many things a story names.
    StoryCount,
    /// What things a story names.
    StoryWhat,
    /// A question on a story, answered with yes or no.
    StoryYesNo,
    /// A short title for a story.
    Title,
    /// A question that a sentence answers.
    AskQuestion,
    /// Whether a review is positive or negative.
    ReviewSentiment,
    /// Whether the writer of a message is happy or sad.
    Mood,
    /// A command as a polite question.
    Polite,
    /// A sentence with its adjective turned to the opposite.
    OppositeSentence,
    /// A sentence in the past tense.
    PastSentence,
    /// A sentence with a formal word for the casual one.
    FormalSentence,
    /// A sentence denied.
    Negate,
    /// A sum told as a story.
    AddStory,
}

const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
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
const NUMBERS: [&str; 21] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
];

impl Skill {
    /// Table, column that is asked about and column of the answer, for a skill that looks a fact up.
    fn lookup(self) -> Option<(&'static str, &'static str, &'static str)> {
        Some(match self {
            Skill::AnimalSound => ("animals", "name", "sound"),
            Skill::AnimalHome => ("animals", "name", "home"),
            Skill::AnimalKind => ("animals", "name", "kind"),
            Skill::AnimalYoung => ("animals", "name", "young"),
            Skill::ColourOf => ("colours", "thing", "colour"),
            Skill::Opposite => ("opposites", "word", "opposite"),
            Skill::VerbOpposite => ("verb_opposites", "word", "opposite"),
            Skill::Synonym => ("synonyms", "word", "synonym"),
            Skill::PastTense => ("verbs", "base", "past"),
            Skill::Participle => ("verbs", "base", "ing"),
            Skill::ThirdPerson => ("verbs", "base", "third"),
            Skill::BaseForm => ("verbs", "past", "base"),
            Skill::Plural => ("plurals", "singular", "plural"),
            Skill::Singular => ("plurals", "plural", "singular"),
            Skill::Comparative => ("comparisons", "base", "comparative"),
            Skill::Superlative => ("comparisons", "base", "superlative"),
            Skill::Capital => ("countries", "name", "capital"),
            Skill::CountryOfCapital => ("countries", "capital", "name"),
            Skill::Language => ("countries", "name", "language"),
            Skill::Continent => ("countries", "name", "continent"),
            Skill::JobPlace => ("jobs", "name", "place"),
            Skill::JobTool => ("jobs", "name", "tool"),
            Skill::JobTask => ("jobs", "name", "task"),
            Skill::JobOfPlace => ("jobs", "place", "name"),
            Skill::UseOf => ("uses", "thing", "use"),
            Skill::Material => ("materials", "thing", "material"),
            Skill::Feminine => ("genders", "male", "female"),
            Skill::Spanish => ("translations", "word", "spanish"),
            Skill::French => ("translations", "word", "french"),
            Skill::Expand => ("contractions", "short", "long"),
            Skill::Contract => ("contractions", "long", "short"),
            Skill::Formal => ("formal", "casual", "formal"),
            Skill::PartSense => ("parts", "part", "sense"),
            _ => return None,
        })
    }

    /// Draws an item.
    pub fn draw(self, rng: &mut Rng) -> Item {
        let lexicon = Lexicon::shipped();
        if let Some((table, from, to)) = self.lookup() {
            let pairs = lexicon.pairs(table, from, to);
            let (input, response) = pairs.choose(rng).copied().unwrap_or_default();
            return Item::new(input, response);
        }
        match self {
            Skill::BiggerAnimal => bigger_animal(rng),
            Skill::UnitCount => unit_count(rng),
            Skill::CategoryOf | Skill::ExampleOf | Skill::OddOneOut | Skill::IsMember => category(self, rng),
            Skill::Rhyme | Skill::DoRhyme => rhyme(self, rng),
            Skill::Add
            | Skill::Subtract
            | Skill::Double
            | Skill::LargerNumber
            | Skill::NextNumber
            | Skill::NumberWord
            | Skill::WordNumber => number(self, rng),
            Skill::NextDay | Skill::PreviousDay | Skill::NextMonth | Skill::NextLetter => sequence(self, rng),
            Skill::CountWords
            | Skill::FirstWord
            | Skill::SecondWord
            | Skill::LastWord
            | Skill::LongestWord
            | Skill::ReverseList
            | Skill::SortList
            | Skill::JoinAnd => list(self, rng),
            _ => stories::draw(self, rng),
        }
    }
}

/// A word of a list; empty from an empty list.
pub(super) fn pick<'a, T: AsRef<str>>(words: &'a [T], rng: &mut Rng) -> &'a str {
    words.choose(rng).map_or("", AsRef::as_ref)
}

/// A day of the week.
pub(super) fn day(rng: &mut Rng) -> &'static str {
    pick::<&'static str>(&DAYS, rng)
}

/// A chance of one in two.
pub(super) fn coin(rng: &mut Rng) -> bool {
    rng.random_range(0..2) == 0
}

fn bigger_animal(rng: &mut Rng) -> Item {
    let sizes = Lexicon::shipped().pairs("animals", "name", "size");
    loop {
        let (a, b) = (sizes.choose(rng), sizes.choose(rng));
        let Some(((a, size_a), (b, size_b))) = a.zip(b) else { return Item::new("", "") };
        let (x, y) = (size_a.parse::<i32>().unwrap_or_default(), size_b.parse::<i32>().unwrap_or_default());
        if (x - y).abs() >= 2 {
            return Item::new(format!("{a}, {b}"), if x > y { *a } else { *b });
        }
    }
}

fn unit_count(rng: &mut Rng) -> Item {
    let units = Lexicon::shipped().groups("units");
    match units.choose(rng).map(Vec::as_slice) {
        Some([large, small, factor]) => Item::new(format!("{small} in {}", with_article(large)), factor.as_str()),
        _ => Item::new("", ""),
    }
}

fn category(skill: Skill, rng: &mut Rng) -> Item {
    let mut groups: Vec<&[String]> =
        Lexicon::shipped().groups("categories").iter().filter(|g| g.len() > 3).map(Vec::as_slice).collect();
    groups.shuffle(rng);
    let [Some((name, members)), Some((other_name, others))] =
        [0, 1].map(|i| groups.get(i).and_then(|g| g.split_first()))
    else {
        return Item::new("", "");
    };
    match skill {
        Skill::ExampleOf => {
            let mut responses = members.to_vec();
            responses.shuffle(rng);
            Item { input: name.clone(), responses }
        }
        Skill::OddOneOut => {
            let odd = pick(others, rng).to_owned();
            let mut words: Vec<String> = members.sample(rng, 3).cloned().collect();
            words.insert(rng.random_range(0..=words.len()), odd.clone());
            Item::new(words.join(", "), odd)
        }
        Skill::IsMember => {
            let (word, answer) = if coin(rng) { (pick(members, rng), "yes") } else { (pick(others, rng), "no") };
            Item::new(format!("{word}, {name}"), answer)
        }
        _ => {
            // Both groups serve here only so that the draw stays uniform over groups.
            let (name, members) = if coin(rng) { (name, members) } else { (other_name, others) };
            Item::new(pick(members, rng), name.as_str())
        }
    }
}

fn rhyme(skill: Skill, rng: &mut Rng) -> Item {
    let groups = Lexicon::shipped().groups("rhymes");
    let [Some(group), Some(other)] = [groups.choose(rng), groups.choose(rng)] else { return Item::new("", "") };
    let mut words = group.clone();
    words.shuffle(rng);
    let word = words.pop().unwrap_or_default();
    if skill == Skill::Rhyme {
        return Item { input: word, responses: words };
    }
    if coin(rng) || group == other {
        Item::new(format!("{word}, {}", pick(&words, rng)), "yes")
    } else {
        Item::new(format!("{word}, {}", pick(other, rng)), "no")
    }
}

fn number(skill: Skill, rng: &mut Rng) -> Item {
    let (a, b) = (rng.random_range(1..=10usize), rng.random_range(1..=10usize));
    match skill {
        Skill::Add => Item::new(format!("{a} + {b}"), (a + b).to_string()),
        Skill::Subtract => Item::new(format!("{} - {b}", a + b), a.to_string()),
        Skill::Double => {
            let a = rng.random_range(1..=20);
            Item::new(a.to_string(), (2 * a).to_string())
        }
        Skill::LargerNumber => {
            let a = rng.random_range(1..=60);
            let b = (a + rng.random_range(0..59)) % 60 + 1;
            Item::new(format!("{a}, {b}"), a.max(b).to_string())
        }
        Skill::NextNumber => {
            let (start, step) = (rng.random_range(1..=12), *[1, 1, 2, 2, 3, 5, 10].choose(rng).unwrap_or(&1));
            let terms: Vec<String> = (0..4).map(|i| (start + i * step).to_string()).collect();
            Item::new(terms.join(", "), (start + 4 * step).to_string())
        }
        _ => {
            let value = rng.random_range(0..NUMBERS.len());
            let word = NUMBERS.get(value).copied().unwrap_or_default();
            if skill == Skill::NumberWord {
                Item::new(value.to_string(), word)
            } else {
                Item::new(word, value.to_string())
            }
        }
    }
}

fn sequence(skill: Skill, rng: &mut Rng) -> Item {
    if skill == Skill::NextLetter {
        let letter = rng.random_range(b'A'..=b'Y');
        return Item::new((letter as char).to_string(), ((letter + 1) as char).to_string());
    }
    let (words, step): (&[&str], usize) = match skill {
        Skill::NextDay => (&DAYS, 1),
        Skill::PreviousDay => (&DAYS, DAYS.len() - 1),
        _ => (&MONTHS, 1),
    };
    let at = rng.random_range(0..words.len());
    let word = |i: usize| words.get(i % words.len()).copied().unwrap_or_default();
    Item::new(word(at), word(at + step))
}

fn list(skill: Skill, rng: &mut Rng) -> Item {
    let lexicon = Lexicon::shipped();
    let mut all: Vec<&str> =
        lexicon.groups("categories").iter().skip(rng.random_range(0..4)).flatten().map(String::as_str).collect();
    all.sort_unstable();
    all.dedup();
    let count = match skill {
        Skill::CountWords => rng.random_range(2..=6),
        Skill::ReverseList | Skill::SortList => 3,
        _ => rng.random_range(3..=5),
    };
    let words: Vec<&str> = all.sample(rng, count).copied().collect();
    let input = words.join(", ");
    let at = |i: usize| words.get(i).copied().unwrap_or_default().to_owned();
    let response = match skill {
        Skill::CountWords => count.to_string(),
        Skill::FirstWord => at(0),
        Skill::SecondWord => at(1),
        Skill::LastWord => at(count - 1),
        Skill::ReverseList => words.iter().rev().copied().collect::<Vec<_>>().join(", "),
        Skill::SortList => {
            let mut sorted = words.clone();
            sorted.sort_unstable();
            sorted.join(", ")
        }
        Skill::JoinAnd => {
            let head = words.get(..count - 1).unwrap_or_default().join(", ");
            format!("{head} and {}", at(count - 1))
        }
        _ => {
            let longest = words.iter().map(|w| w.len()).max().unwrap_or_default();
            // One word must be the longest, or the question has no answer.
            if words.iter().filter(|w| w.len() == longest).count() > 1 {
                return list(skill, rng);
            }
            words.iter().find(|w| w.len() == longest).copied().unwrap_or_default().to_owned()
        }
    };
    Item::new(input, response)
}
