//! The Porter stemmer as NLTK extends it (its default mode), which `rouge_score` uses.
//!
//! M. F. Porter, "An algorithm for suffix stripping", Program 14.3 (1980); the departures from it are NLTK's. Words are
//! lower-case ASCII letters and digits, which is all that `rouge_score` leaves; other words come back as they are.

/// The stem of a lower-case word.
///
/// ```
/// # use fedhds_core::metrics::porter_stem;
/// assert_eq!(porter_stem("relational"), "relat");
/// assert_eq!(porter_stem("dying"), "die");
/// ```
pub fn porter_stem(word: &str) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(form, _)| *form == word) {
        return (*stem).into();
    }
    if word.len() <= 2 || !word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
        return word.into();
    }
    let word = step_1c(step_1b(step_1a(word.into())));
    let word = apply(step_2(word), &STEP_3, |stem, _| measure(stem) > 0);
    step_5b(step_5a(step_4(word)))
}

/// NLTK's table of irregular forms.
const IRREGULAR: [(&str, &str); 16] = [
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// Suffixes of step 2 and what replaces them where the stem's measure is positive.
const STEP_2: [(&str, &str); 21] = [
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
];

const STEP_3: [(&str, &str); 7] =
    [("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")];

const STEP_4: [(&str, &str); 19] = [
    ("al", ""),
    ("ance", ""),
    ("ence", ""),
    ("er", ""),
    ("ic", ""),
    ("able", ""),
    ("ible", ""),
    ("ant", ""),
    ("ement", ""),
    ("ment", ""),
    ("ent", ""),
    ("ion", ""),
    ("ou", ""),
    ("ism", ""),
    ("ate", ""),
    ("iti", ""),
    ("ous", ""),
    ("ive", ""),
    ("ize", ""),
];

/// The first rule whose suffix fits decides: its condition holds and the suffix is replaced, or the word stays.
fn apply(word: String, rules: &[(&str, &str)], condition: impl Fn(&str, &str) -> bool) -> String {
    for (suffix, replacement) in rules {
        if let Some(stem) = word.strip_suffix(suffix) {
            return if condition(stem, suffix) { format!("{stem}{replacement}") } else { word };
        }
    }
    word
}

/// Which letters are consonants: not a, e, i, o, u, nor a y after a consonant.
fn consonants(word: &str) -> Vec<bool> {
    let mut flags = Vec::with_capacity(word.len());
    for letter in word.bytes() {
        flags.push(match letter {
            b'a' | b'e' | b'i' | b'o' | b'u' => false,
            b'y' => !flags.last().copied().unwrap_or(false),
            _ => true,
        });
    }
    flags
}

/// Porter's m: how often a consonant follows a vowel.
fn measure(stem: &str) -> usize {
    consonants(stem).windows(2).filter(|pair| matches!(pair, [false, true])).count()
}

fn has_vowel(stem: &str) -> bool {
    consonants(stem).contains(&false)
}

/// Porter's *d.
fn ends_double_consonant(word: &str) -> bool {
    matches!(word.as_bytes(), [.., a, b] if a == b) && consonants(word).last() == Some(&true)
}

/// Porter's *o, and NLTK's: a word of two letters, vowel and consonant.
fn ends_cvc(word: &str) -> bool {
    match consonants(word).as_slice() {
        [false, true] => true,
        [.., true, false, true] => !word.ends_with(['w', 'x', 'y']),
        _ => false,
    }
}

fn step_1a(word: String) -> String {
    // NLTK: "dies" -> "die", where Porter has "di".
    if word.len() == 4 && word.ends_with("ies") {
        return word[..3].into();
    }
    apply(word, &[("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")], |_, _| true)
}

fn step_1b(word: String) -> String {
    // NLTK: "died" -> "die", "spied" -> "spi".
    if let Some(stem) = word.strip_suffix("ied") {
        return format!("{stem}{}", if word.len() == 4 { "ie" } else { "i" });
    }
    if let Some(stem) = word.strip_suffix("eed") {
        return if measure(stem) > 0 { format!("{stem}ee") } else { word };
    }
    let Some(stem) = ["ed", "ing"].iter().find_map(|suffix| word.strip_suffix(suffix).filter(|stem| has_vowel(stem)))
    else {
        return word;
    };
    if ["at", "bl", "iz"].iter().any(|end| stem.ends_with(end)) {
        return format!("{stem}e");
    }
    if ends_double_consonant(stem) {
        let single = if stem.ends_with(['l', 's', 'z']) { stem } else { &stem[..stem.len() - 1] };
        return single.into();
    }
    if measure(stem) == 1 && ends_cvc(stem) { format!("{stem}e") } else { stem.into() }
}

fn step_1c(word: String) -> String {
    // NLTK: only after a consonant that is not the whole stem, so that "enjoy" stays and "fly" becomes "fli".
    apply(word, &[("y", "i")], |stem, _| stem.len() > 1 && consonants(stem).last() == Some(&true))
}

fn step_2(word: String) -> String {
    // NLTK: ALLI -> AL first, and what it leaves goes through the step again.
    if let Some(stem) = word.strip_suffix("alli").filter(|stem| measure(stem) > 0) {
        return step_2(format!("{stem}al"));
    }
    if !STEP_2.iter().any(|(suffix, _)| word.ends_with(suffix))
        && let Some(stem) = word.strip_suffix("ogi").filter(|stem| stem.ends_with('l'))
    {
        // NLTK counts the l of LOGI -> LOG to the stem, so that "geologi" and "archaeologi" go the same way.
        return if measure(stem) > 0 { format!("{stem}og") } else { word };
    }
    apply(word, &STEP_2, |stem, _| measure(stem) > 0)
}

fn step_4(word: String) -> String {
    apply(word, &STEP_4, |stem, suffix| measure(stem) > 1 && (suffix != "ion" || stem.ends_with(['s', 't'])))
}

fn step_5a(word: String) -> String {
    match word.strip_suffix('e') {
        Some(stem) if measure(stem) > 1 || (measure(stem) == 1 && !ends_cvc(stem)) => stem.into(),
        _ => word,
    }
}

fn step_5b(word: String) -> String {
    match word.strip_suffix('l') {
        Some(stem) if stem.ends_with('l') && measure(stem) > 1 => stem.into(),
        _ => word,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn stems_equal_nltk() {
        let fixture = include_str!("../../../tests/fixtures/rouge/stems.txt");
        let mut words = 0;
        for line in fixture.lines() {
            let (word, stem) = line.split_once(' ').unwrap();
            assert_eq!(porter_stem(word), stem, "{word}");
            words += 1;
        }
        assert!(words > 2000, "{words}");
    }

    #[test]
    fn other_words_stay() {
        for word in ["", "a", "is", "Ärger", "été"] {
            assert_eq!(porter_stem(word), word);
        }
    }
}
