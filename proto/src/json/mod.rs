//! Mesos' own JSON mapping of its protobuf messages (not the proto3 mapping), both ways, without an intermediate tree.
//!
//! Output: keys are the names in the .proto files, in the order of declaration; enums are names; `bytes` are base64; 64-bit integers are
//! numbers; doubles always have a fraction or an exponent, and infinities are the bare tokens `Infinity` and `-Infinity`. Unset fields are
//! left out, unless the schema declares a default for them and they are not deprecated. Empty lists and maps are left out.
//!
//! Input: unknown keys and `null` are ignored; numbers and booleans may come as strings; one value may stand for a list of one; unknown
//! enum names leave an optional field unset; integers drop a fraction. A missing required field is an error, and all that are
//! missing are named with their paths. Nesting is limited to [`DEPTH_LIMIT`], so that whatever was read can be sent on as protobuf.
//!
//! Not here: the names of the legacy (v0) endpoints, and any bound on the size of a body but [`SIZE_LIMIT_BYTES`]; servers have lower ones.

mod duration;
mod error;
mod number;
mod read;
#[cfg(test)]
mod tests;
mod text;
mod write;

pub use error::Error;
pub use read::{Object, Reader};

/// Objects and lists may be nested this deep. Protobuf decoders of all makers take at least 100.
pub const DEPTH_LIMIT: usize = 64;

/// No message is longer than this.
pub const SIZE_LIMIT_BYTES: usize = 256 * 1024 * 1024;

/// The schemas of all messages of `mesos.v1` in this mapping: one JSON object, by the full names of the messages. Each is a JSON Schema as OpenAPI
/// 3.1 has it; references lead to `#/components/schemas/`.
pub const SCHEMAS: &str = include_str!(concat!(env!("OUT_DIR"), "/schemas.json"));

/// A message with Mesos' JSON mapping. Implemented for all of `mesos.v1` by generated code.
pub trait Json {
    /// Appends the JSON text.
    fn write_json(&self, out: &mut Vec<u8>);

    /// Reads one JSON object into a message that is in its default state.
    ///
    /// # Errors
    ///
    /// When the text is no JSON or does not fit the message. Missing required fields are noted in the reader.
    fn read_json(&mut self, reader: &mut Reader<'_>) -> Result<(), Error>;
}

impl<T: Json> Json for Box<T> {
    fn write_json(&self, out: &mut Vec<u8>) {
        (**self).write_json(out);
    }

    fn read_json(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        (**self).read_json(reader)
    }
}

/// The JSON text of a message.
pub fn to_vec(message: &impl Json) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    message.write_json(&mut out);
    out
}

/// Appends the JSON text of a message.
pub fn write(message: &impl Json, out: &mut Vec<u8>) {
    message.write_json(out);
}

/// Reads a message.
///
/// # Errors
///
/// When the text is no JSON ([`Error::is_syntax`]), or does not fit the message.
pub fn from_slice<M: Json + Default>(text: &[u8]) -> Result<M, Error> {
    let mut reader = Reader::new(text)?;
    let mut message = M::default();
    message.read_json(&mut reader)?;
    reader.finish()?;
    Ok(message)
}

/// Reads a list of messages, such as a flag may hold. `name` is how errors call it.
///
/// # Errors
///
/// As [`from_slice`].
pub fn list_from_slice<M: Json + Default>(
    text: &[u8],
    name: &'static str,
) -> Result<Vec<M>, Error> {
    let mut reader = Reader::new(text)?;
    let mut list = Vec::new();
    reader.messages(name, &mut list)?;
    reader.finish()?;
    Ok(list)
}

mod generated {
    //! One `impl Json` for each message.
    #![allow(clippy::all, clippy::needless_pass_by_value)]

    use super::{Error, Json, Reader, write};

    include!(concat!(env!("OUT_DIR"), "/json.rs"));
}
