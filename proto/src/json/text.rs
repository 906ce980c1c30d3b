//! JSON strings: where they end, what their escapes mean.

use std::borrow::Cow;

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const HIGH: u64 = u64::from_le_bytes([0x80; 8]);

/// How many bytes from the start are neither a quote, nor a backslash, nor a control character. Looks at eight bytes at a time.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    let mut chunks = bytes.chunks_exact(8);
    let mut length = 0;
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        let special = special(u64::from_le_bytes(word));
        if special != 0 {
            return length + special.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let rest = chunks.remainder();
    length
        + rest
            .iter()
            .position(|byte| is_special(*byte))
            .unwrap_or(rest.len())
}

/// The high bit of each byte that is special. Bytes above the lowest hit may be marked wrongly; the lowest is right.
fn special(word: u64) -> u64 {
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control)
        & HIGH
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The content of a string whose opening quote is just before `text`, and the length of what was read with the closing quote.
pub(super) fn unquote(text: &str) -> Result<(Cow<'_, str>, usize), (usize, &'static str)> {
    let bytes = text.as_bytes();
    let run = plain_run(bytes);
    match bytes.get(run) {
        Some(b'"') => Ok((Cow::Borrowed(&text[..run]), run + 1)),
        Some(b'\\') => unescape(text, run),
        Some(_) => Err((run, "a control character in a string")),
        None => Err((run, "the string does not end")),
    }
}

fn unescape(text: &str, first: usize) -> Result<(Cow<'_, str>, usize), (usize, &'static str)> {
    let bytes = text.as_bytes();
    let mut content = String::with_capacity(first + 16);
    content.push_str(&text[..first]);
    let mut at = first;
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok((Cow::Owned(content), at + 1)),
            Some(b'\\') => at = escape(bytes, at, &mut content)?,
            Some(_) => return Err((at, "a control character in a string")),
            None => return Err((at, "the string does not end")),
        }
        let run = plain_run(&bytes[at..]);
        content.push_str(&text[at..at + run]);
        at += run;
    }
}

/// Reads the escape that begins at `at`; answers where it ends.
fn escape(bytes: &[u8], at: usize, content: &mut String) -> Result<usize, (usize, &'static str)> {
    let character = match bytes.get(at + 1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(bytes, at, content),
        _ => return Err((at, "an unknown escape in a string")),
    };
    content.push(character);
    Ok(at + 2)
}

fn unicode(bytes: &[u8], at: usize, content: &mut String) -> Result<usize, (usize, &'static str)> {
    let unit = |at: usize| -> Option<u32> {
        let digits = bytes.get(at..at + 6)?;
        let (prefix, digits) = digits.split_at(2);
        if prefix != b"\\u" {
            return None;
        }
        digits.iter().try_fold(0, |value, digit| {
            Some(value * 16 + char::from(*digit).to_digit(16)?)
        })
    };
    let first = unit(at).ok_or((at, "four hexadecimal digits are expected after \\u"))?;
    if let Some(character) = char::from_u32(first) {
        content.push(character);
        return Ok(at + 6);
    }
    let pair = unit(at + 6).filter(|second| first < 0xdc00 && (0xdc00..0xe000).contains(second));
    let character = pair
        .and_then(|second| char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)));
    content.push(character.ok_or((at, "half of a surrogate pair"))?);
    Ok(at + 12)
}
