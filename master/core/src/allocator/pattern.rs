//! Regular expressions of offer constraints: RE2's language, bounded in size, matched in time linear in pattern and text.
//!
//! Frameworks write patterns for RE2, whose syntax differs from that of this program's engine in a few places: `\d`, `\s`, `\w` and
//! `\b` mean ASCII, `\Q…\E` quotes, and within brackets `[` and `&&` have no meaning of their own. [`translated`] makes the one into
//! the other. Patterns are tried once for an agent and remembered, so the small slow engine is the right one: it keeps nothing
//! but the program.

use regex_automata::nfa::thompson::{Compiler, Config, NFA, WhichCaptures, pikevm::PikeVM};
use regex_automata::{Anchored, Input};
use std::cmp::Ordering;

/// Longer patterns are not even read.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// An instruction takes that many times the memory that RE2 needs for it.
const MEMORY_FACTOR: usize = 8;

/// How large a pattern may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatternLimits {
    /// Bytes that RE2 would need (`--offer_constraints_re2_max_mem`).
    pub memory_bytes: usize,
    /// Instructions (`--offer_constraints_re2_max_program_size`).
    pub instructions: usize,
}

impl Default for PatternLimits {
    fn default() -> PatternLimits {
        PatternLimits {
            memory_bytes: 4096,
            instructions: 100,
        }
    }
}

/// A compiled pattern. Two are equal if their texts are.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    program: PikeVM,
}

impl Pattern {
    /// Reads and compiles a pattern.
    ///
    /// # Errors
    /// It is no pattern of RE2, or too large; in Mesos' words.
    pub fn new(text: &str, limits: PatternLimits) -> Result<Pattern, String> {
        let wrong = |reason: &str| {
            let shown: String = text.chars().take(200).collect();
            format!("Failed to construct regex from pattern '{shown}': {reason}")
        };
        if text.len() > TEXT_BYTES_MAX {
            return Err(wrong("pattern too large - compile failed"));
        }
        let whole = format!(r"\A(?:{})\z", translated(text).map_err(|why| wrong(&why))?);
        let memory = limits.memory_bytes.saturating_mul(MEMORY_FACTOR);
        let config = Config::new()
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(memory));
        let program =
            Compiler::new()
                .configure(config)
                .build(&whole)
                .map_err(|error| match error.size_limit() {
                    Some(_) => wrong("pattern too large - compile failed"),
                    None => wrong(&reason(&error)),
                })?;
        let size = instructions(&program);
        if size > limits.instructions {
            return Err(format!(
                "Regex '{text}' is too complex: program size of {size} is larger than maximum of {} allowed",
                limits.instructions
            ));
        }
        let program = PikeVM::new_from_nfa(program).map_err(|error| wrong(&error.to_string()))?;
        Ok(Pattern {
            text: text.to_owned(),
            program,
        })
    }

    /// Whether the whole text is like the pattern.
    pub(super) fn is_match(&self, text: &str) -> bool {
        let mut cache = self.program.create_cache();
        let input = Input::new(text).anchored(Anchored::Yes).earliest(true);
        self.program.is_match(&mut cache, input)
    }
}

/// The program's size without what every pattern has: the two ends and the match.
fn instructions(program: &NFA) -> usize {
    program.states().len().saturating_sub(3)
}

