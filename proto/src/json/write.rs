//! What the generated encoders are made of. Each value is followed by a comma; [`close`] puts the last one right.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::text::plain_run;

/// Ends an object or a list: its last comma, if it has one, becomes the bracket.
pub(super) fn close(out: &mut Vec<u8>, bracket: u8) {
    match out.last_mut() {
        Some(last) if *last == b',' => *last = bracket,
        _ => out.push(bracket),
    }
}

pub(super) fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

pub(super) fn double(out: &mut Vec<u8>, value: f64) {
    let mut buffer = ryu::Buffer::new();
    let text = if value.is_finite() {
        buffer.format_finite(value)
    } else if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// A string that needs no escapes.
pub(super) fn name(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

pub(super) fn string(out: &mut Vec<u8>, value: &str) {
    let mut rest = value.as_bytes();
    out.push(b'"');
    loop {
        let run = plain_run(rest);
        out.extend_from_slice(&rest[..run]);
        let Some(byte) = rest.get(run) else { break };
        escape(out, *byte);
        rest = &rest[run + 1..];
    }
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

pub(super) fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    let start = out.len();
    // Three bytes make four characters, the last group is padded.
    out.resize(start + value.len().div_ceil(3) * 4, b'=');
    let written = STANDARD.encode_slice(value, &mut out[start..]).unwrap_or(0);
    debug_assert_eq!(start + written, out.len(), "the room was counted right");
    out.push(b'"');
}

pub(super) fn map<V>(
    out: &mut Vec<u8>,
    map: &BTreeMap<String, V>,
    write_value: impl Fn(&mut Vec<u8>, &V),
) {
    out.push(b'{');
    for (key, value) in map {
        string(out, key);
        out.push(b':');
        write_value(out, value);
        out.push(b',');
    }
    close(out, b'}');
}
