//! Text and numbers as the report writes them: nothing that comes from a record is markup.

/// The text as HTML or SVG shows it. Control characters become blanks; characters that turn the direction of what follows go, as a name could
/// pass for another with them.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('\n'),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c) => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A number with so many decimals; "-" for one that is not finite.
pub(super) fn number(value: f64, decimals: usize, signed: bool) -> String {
    let text = match (value.is_finite(), signed) {
        (false, _) => return "-".into(),
        (true, false) => format!("{value:.decimals$}"),
        (true, true) => format!("{value:+.decimals$}"),
    };
    // Nothing is less than 0 where all that is said of it is 0.
    let zero = !signed && text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
    if zero { text.trim_start_matches('-').to_owned() } else { text.replace('-', "\u{2212}") }
}

/// A number in three digits with a letter for thousands, millions and so on: for axes.
pub(super) fn short(value: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (unit, letter) = units.into_iter().find(|(unit, _)| value.abs() >= *unit).unwrap_or((1.0, ""));
    let scaled = value / unit;
    let decimals = match scaled.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        size if size >= 0.001 => 5,
        _ => return format!("{scaled:.1e}"),
    };
    let text = format!("{scaled:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{letter}")
}

/// `1 run`, `2 runs`.
pub(super) fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text_and_directions_go() {
        let hostile = "</script><img src=x onerror='a()'>\u{1b}\u{202e}&\"";
        assert_eq!(escaped(hostile), "&lt;/script&gt;&lt;img src=x onerror=&#39;a()&#39;&gt; &amp;&quot;");
    }

    #[test]
    fn numbers_are_short() {
        let said = [0.0, 0.25, 0.00625, 3e-5, 12.0, 1234.0, 9_790_075.0, -2e9, 1e12].map(short);
        assert_eq!(said, ["0", "0.25", "0.00625", "3.0e-5", "12", "1.23k", "9.79M", "-2G", "1T"]);
        assert_eq!((number(-0.5, 2, true), number(f64::NAN, 2, true)), ("\u{2212}0.50".into(), "-".into()));
        assert_eq!((number(-0.001, 2, false), number(-0.5, 0, false)), ("0.00".into(), "0".into()));
        assert_eq!((plural(1, "run"), plural(2, "run")), ("1 run".into(), "2 runs".into()));
    }
}
