//! Just enough JSON for a page, in a form that may stand inside of a script element.

use std::fmt::{Display, Write};

/// Writes a value: anything whose `Display` is JSON.
pub(super) fn list<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    let mut text = String::from("[");
    for (at, value) in values.into_iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        write!(text, "{comma}{value}").expect("a string takes everything");
    }
    text.push(']');
    text
}

/// A string, quoted. Neither `</script>` nor `<!--` survives: a page cannot end early.
pub(super) fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' | '\u{7f}' => {
                let code = u32::from(character);
                write!(quoted, "\\u{code:04x}").expect("a string takes everything");
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_quoted_can_end_a_script_or_a_string() {
        let quoted = string("</script><!--\"\\\u{2028}\u{0}");
        assert_eq!(quoted, r#""\u003c/script\u003e\u003c!--\"\\\u2028\u0000""#);
    }

    #[test]
    fn a_list_has_commas_between_and_none_at_the_ends() {
        assert_eq!(list([1, 2]), "[1,2]");
        assert_eq!(list(Vec::<u64>::new()), "[]");
    }
}
