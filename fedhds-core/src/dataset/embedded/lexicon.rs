//! The facts: the tables of `lexicon.txt`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// One table: what its columns are called, and its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns; a last name that ends with `...` stands for any number of cells.
    pub columns: Vec<String>,
    /// The rows; a cell without a value is empty.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn cell<'a>(&'a self, row: &'a [String], column: &str) -> &'a str {
        self.columns.iter().position(|name| name == column).and_then(|at| row.get(at)).map_or("", String::as_str)
    }
}

/// Every table by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lexicon {
    tables: BTreeMap<String, Table>,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| Lexicon::parse(include_str!("lexicon.txt")));

impl Lexicon {
    /// The lexicon that the library ships.
    pub fn shipped() -> &'static Lexicon {
        &LEXICON
    }

    /// Reads tables: `[name] column column`, then one row a line; `_` is a space in a cell, `-` an empty cell, `#` a comment.
    fn parse(text: &str) -> Lexicon {
        let mut lexicon = Lexicon::default();
        let mut name = String::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let cells = line.split_whitespace();
            if let Some(heading) = line.strip_prefix('[') {
                name = heading.split(']').next().unwrap_or_default().to_owned();
                let columns = cells.skip(1).map(str::to_owned).collect();
                lexicon.tables.insert(name.clone(), Table { columns, rows: Vec::new() });
            } else if let Some(table) = lexicon.tables.get_mut(&name) {
                table.rows.push(cells.map(|c| if c == "-" { String::new() } else { c.replace('_', " ") }).collect());
            }
        }
        lexicon
    }

    /// Every table, by name.
    pub fn tables(&self) -> impl Iterator<Item = (&str, &Table)> {
        self.tables.iter().map(|(name, table)| (name.as_str(), table))
    }

    /// The rows of a table that have a value in both columns; empty where there is no such table.
    pub fn pairs(&self, table: &str, from: &str, to: &str) -> Vec<(&str, &str)> {
        let Some(table) = self.tables.get(table) else { return Vec::new() };
        let pairs = table.rows.iter().map(|row| (table.cell(row, from), table.cell(row, to)));
        pairs.filter(|(x, y)| !x.is_empty() && !y.is_empty()).collect()
    }

    /// The values of a column.
    pub fn column(&self, table: &str, column: &str) -> Vec<&str> {
        self.pairs(table, column, column).into_iter().map(|(x, _)| x).collect()
    }

    /// The words of a table that is a single list, and the rows of a table of groups.
    pub fn groups(&self, table: &str) -> &[Vec<String>] {
        self.tables.get(table).map_or(&[], |table| &table.rows)
    }

    /// The words of a table that is one list.
    pub fn list(&self, table: &str) -> &[String] {
        self.groups(table).first().map_or(&[], Vec::as_slice)
    }
}

/// `a` or `an`, and the word.
pub fn with_article(word: &str) -> String {
    let vowel = word.chars().next().is_some_and(|c| "aeiouAEIOU".contains(c));
    let sounds_otherwise = word.starts_with("hour") || word.starts_with("uniform") || word.starts_with("euro");
    if vowel != sounds_otherwise { format!("an {word}") } else { format!("a {word}") }
}

/// The word with its first letter in upper case.
pub fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    const LISTS: [&str; 8] = ["girls", "boys", "places", "praise", "blame", "reviewed", "happy_news", "sad_news"];

    #[test]
    fn every_row_has_a_cell_for_each_column() {
        for (name, table) in Lexicon::shipped().tables() {
            assert!(!table.rows.is_empty(), "{name} has no rows");
            let open = table.columns.last().is_some_and(|c| c.ends_with("...")) || LISTS.contains(&name);
            for row in &table.rows {
                assert!(open || row.len() == table.columns.len(), "{name}: {row:?} against {:?}", table.columns);
            }
        }
    }

    #[test]
    fn no_question_has_two_rows() {
        for (name, table) in Lexicon::shipped().tables().filter(|(name, _)| *name != "rhymes") {
            let mut first: Vec<&String> = table.rows.iter().filter_map(|row| row.first()).collect();
            let rows = first.len();
            first.sort();
            first.dedup();
            assert_eq!(first.len(), rows, "{name} has a word twice");
        }
    }

    #[test]
    fn facts_are_found_and_empty_cells_are_not() {
        let lexicon = Lexicon::shipped();
        assert!(lexicon.pairs("animals", "name", "sound").contains(&("cow", "moo")));
        assert!(lexicon.pairs("animals", "name", "sound").iter().all(|(animal, _)| *animal != "swan"));
        assert!(lexicon.pairs("countries", "name", "capital").contains(&("Mexico", "Mexico City")));
        assert!(lexicon.pairs("no such table", "a", "b").is_empty());
    }

    #[test]
    fn articles() {
        assert_eq!(with_article("apple"), "an apple");
        assert_eq!(with_article("cow"), "a cow");
        assert_eq!(with_article("hour"), "an hour");
        assert_eq!(capitalised("cow"), "Cow");
    }
}
