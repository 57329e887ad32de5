//! Names that are meant by a slip of the hand.

/// The known name nearest to `name`, where it is near enough to be meant: by the fewest letters that are put in, left out, exchanged or
/// swapped with their neighbour, at most a third of the longer name.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let length = name.chars().count();
    known
        .iter()
        .map(|known| (strsim::osa_distance(name, known), *known))
        .filter(|(distance, known)| *distance <= known.chars().count().max(length).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `; did you mean ...?` for the end of a message, or nothing where no name is near.
pub fn meant(name: &str, known: &[&str]) -> String {
    nearest(name, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// What to say about a name that is none of the known ones: what was expected, what came, and the nearest.
pub fn unknown_name(name: &str, known: &[&str]) -> String {
    format!("expected one of {}, got `{name}`{}", known.join(", "), meant(name, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_hand_are_understood() {
        let known = ["fedhds", "fedhds_turbo", "random", "all"];
        for (name, expected) in [
            ("fedhsd", Some("fedhds")),
            ("fedhds_tubro", Some("fedhds_turbo")),
            ("Random", Some("random")),
            ("al", Some("all")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, &known), expected, "{name}");
        }
        assert_eq!(nearest("random", &[]), None);
        // The first of equally near ones.
        assert_eq!(nearest("ax", &["ab", "ac"]), Some("ab"));
        assert_eq!(
            unknown_name("randon", &known),
            "expected one of fedhds, fedhds_turbo, random, all, got `randon`; did you mean `random`?"
        );
        assert_eq!(unknown_name("x", &["alpaca"]), "expected one of alpaca, got `x`");
    }
}
