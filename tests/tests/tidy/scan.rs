//! Reads Rust source just well enough for tidy: what is code and what is text, where functions begin
//! and end, and which code is compiled for tests alone. It is not a parser; it counts braces.

/// The source with comments and the insides of literals blanked; every line stays where it was.
pub(crate) fn code_of(source: &str) -> String {
    let mut blanker = Blanker {
        source: source.chars().collect(),
        at: 0,
        code: String::with_capacity(source.len()),
    };
    while blanker.at < blanker.source.len() {
        blanker.next_piece();
    }
    blanker.code
}

struct Blanker {
    source: Vec<char>,
    at: usize,
    code: String,
}

impl Blanker {
    fn next_piece(&mut self) {
        if self.looking_at("//") {
            self.blank_while(|blanker| !blanker.looking_at("\n"));
        } else if self.looking_at("/*") {
            self.block_comment();
        } else if let Some(hashes) = self.raw_string() {
            self.raw_literal(hashes);
        } else if self.looking_at("\"") {
            self.literal('"');
        } else if self.looking_at("'") && self.is_char_literal() {
            self.literal('\'');
        } else {
            self.keep();
        }
    }

    fn looking_at(&self, text: &str) -> bool {
        let rest = &self.source[self.at..];
        text.chars().count() <= rest.len() && text.chars().zip(rest).all(|(a, b)| a == *b)
    }

    fn keep(&mut self) {
        self.code.push(self.source[self.at]);
        self.at += 1;
    }

    fn blank(&mut self) {
        let kept = if self.source[self.at] == '\n' {
            '\n'
        } else {
            ' '
        };
        self.code.push(kept);
        self.at += 1;
    }

    fn blank_while(&mut self, wanted: impl Fn(&Self) -> bool) {
        while self.at < self.source.len() && wanted(self) {
            self.blank();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.source.len() {
            if self.looking_at("/*") {
                depth += 1;
                self.blank();
            } else if self.looking_at("*/") {
                depth -= 1;
                self.blank();
            }
            self.blank();
            if depth == 0 {
                return;
            }
        }
    }

    /// The number of `#` of the raw string that starts here, if one does.
    fn raw_string(&self) -> Option<usize> {
        let before = self.at.checked_sub(1).map(|at| self.source[at]);
        let rest = &self.source[self.at..];
        if rest.first() != Some(&'r') || before.is_some_and(is_raw_obstacle) {
            return None;
        }
        let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
        (rest.get(1 + hashes) == Some(&'"')).then_some(hashes)
    }

    fn raw_literal(&mut self, hashes: usize) {
        for _ in 0..hashes + 2 {
            self.keep();
        }
        let end = format!("\"{}", "#".repeat(hashes));
        self.blank_while(|blanker| !blanker.looking_at(&end));
        for _ in 0..(hashes + 1).min(self.source.len() - self.at) {
            self.keep();
        }
    }

    fn literal(&mut self, quote: char) {
        self.keep();
        while self.at < self.source.len() && self.source[self.at] != quote {
            if self.source[self.at] == '\\' {
                self.blank();
            }
            if self.at < self.source.len() {
                self.blank();
            }
        }
        if self.at < self.source.len() {
            self.keep();
        }
    }

    /// `'a'` and `'\n'` are literals, `'a` is a lifetime.
    fn is_char_literal(&self) -> bool {
        self.source.get(self.at + 1) == Some(&'\\') || self.source.get(self.at + 2) == Some(&'\'')
    }
}

/// `br"…"` and `cr"…"` are raw strings, `for"…"` cannot be.
fn is_raw_obstacle(before: char) -> bool {
    is_word(before) && before != 'b' && before != 'c'
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A function with a body. Lines count from 1, signature and closing brace included.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// Every function with a body in a file of which only code is left, nested ones too.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    words(code, "fn")
        .filter_map(|at| function_at(code, at))
        .collect()
}

fn function_at(code: &str, at: usize) -> Option<Function> {
    let after = code[at + 2..].trim_start();
    let name: String = after.chars().take_while(|c| is_word(*c)).collect();
    if name.is_empty() {
        return None; // the type `fn(…)`
    }
    let end = item_end(code, at);
    if !code[..end].ends_with('}') {
        return None; // a declaration without a body
    }
    Some(Function {
        name,
        line: line_of(code, at),
        lines: code[at..end].matches('\n').count() + 1,
    })
}

/// Where the item that starts here ends: after its `;`, or after its outermost closing brace.
fn item_end(code: &str, start: usize) -> usize {
    let (mut round, mut curly) = (0_usize, 0_usize);
    for (offset, c) in code[start..].char_indices() {
        match c {
            '(' | '[' => round += 1,
            ')' | ']' => round = round.saturating_sub(1),
            '{' => curly += 1,
            '}' => curly = curly.saturating_sub(1),
            _ => {}
        }
        let closed = c == '}' || c == ';';
        if closed && round == 0 && curly == 0 {
            return start + offset + 1;
        }
    }
    code.len()
}

/// Where `word` stands as a word of its own, in bytes.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let stands_alone = move |at: &usize| {
        let before = code[..*at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    };
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(stands_alone)
}

