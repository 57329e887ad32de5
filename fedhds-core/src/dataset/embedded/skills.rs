//! The skills: what is asked about, and the right answer, without any wording.
//!
//! A task of [`super::tasks`] words one skill as instructions; the pretraining corpus words [`Skill::PRETRAINED`] as plain text.

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
    (
        pretrained { $($(#[$doc:meta])* $name:ident,)* }
        confirmation { $($(#[$new_doc:meta])* $new:ident,)* }
    ) => {
        /// What a task asks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Skill { $($(#[$doc])* $name,)* $($(#[$new_doc])* $new,)* }

        impl Skill {
            /// Every skill.
            pub const ALL: &'static [Skill] = &[$(Skill::$name,)* $(Skill::$new,)*];

            /// Those that the pretraining corpus holds. A skill more here is another corpus, and another model.
            pub const PRETRAINED: &'static [Skill] = &[$(Skill::$name,)*];

            /// The skill of this name.
            pub fn named(name: &str) -> Option<Skill> {
                Skill::ALL.iter().copied().find(|skill| format!("{skill:?}") == name)
            }
        }
    };
}

skills! {
    pretrained {
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
    confirmation {
        /// The smaller of two animals.
        SmallerAnimal,
        /// An animal that makes a sound.
        AnimalOfSound,
        /// Whether two animals are of one kind.
        SameKind,
        /// A thing of a colour.
        ThingOfColour,
        /// A country that speaks a language.
        CountryOfLanguage,
        /// Which of two countries is on a continent.
        CountryOnContinent,
        /// Whether a city is the capital of a country.
        IsCapital,
        /// Who works with a tool.
        JobOfTool,
        /// Who does a piece of work.
        JobOfTask,
        /// A thing that is used for something.
        ThingOfUse,
        /// Whether a thing is made of a material.
        MadeOf,
        /// The male form of a female word.
        Masculine,
        /// The English word for a Spanish one.
        FromSpanish,
        /// The unit that a number of smaller units makes.
        UnitOfCount,
        /// The category that all words of a list belong to.
        CategoryOfList,
        /// The smaller of two numbers.
        SmallerNumber,
        /// The number that continues a falling sequence.
        CountDown,
        /// Half of an even number.
        Half,
        /// A difference told as a story.
        SubtractStory,
        /// The month before.
        PreviousMonth,
        /// The third word of a list.
        ThirdWord,
        /// The shortest word of a list.
        ShortestWord,
        /// A list as a phrase with `or`.
        JoinOr,
        /// A list without its first word.
        DropFirst,
        /// A number and a noun in the plural.
        CountedPlural,
        /// Which of two people a sentence asks for.
        WhoHas,
        /// A sentence in the future with `will`.
        FutureSentence,
        /// A sentence with `very` before its adjective.
        VerySentence,
        /// A sentence with he or she for the name.
        PronounSentence,
        /// A sentence without its negation.
        Affirm,
    }
}
