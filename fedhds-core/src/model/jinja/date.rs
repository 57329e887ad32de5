//! The date of a chat template.

use minijinja::{Error, ErrorKind};

/// What `strftime_now` reads: Friday, 26 July 2024, midnight.
///
/// A template that asks for the day would give a record other features each day, and devices other ones by their clocks. So the day is fixed. It is
/// the one that Llama 3's own templates fall back to where there is no clock.
const NOW: Date = Date { year: 2024, month: 7, day: 26, day_of_year: 208 };
const MONTH: &str = "July";
const DAY: &str = "Friday";

struct Date {
    year: u32,
    month: u32,
    day: u32,
    day_of_year: u32,
}

/// Longest format, in bytes.
const LONGEST: usize = 1_000;

/// [`NOW`] in a format of Python's `strftime`.
///
/// # Errors
/// A directive that is not known here.
pub(super) fn strftime(format: &str) -> Result<String, Error> {
    let refused = |message: String| Err(Error::new(ErrorKind::InvalidOperation, message));
    if format.len() > LONGEST {
        return refused(format!("expected a format of at most {LONGEST} bytes for strftime_now, got {}", format.len()));
    }
    let Date { year, month, day, day_of_year } = NOW;
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next();
        // The GNU C library's: without padding.
        let plain = directive == Some('-');
        if plain {
            directive = chars.next();
        }
        let padded = |value: u32, width: usize| if plain { value.to_string() } else { format!("{value:0width$}") };
        out.push_str(&match directive {
            Some('d') => padded(day, 2),
            Some('e') => format!("{day:2}"),
            Some('m') => padded(month, 2),
            Some('Y') => year.to_string(),
            Some('y') => padded(year % 100, 2),
            Some('b' | 'h') => MONTH[..3].into(),
            Some('B') => MONTH.into(),
            Some('a') => DAY[..3].into(),
            Some('A') => DAY.into(),
            Some('j') => padded(day_of_year, 3),
            Some('H' | 'M' | 'S') => padded(0, 2),
            Some('I') => "12".into(),
            Some('p') => "AM".into(),
            Some('f') => "000000".into(),
            Some('F') => format!("{year}-{month:02}-{day:02}"),
            Some('D' | 'x') => format!("{month:02}/{day:02}/{:02}", year % 100),
            Some('T' | 'X') => "00:00:00".into(),
            Some('R') => "00:00".into(),
            Some('c') => format!("{} {} {day:2} 00:00:00 {year}", &DAY[..3], &MONTH[..3]),
            Some('u' | 'w') => "5".into(),
            // A time without a zone has none to name.
            Some('Z' | 'z') => String::new(),
            Some('%') => "%".into(),
            Some(other) => {
                return refused(format!("expected a directive of strftime that is known here, got `%{other}`"));
            }
            None => return refused("expected a directive of strftime after the last `%`, got nothing".into()),
        });
    }
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_always_the_same() {
        assert_eq!(strftime("%d %b %Y, %A %H:%M:%S %%").unwrap(), "26 Jul 2024, Friday 00:00:00 %");
        assert_eq!(strftime("%Y-%m-%d %a %-m/%-d %j %F %B").unwrap(), "2024-07-26 Fri 7/26 208 2024-07-26 July");
        assert!(strftime("%Q").unwrap_err().to_string().contains("%Q"));
        assert!(strftime("%").is_err() && strftime(&"%A".repeat(600)).is_err());
    }
}