/// The last line of a syntax error says what is wrong; those before point to where.
fn reason(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let text = deepest.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// RE2's syntax in this engine's.
fn translated(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    // The number of characters since a bracket opened; outside of brackets there is none.
    let mut bracket: Option<usize> = None;
    while let Some(c) = chars.next() {
        let inside = bracket.is_some();
        let at_start = bracket == Some(0);
        bracket = bracket.map(|length| length + 1);
        match c {
            '\\' => match chars.next() {
                None => return Err("trailing \\".to_owned()),
                Some('Q') if !inside => quote(&mut chars, &mut out),
                Some('C') => return Err("invalid escape sequence: \\C".to_owned()),
                Some(escaped) => match class(escaped) {
                    Some(class) => out.extend(["[", class, "]"]),
                    None if matches!(escaped, 'p' | 'P' | 'x') && chars.peek() == Some(&'{') => {
                        out.push('\\');
                        out.push(escaped);
                        for c in chars.by_ref() {
                            out.push(c);
                            if c == '}' {
                                break;
                            }
                        }
                    }
                    None if !inside && matches!(escaped, 'b' | 'B') => {
                        out.push_str(if escaped == 'b' {
                            r"(?-u:\b)"
                        } else {
                            r"(?-u:\B)"
                        });
                    }
                    None => {
                        out.push('\\');
                        out.push(escaped);
                    }
                },
            },
            '[' if !inside => {
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                bracket = Some(0);
            }
            '[' if chars.peek() == Some(&':') => {
                // A named class: up to its end nothing is special.
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' | '&' | '~' if inside => {
                out.push('\\');
                out.push(c);
            }
            ']' if inside && !at_start => {
                bracket = None;
                out.push(']');
            }
            ']' if inside => out.push_str(r"\]"),
            '{' if !inside && !is_repetition(chars.clone()) => out.push_str(r"\{"),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Whether what follows a brace makes it one of `{2}`, `{2,}`, `{2,3}`; otherwise it means itself.
fn is_repetition(mut chars: impl Iterator<Item = char>) -> bool {
    let mut digits = 0;
    let mut commas = 0;
    loop {
        match chars.next() {
            Some('0'..='9') => digits += 1,
            Some(',') if digits > 0 && commas == 0 => commas = 1,
            Some('}') => return digits > 0,
            _ => return false,
        }
    }
}

/// RE2's Perl classes, which are ASCII.
fn class(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "0-9",
        'D' => "^0-9",
        'w' => "0-9A-Za-z_",
        'W' => "^0-9A-Za-z_",
        's' => r"\t\n\x0C\r ",
        'S' => r"^\t\n\x0C\r ",
        _ => return None,
    })
}

/// Up to `\E`, or the end, everything means itself.
fn quote(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    while let Some(c) = chars.next() {
        if c == '\\' && chars.next_if_eq(&'E').is_some() {
            return;
        }
        if c.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(c);
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Pattern) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Pattern) -> Ordering {
        self.text.cmp(&other.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts_as_re2_does() {
        for (pattern, yes, no) in [
            ("", &[""][..], &["a"][..]),
            ("a|ab", &["a", "ab"], &["b", "abc"]),
            (
                r"rack-\d+",
                &["rack-7", "rack-42"],
                &["rack-", "rack-7x", "rack-\u{0664}"],
            ),
            (r"[\w.-]+", &["a.b-c_9"], &["a b", "é"]),
            (r"\W", &["é", "-"], &["a", "é-"]),
            (r"[^\D5]", &["4"], &["5", "a"]),
            (r"a\sb", &["a b", "a\tb"], &["a\u{b}b", "ab"]),
            (r"[[:alpha:]]+", &["abc"], &["a1"]),
            (r"[[&&]+", &["[&"], &["a"]),
            (r"[]a]+", &["]a"], &["b"]),
            (r"[^]a]", &["b"], &["]", "a"]),
            (r"\Qa.b*\E+", &["a.b*", "a.b**"], &["axb", "aab"]),
            (r".", &["é", "a"], &["\n", "ab"]),
            (r"(?i)Host", &["HOST", "host"], &["hosts"]),
            (r"\bab\b", &["ab"], &["abc"]),
            (r"(?s).*", &["", "a\nb"], &[]),
            (r"^ab$", &["ab"], &["ab\n"]),
            ("a{2,}b{,3}{", &["aab{,3}{"], &["ab", "aabbb"]),
            (r"\p{Greek}+", &["αβγ"], &["abc"]),
        ] {
            let compiled = Pattern::new(pattern, PatternLimits::default())
                .unwrap_or_else(|error| panic!("{pattern}: {error}"));
            for text in yes {
                assert!(compiled.is_match(text), "{pattern} is like {text:?}");
            }
            for text in no {
                assert!(!compiled.is_match(text), "{pattern} is not like {text:?}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_or_too_large_is_refused_in_mesos_words() {
        let long = "a".repeat(101);
        for (pattern, start) in [
            ("a(", "Failed to construct regex from pattern 'a(': "),
            (
                r"(a)\1",
                r"Failed to construct regex from pattern '(a)\1': ",
            ),
            ("(?=a)", "Failed to construct regex from pattern '(?=a)': "),
            (r"a\", r"Failed to construct regex from pattern 'a\': "),
            (long.as_str(), "Regex 'aaa"),
            (
                "(a{100}){100}",
                "Failed to construct regex from pattern '(a{100}){100}': pattern too large",
            ),
        ] {
            let error = Pattern::new(pattern, PatternLimits::default())
                .expect_err("not a pattern that is allowed");
            assert!(error.starts_with(start), "{error}");
        }
        assert!(
            Pattern::new(&long, PatternLimits::default())
                .expect_err("too long")
                .ends_with(
                    "is too complex: program size of 101 is larger than maximum of 100 allowed"
                )
        );
        assert!(Pattern::new(&"a".repeat(97), PatternLimits::default()).is_ok());
        let wide = PatternLimits {
            memory_bytes: 1 << 20,
            instructions: 100_000,
        };
        assert!(Pattern::new("(a{100}){100}", wide).is_ok());
    }
}
