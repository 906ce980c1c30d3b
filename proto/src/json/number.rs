//! JSON numbers, with the tokens for infinities that Mesos adds.

/// A number as it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Integer(i128),
    Double(f64),
}

impl Number {
    pub(super) fn as_double(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Double(value) => value,
        }
    }

    /// A fraction is dropped, as Mesos does.
    pub(super) fn as_integer<T: TryFrom<i128>>(self) -> Option<T> {
        match self {
            Self::Integer(value) => T::try_from(value).ok(),
            Self::Double(value) if value.is_finite() => T::try_from(value as i128).ok(),
            Self::Double(_) => None,
        }
    }
}

/// The number at the start of the text, and its length.
pub(super) fn parse(text: &str) -> Option<(Number, usize)> {
    let bytes = text.as_bytes();
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(negative);
    if bytes.get(start) == Some(&b'I') {
        let end = start + "Infinity".len();
        let value = if negative {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        };
        return (text.get(start..end) == Some("Infinity")).then_some((Number::Double(value), end));
    }
    let digits = digits(&bytes[start..]);
    if digits == 0 || (digits > 1 && bytes[start] == b'0') {
        return None;
    }
    let end = start + digits;
    // 19 digits always fit; longer ones and those with a fraction take the slow way.
    if digits > 19 || matches!(bytes.get(end), Some(b'.' | b'e' | b'E')) {
        return double(text, end);
    }
    let value = bytes[start..end]
        .iter()
        .fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    let value = i128::from(value);
    Some((Number::Integer(if negative { -value } else { value }), end))
}

/// `end` is where the digits before the fraction end.
fn double(text: &str, mut end: usize) -> Option<(Number, usize)> {
    let bytes = text.as_bytes();
    let mut integral = true;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(&bytes[end + 1..]);
        if fraction == 0 {
            return None;
        }
        end += 1 + fraction;
        integral = false;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(bytes.get(end + 1 + sign..)?);
        if exponent == 0 {
            return None;
        }
        end += 1 + sign + exponent;
        integral = false;
    }
    let text = &text[..end];
    if integral && let Ok(value) = text.parse::<i128>() {
        return Some((Number::Integer(value), end));
    }
    // Too large a number becomes an infinity; nobody means that.
    text.parse::<f64>()
        .ok()
        .filter(|value| value.is_finite())
        .map(|value| (Number::Double(value), end))
}

fn digits(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count()
}
