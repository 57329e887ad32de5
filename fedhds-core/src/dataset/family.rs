//! Which data set a task was made from.

/// Data sets of P3, whose tasks bear the data set's name with the prompt's name behind it (`ag_news_recommend`).
/// Configurations that draw on the same texts or questions count as one: adversarial_qa's three models, both DuoRC.
const P3: [&str; 60] = [
    "adversarial_qa",
    "ag_news",
    "ai2_arc",
    "amazon_polarity",
    "anli",
    "app_reviews",
    "asnq",
    "blended_skill_talk",
    "boolq",
    "circa",
    "cnn_dailymail",
    "common_gen",
    "cos_e",
    "cosmos_qa",
    "craffel_openai_lambada",
    "craigslist_bargains",
    "dbpedia_14",
    "dream",
    "drop",
    "duorc",
    "gigaword",
    "glue_mrpc",
    "glue_qqp",
    "hellaswag",
    "imdb",
    "kilt_tasks_hotpotqa",
    "mc_taco",
    "multi_news",
    "openbookqa",
    "paws",
    "piqa",
    "qasc",
    "quac",
    "quail",
    "quarel",
    "quartz",
    "quoref",
    "race",
    "ropes",
    "rotten_tomatoes",
    "samsum",
    "sciq",
    "social_i_qa",
    "squad",
    "squad_v2",
    "story_cloze",
    "super_glue",
    "trec",
    "trivia_qa",
    "web_questions",
    "wiki_bio",
    "wiki_hop",
    "wiki_qa",
    "winogrande",
    "wiqa",
    "wsc273",
    "xsum",
    "yelp_polarity",
    "yelp_review_full",
    "zest",
];

/// The family of a task by its `Source`.
///
/// Natural Instructions itself names the data set (`quoref`), which is the family as it stands. P3's tasks name data set
/// and prompt in one (`quoref_Guess_Answer`), so there the longest of P3's data sets that begins the name is the family.
/// `Categories` does not serve: P3's first words (`wiki`) join different data sets, and Natural Instructions' name skills.
///
/// It depends on this one name alone, not on which other tasks are loaded.
pub fn family_of(source: &str) -> &str {
    let begins = |set: &&&str| source.strip_prefix(**set).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    P3.iter().filter(begins).max_by_key(|set| set.len()).copied().unwrap_or(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_of_one_data_set_are_one_family() {
        assert_eq!(family_of("adversarial_qa_dbert_based_on"), "adversarial_qa");
        assert_eq!(family_of("adversarial_qa_droberta_based_on"), "adversarial_qa");
        assert_eq!(family_of("ag_news_which_section"), "ag_news");
        assert_eq!(family_of("amazon_polarity_Is_this_review"), "amazon_polarity");
        assert_eq!(family_of("wiki_qa_exercise"), "wiki_qa");
        assert_eq!(family_of("wiki_hop_original_generate_object"), "wiki_hop");
        assert_eq!(family_of("squad_v2_Jeopardy"), "squad_v2");
        assert_eq!(family_of("glue_qqp_quora"), "glue_qqp");
    }

    #[test]
    fn other_names_are_families_of_their_own() {
        assert_eq!(family_of("quoref"), "quoref");
        assert_eq!(family_of("dreams_of_reason"), "dreams_of_reason");
        assert_eq!(family_of("multinli"), "multinli");
        assert_eq!(family_of(""), "");
    }
}
