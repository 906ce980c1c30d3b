//! Attributes of agents as the flag `--attributes` spells them: `rack:a;n:3;r:[1-5]`.

use std::fmt::Write as _;

use tepui_model::resources::Ranges;

use crate::mesos::Attribute;
use crate::mesos::value::{Range, Ranges as WireRanges, Scalar, Text, Type};

/// Why a text is no list of attributes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Bad attribute '{part}': {problem}")]
pub struct InvalidAttribute {
    /// The offending part.
    pub part: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads `name:value` pairs separated by semicolons. A value is a number, `[begin-end, ...]`, or else a text. A name may come several
/// times; the order is kept.
///
/// # Errors
///
/// When a part has no name or value, or the value is a set, which attributes cannot have.
pub fn parse(text: &str) -> Result<Vec<Attribute>, InvalidAttribute> {
    text.split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(attribute)
        .collect()
}

fn attribute(part: &str) -> Result<Attribute, InvalidAttribute> {
    let invalid = |problem: &str| InvalidAttribute {
        part: part.chars().take(64).collect(),
        problem: problem.to_owned(),
    };
    let (name, value) = part
        .split_once(':')
        .ok_or_else(|| invalid("expected name:value"))?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || value.is_empty() {
        return Err(invalid("expected name:value"));
    }
    let mut to = Attribute {
        name: name.to_owned(),
        ..Default::default()
    };
    if let Some(list) = value
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        to.set_type(Type::Ranges);
        to.ranges = Some(ranges(list).map_err(|problem| invalid(&problem))?);
    } else if value.starts_with('{') && value.ends_with('}') {
        return Err(invalid("attributes cannot be sets"));
    } else if let Some(value) = value.parse::<f64>().ok().filter(|value| value.is_finite()) {
        to.set_type(Type::Scalar);
        to.scalar = Some(Scalar { value });
    } else {
        to.set_type(Type::Text);
        to.text = Some(Text {
            value: value.to_owned(),
        });
    }
    Ok(to)
}

fn ranges(list: &str) -> Result<WireRanges, String> {
    let mut pairs = Vec::new();
    for item in list
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        let bound = |text: &str| {
            text.trim()
                .parse::<u64>()
                .map_err(|_| "expected [begin-end, ...]".to_owned())
        };
        let (begin, end) = item.split_once('-').unwrap_or((item, item));
        pairs.push((bound(begin)?, bound(end)?));
    }
    let ranges = Ranges::from_pairs(pairs).map_err(|error| error.to_string())?;
    Ok(WireRanges {
        range: ranges
            .iter()
            .map(|range| Range {
                begin: range.begin,
                end: range.end,
            })
            .collect(),
    })
}

/// The value of an attribute as text: `a`, `3`, `[1-5, 7-7]`, `{a, b}`.
pub fn value_text(attribute: &Attribute) -> String {
    let mut text = String::new();
    match attribute.r#type() {
        Type::Scalar => {
            let _ = write!(text, "{}", attribute.scalar.unwrap_or_default().value);
        }
        Type::Ranges => {
            let ranges = attribute.ranges.iter().flat_map(|ranges| &ranges.range);
            let items: Vec<String> = ranges
                .map(|range| format!("{}-{}", range.begin, range.end))
                .collect();
            let _ = write!(text, "[{}]", items.join(", "));
        }
        Type::Set => {
            let items: Vec<&str> = attribute
                .set
                .iter()
                .flat_map(|set| &set.item)
                .map(String::as_str)
                .collect();
            let _ = write!(text, "{{{}}}", items.join(", "));
        }
        Type::Text => text.push_str(attribute.text.as_ref().map_or("", |text| &text.value)),
    }
    text
}

/// The text form of a list; [`parse`] reads it.
pub fn format(attributes: &[Attribute]) -> String {
    let parts: Vec<String> = attributes
        .iter()
        .map(|attribute| format!("{}:{}", attribute.name, value_text(attribute)))
        .collect();
    parts.join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        for (text, printed) in [
            ("", ""),
            ("rack:a", "rack:a"),
            ("rack:a;n:3;r:[1-5]", "rack:a;n:3;r:[1-5]"),
            (" rack : a b ; rack:c;", "rack:a b;rack:c"),
            ("n:2.50", "n:2.5"),
            ("url:http://h:80/", "url:http://h:80/"),
            ("r:[7, 1-5]", "r:[1-5, 7-7]"),
            ("n:inf", "n:inf"),
        ] {
            let attributes = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(format(&attributes), printed, "{text}");
        }
    }

    #[test]
    fn types() {
        let types = |text: &str| {
            parse(text)
                .map(|list| list[0].r#type())
                .map_err(|error| error.problem)
        };
        assert_eq!(types("a:3"), Ok(Type::Scalar));
        assert_eq!(types("a:3x"), Ok(Type::Text));
        assert_eq!(types("a:[3-4]"), Ok(Type::Ranges));
        for bad in ["a", "a:", ":b", "a:{b}", "a:[4-3]", "a:[1-5,5-9]", "a:[x]"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
