//! The skills that read or rewrite sentences: short stories, reviews, messages, style.

use super::lexicon::{Lexicon, capitalised, with_article};
use super::questions::{coin, day, pick};
use super::skills::{Item, Skill};
use crate::types::Rng;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;

/// Someone, somewhere, some day, with some things.
#[derive(Debug, Clone)]
struct Story {
    name: &'static str,
    she: &'static str,
    her: &'static str,
    place: &'static str,
    day: &'static str,
    count: usize,
    objects: &'static str,
}

const STORIES: [&str; 8] = [
    "{name} went to the {place} on {day}. {She} bought {count} {objects}.",
    "On {day}, {name} walked to the {place} and found {count} {objects}.",
    "{name} was at the {place}. It was {day}. {She} had {count} {objects} in {her} bag.",
    "Last {day} {name} took {count} {objects} to the {place}.",
    "{name} likes the {place}. Every {day} {she} brings {count} {objects}.",
    "It was {day}. At the {place}, {name} saw {count} {objects} on a table.",
    "There were {count} {objects} at the {place}. {name} counted them on {day}.",
    "{name} lost {her} {count} {objects} at the {place} on {day}.",
];

impl Story {
    fn draw(rng: &mut Rng) -> Story {
        let lexicon = Lexicon::shipped();
        let (names, she, her) = if coin(rng) { ("girls", "she", "her") } else { ("boys", "he", "his") };
        let objects = lexicon.column("objects", "plural");
        Story {
            name: pick(lexicon.list(names), rng),
            she,
            her,
            place: pick(lexicon.list("places"), rng),
            day: day(rng),
            count: rng.random_range(2..=12),
            objects: objects.choose(rng).copied().unwrap_or_default(),
        }
    }

    fn fill(&self, template: &str) -> String {
        template
            .replace("{name}", self.name)
            .replace("{she}", self.she)
            .replace("{She}", &capitalised(self.she))
            .replace("{her}", self.her)
            .replace("{place}", self.place)
            .replace("{day}", self.day)
            .replace("{count}", &self.count.to_string())
            .replace("{objects}", self.objects)
    }
}

/// Draws an item of a skill on sentences.
pub(super) fn draw(skill: Skill, rng: &mut Rng) -> Item {
    match skill {
        Skill::StoryWho
        | Skill::StoryWhere
        | Skill::StoryWhen
        | Skill::StoryCount
        | Skill::StoryWhat
        | Skill::Title => story(skill, rng),
        Skill::StoryYesNo => yes_no(rng),
        Skill::AskQuestion => ask(rng),
        Skill::ReviewSentiment => review(rng),
        Skill::Mood => mood(rng),
        Skill::Polite => polite(rng),
        Skill::OppositeSentence => opposite_sentence(rng),
        Skill::PastSentence => past_sentence(rng),
        Skill::FormalSentence => formal_sentence(rng),
        Skill::Negate => negate(rng),
        _ => add_story(rng),
    }
}

