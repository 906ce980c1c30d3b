//! Randomness, and damage done with it to JSON values and to bytes.

use serde_json::{Number, Value, json};

/// SplitMix64.
pub(super) struct Source(u64);

impl Source {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A value that is seldom expected.
fn odd(source: &mut Source) -> Value {
    let texts = [
        "",
        "*",
        "/",
        "..",
        "a/b",
        "Infinity",
        "-Infinity",
        "NaN",
        "TRUE",
        "AAAA",
        "AAAAAAAAQACAAAAAAAAAAA==",
        "\u{0}",
        "\u{1F600}",
        "999999999999999999999999",
        "-1",
        "1e400",
    ];
    match source.below(8) {
        0 => Value::Null,
        1 => json!(source.below(2) == 0),
        2 => json!(source.pick(&[0_i64, -1, 1, i64::MAX, i64::MIN, 1 << 32, 65_536])),
        3 => Number::from_f64(source.pick(&[
            0.0,
            -0.0,
            0.0004,
            -1.5,
            1e18,
            1e300,
            f64::MAX,
            f64::MIN_POSITIVE,
        ]))
        .map_or(Value::Null, Value::Number),
        4 => json!(source.pick(&texts)),
        5 => json!("x".repeat(source.below(600))),
        6 => json!([]),
        _ => json!({}),
    }
}

/// Every place in a value, as pointers.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                places(
                    value,
                    &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                    all,
                );
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                places(value, &format!("{at}/{index}"), all);
            }
        }
        _ => {}
    }
}

fn place(value: &Value, source: &mut Source) -> String {
    let mut all = Vec::new();
    places(value, "", &mut all);
    let at = source.below(all.len());
    all.swap_remove(at)
}

/// Damages one place: something odd there, something of another value, one element more or less.
pub(super) fn value(value: &mut Value, other: &Value, source: &mut Source) {
    let at = place(value, source);
    let donor = other
        .pointer(&place(other, source))
        .cloned()
        .unwrap_or_default();
    let kind = source.below(5);
    let odd = odd(source);
    let index = source.below(8);
    let Some(found) = value.pointer_mut(&at) else {
        return;
    };
    match (kind, found) {
        (0, found) => *found = odd,
        (1, found) => *found = donor,
        (2, Value::Object(fields)) => {
            let key = fields.keys().nth(index % fields.len().max(1)).cloned();
            if let Some(key) = key {
                fields.remove(&key);
            }
        }
        (2, Value::Array(items)) => drop(items.pop()),
        (3, Value::Array(items)) => {
            let again = items.first().cloned().unwrap_or(donor);
            items.extend(std::iter::repeat_n(again, 1 + index * index));
        }
        (3, Value::Object(fields)) => {
            if let Value::Object(more) = donor {
                fields.extend(more);
            }
        }
        (_, found) => *found = json!([found.clone()]),
    }
}

/// Damages bytes: flips, cuts, repeats, inserts.
pub(super) fn bytes(bytes: &mut Vec<u8>, source: &mut Source) {
    for _ in 0..=source.below(4) {
        let at = source.below(bytes.len() + 1);
        match source.below(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << source.below(8),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, source.next() as u8),
            3 => {
                let piece: Vec<u8> = bytes[at..].iter().copied().take(source.below(64)).collect();
                let to = source.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            _ if at < bytes.len() => drop(bytes.remove(at)),
            _ => {}
        }
    }
}