/// The line, from 1, of a position in bytes.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

const TEST_ONLY: &str = "#[cfg(test)]";

/// The code without the items that are compiled for tests alone; every line stays where it was.
pub(crate) fn without_tests(code: &str) -> String {
    let mut rest = code.to_owned();
    while let Some(start) = rest.find(TEST_ONLY) {
        let end = item_end(&rest, start + TEST_ONLY.len());
        let blank: String = rest[start..end]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        rest.replace_range(start..end, &blank);
    }
    rest
}

/// The names of modules that are compiled for tests alone and have a file of their own.
pub(crate) fn test_modules(code: &str) -> Vec<String> {
    code.match_indices(TEST_ONLY)
        .filter_map(|(at, _)| {
            let item = &code[at + TEST_ONLY.len()..item_end(code, at + TEST_ONLY.len())];
            let name = item.trim().strip_prefix("mod ")?.strip_suffix(';')?;
            Some(name.trim().to_owned())
        })
        .collect()
}

#[test]
fn comments_and_literals_are_not_code() {
    let source = "a // fn b() {\n/* x /* y */ } */ \"{\\\"\" r#\"\"}\"# b\"{\" '{' '\\'' 'life c";
    let code = code_of(source);
    assert_eq!(code.matches('\n').count(), 1);
    assert_eq!(code.chars().count(), source.chars().count());
    assert!(!code.contains(['{', '}', 'x', 'y']), "{code}");
    assert!(code.contains("'life c"), "{code}");
}

#[test]
fn a_function_is_measured_from_its_signature_to_its_closing_brace() {
    let source = "
impl A {
    fn one(
        a: fn(u8) -> [u8; 2],
    ) -> String {
        let s = \"}\"; // }
        if a { b } else { c }
    }
    fn two() {}
}
trait T { fn none(&self) -> [u8; 3]; }
";
    let found = functions(&code_of(source));
    let shape = |f: &Function| (f.name.clone(), f.line, f.lines);
    assert_eq!(
        found.iter().map(shape).collect::<Vec<_>>(),
        [("one".to_owned(), 3, 6), ("two".to_owned(), 9, 1)]
    );
}

#[test]
fn code_for_tests_is_told_from_other_code() {
    let source = "
use std::a;
#[cfg(test)]
extern crate std;
#[cfg(test)]
mod checks;
#[cfg(test)]
mod tests {
    fn a() { std::b() }
}
fn b() { std::c() }
";
    let code = code_of(source);
    assert_eq!(test_modules(&code), ["checks"]);
    let left = without_tests(&code);
    let lines: Vec<_> = words(&left, "std").map(|at| line_of(&left, at)).collect();
    assert_eq!(lines, [2, 11]);
}
