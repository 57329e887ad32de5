//! What a skill asks and answers, drawn by seed: a fact of the lexicon, a question, or a story.

use super::confirmation;
use super::lexicon::Lexicon;
use super::questions::{bigger_animal, category, list, number, rhyme, sequence, unit_count};
use super::skills::{Item, Skill};
use super::stories;
use crate::types::Rng;
use rand::seq::IndexedRandom as _;

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
        if let Some(item) = confirmation::draw(self, rng) {
            return item;
        }
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
