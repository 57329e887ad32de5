//! Rows of text as an aligned table for a terminal, and as Markdown.

/// A table of text: a header and rows of as many cells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Layout {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Columns of text, the first ones.
    names: usize,
}

impl Layout {
    pub(super) fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|h| (*h).to_owned()).collect(), rows: Vec::new(), names: 1 }
    }

    /// Says how many of the first columns are text; 1 without it.
    pub(super) fn names(self, names: usize) -> Self {
        Self { names, ..self }
    }

    /// Adds a row; missing cells are empty, surplus ones are left out.
    pub(super) fn push(&mut self, mut row: Vec<String>) {
        row.resize(self.header.len(), String::new());
        self.rows.push(row);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Columns as wide as their widest cell; names are flush left, the others flush right, as numbers are read.
    pub(super) fn to_text(&self) -> String {
        let widths = self.widths();
        let rule = vec![String::new(); self.header.len()];
        let mut lines = vec![self.line(&self.header, &widths, ' ')];
        lines.push(self.line(&rule, &widths, '-'));
        lines.extend(self.rows.iter().map(|row| self.line(row, &widths, ' ')));
        lines.join("\n") + "\n"
    }

    pub(super) fn to_markdown(&self) -> String {
        let row = |cells: &[String]| {
            format!("| {} |", cells.iter().map(|c| c.replace('|', "\\|")).collect::<Vec<_>>().join(" | "))
        };
        let rule: Vec<String> =
            (0..self.header.len()).map(|i| if i < self.names { "---" } else { "---:" }.to_owned()).collect();
        let mut lines = vec![row(&self.header), row(&rule)];
        lines.extend(self.rows.iter().map(|r| row(r)));
        lines.join("\n") + "\n"
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = std::iter::once(&self.header).chain(&self.rows);
            cells.filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        (0..self.header.len()).map(width).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize], fill: char) -> String {
        let padded = cells.iter().zip(widths).enumerate().map(|(i, (cell, width))| {
            let padding: String = std::iter::repeat_n(fill, width.saturating_sub(cell.chars().count())).collect();
            if i < self.names { format!("{cell}{padding}") } else { format!("{padding}{cell}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_line_up() {
        let mut layout = Layout::new(&["method", "loss"]);
        layout.push(vec!["all".into(), "12.5".into()]);
        layout.push(vec!["fedhds_shared".into(), "2".into()]);
        layout.push(vec!["short".into()]);
        let text = "method         loss\n-------------  ----\nall            12.5\nfedhds_shared     2\nshort\n";
        assert_eq!(layout.to_text(), text);
        assert_eq!(
            layout.to_markdown(),
            "| method | loss |\n| --- | ---: |\n| all | 12.5 |\n| fedhds_shared | 2 |\n| short |  |\n"
        );
    }
}