fn story(skill: Skill, rng: &mut Rng) -> Item {
    let story = Story::draw(rng);
    let text = story.fill(pick::<&'static str>(&STORIES, rng));
    let response = match skill {
        Skill::StoryWho => story.name.to_owned(),
        Skill::StoryWhere => story.place.to_owned(),
        Skill::StoryWhen => story.day.to_owned(),
        Skill::StoryCount => story.count.to_string(),
        Skill::StoryWhat => story.objects.to_owned(),
        _ => story.fill("{name} at the {place}"),
    };
    Item::new(text, response)
}

fn yes_no(rng: &mut Rng) -> Item {
    let (story, mut asked) = (Story::draw(rng), Story::draw(rng));
    let other_place = pick(Lexicon::shipped().list("places"), rng);
    asked.name = story.name;
    let text = story.fill(pick::<&'static str>(&STORIES, rng));
    let truth = coin(rng);
    let question = if coin(rng) {
        asked.place = if truth { story.place } else { other_place };
        asked.fill("Was {name} at the {place}?")
    } else {
        asked.day = if truth { story.day } else { asked.day };
        asked.fill("Was it {day}?")
    };
    let holds = if question.starts_with("Was it") { asked.day == story.day } else { asked.place == story.place };
    Item::new(format!("{text} {question}"), if holds { "yes" } else { "no" })
}

fn ask(rng: &mut Rng) -> Item {
    let story = Story::draw(rng);
    let (sentence, question) = [
        ("{name} went to the {place}.", "Where did {name} go?"),
        ("{name} bought {count} {objects}.", "What did {name} buy?"),
        ("{name} came on {day}.", "When did {name} come?"),
        ("{name} has {count} {objects}.", "How many {objects} does {name} have?"),
    ]
    .choose(rng)
    .copied()
    .unwrap_or_default();
    Item::new(story.fill(sentence), story.fill(question))
}

fn review(rng: &mut Rng) -> Item {
    let lexicon = Lexicon::shipped();
    let thing = pick(lexicon.list("reviewed"), rng);
    let good = coin(rng);
    let word = pick(lexicon.list(if good { "praise" } else { "blame" }), rng);
    let templates: [&str; 5] = if good {
        [
            "The {thing} was {word}.",
            "What {a_word} {thing}! I want to come back.",
            "I loved the {thing}. It was {word}.",
            "The {thing} was {word} and I would recommend it.",
            "My {thing} is {word}. I use it every day.",
        ]
    } else {
        [
            "The {thing} was {word}.",
            "What {a_word} {thing}! I want my money back.",
            "I hated the {thing}. It was {word}.",
            "The {thing} was {word} and I would not recommend it.",
            "My {thing} is {word}. I never use it.",
        ]
    };
    let text = pick::<&str>(&templates, rng)
        .replace("{thing}", thing)
        .replace("{a_word}", &with_article(word))
        .replace("{word}", word);
    Item::new(text, if good { "positive" } else { "negative" })
}

fn mood(rng: &mut Rng) -> Item {
    let lexicon = Lexicon::shipped();
    let happy = coin(rng);
    let news = pick(lexicon.list(if happy { "happy_news" } else { "sad_news" }), rng);
    let day = day(rng);
    let text = match rng.random_range(0..4) {
        0 => format!("{news}."),
        1 => format!("Hello {}, {news}.", pick(lexicon.list("girls"), rng)),
        2 => format!("Today is {day}. {news}."),
        _ => format!("Dear {}, {news} on {day}.", pick(lexicon.list("boys"), rng)),
    };
    Item::new(text, if happy { "happy" } else { "sad" })
}

fn polite(rng: &mut Rng) -> Item {
    let lexicon = Lexicon::shipped();
    let requests = lexicon.column("requests", "phrase");
    let request = requests.choose(rng).copied().unwrap_or_default();
    Item::new(format!("{}.", capitalised(request)), format!("Could you please {request}?"))
}

fn opposite_sentence(rng: &mut Rng) -> Item {
    let lexicon = Lexicon::shipped();
    let pairs = lexicon.pairs("opposites", "word", "opposite");
    let (word, opposite) = pairs.choose(rng).copied().unwrap_or_default();
    let thing = pick(&["room", "car", "man", "street", "box", "dog", "house", "town"], rng);
    let template =
        pick(&["The {thing} is {word}.", "The {thing} was very {word}.", "I think the {thing} is {word}."], rng);
    let fill = |word: &str| template.replace("{thing}", thing).replace("{word}", word);
    Item::new(fill(word), fill(opposite))
}

fn past_sentence(rng: &mut Rng) -> Item {
    let lexicon = Lexicon::shipped();
    let pairs = lexicon.pairs("verbs", "base", "past");
    let (base, past) = pairs.choose(rng).copied().unwrap_or_default();
    let who = pick(&["I", "We", "They", "You"], rng);
    let end = pick(&["", " every day", " at home", " at school", " with Anna", " with Tom", " in the morning"], rng);
    Item::new(format!("{who} {base}{end}."), format!("{who} {past}{end}."))
}

fn formal_sentence(rng: &mut Rng) -> Item {
    // Only words that fit the slot of their sentence.
    let pairs = [
        ("We {} a new car.", ["buy", "purchase"]),
        ("They {} a letter.", ["get", "receive"]),
        ("I {} my friends.", ["help", "assist"]),
        ("We {} more time.", ["need", "require"]),
        ("They {} the work.", ["start", "commence"]),
        ("They {} the meeting.", ["end", "conclude"]),
        ("We {} the results.", ["show", "demonstrate"]),
        ("I {} the doctor.", ["tell", "inform"]),
        ("They {} in London.", ["live", "reside"]),
        ("The {} are at school.", ["kids", "children"]),
        ("My {} is at work.", ["mom", "mother"]),
        ("My {} likes tea.", ["dad", "father"]),
        ("I {} the bicycle.", ["fix", "repair"]),
        ("She has a new {}.", ["job", "occupation"]),
        ("The {} waits outside.", ["guy", "man"]),
        ("The {} signs the paper.", ["boss", "manager"]),
        ("We {} to win.", ["try", "attempt"]),
    ];
    let (template, [casual, formal]) = pairs.choose(rng).copied().unwrap_or_default();
    let when = pick(&["", " Today", " Now", " On Monday", " On Friday", " Every day", " This week"], rng).trim_start();
    let fill = |word: &str| {
        let text = template.replace("{}", word);
        match (when, text.strip_prefix("I ").is_some()) {
            ("", _) => text,
            (_, true) => format!("{when} {text}"),
            (_, false) => format!(
                "{when} {}{}",
                text.chars().take(1).collect::<String>().to_lowercase(),
                text.chars().skip(1).collect::<String>()
            ),
        }
    };
    Item::new(fill(casual), fill(formal))
}

fn negate(rng: &mut Rng) -> Item {
    let lexicon = Lexicon::shipped();
    let names = if coin(rng) { "girls" } else { "boys" };
    let name = pick(lexicon.list(names), rng);
    let thing = pick(&["tea", "milk", "music", "football", "cats", "dogs", "apples", "rain", "snow", "books"], rng);
    match rng.random_range(0..3) {
        0 => Item::new(format!("{name} likes {thing}."), format!("{name} does not like {thing}.")),
        1 => Item::new(format!("{name} is happy."), format!("{name} is not happy.")),
        _ => Item::new(format!("{name} can see {thing}."), format!("{name} cannot see {thing}.")),
    }
}

fn add_story(rng: &mut Rng) -> Item {
    let story = Story::draw(rng);
    let (first, more) = (rng.random_range(1..=9usize), rng.random_range(2..=9usize));
    let template = pick(
        &[
            "{name} has {a} {objects} and gets {b} more.",
            "{name} had {a} {objects}. Then {she} found {b} more.",
            "There are {a} {objects} at the {place}. {name} brings {b} more.",
        ],
        rng,
    );
    let first = first + 1;
    let text = story.fill(template).replace("{a}", &first.to_string()).replace("{b}", &more.to_string());
    Item::new(text, (first + more).to_string())
}
