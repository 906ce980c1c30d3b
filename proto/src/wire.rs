//! Protobuf decoding that holds senders to the schema. prost fills missing required fields with defaults and keeps enum numbers
//! that nobody knows; here the first is an error that names all missing fields, unknown numbers in required enums are an error, and
//! optional ones with unknown numbers read as unset, as Mesos has it.
//!
//! Works by a second walk over the encoded bytes along generated tables; messages in which nothing can be wrong are passed over.

use prost::{DecodeError, Message};

use crate::path::{self, Missing, Step};

/// Messages may be nested this deep, as in JSON.
pub const DEPTH_LIMIT: usize = 64;

/// Why an encoded message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are no message of this type.
    #[error("failed to parse the protobuf message")]
    Malformed(#[from] DecodeError),
    /// Nested too deep to be sent on.
    #[error("messages are nested more than {DEPTH_LIMIT} deep at '{path}'")]
    TooDeep {
        /// Where the bound was passed.
        path: String,
    },
    /// A required enum has a number that is none of its members.
    #[error("unknown enum value {number} for field '{path}'")]
    UnknownEnum {
        /// Such as `update.status.state`.
        path: String,
        /// What was sent.
        number: i32,
    },
    /// Required fields are not there.
    #[error("Missing required fields: {}", paths.join(", "))]
    Missing {
        /// The paths of the first of them.
        paths: Vec<String>,
    },
}

/// A message that can be checked. Implemented for all messages by generated code.
pub trait Checked: Message + Default {
    /// What its encoding must look like.
    fn shape() -> &'static Shape;

    /// Unsets optional enums with unknown numbers, at any depth, and takes such numbers out of lists.
    fn forget_unknown_enums(&mut self) {}
}

/// The required fields, enums and messages of a message.
#[derive(Debug)]
pub struct Shape {
    pub(crate) fields: &'static [Field],
    /// Position in `fields` plus one, by field number.
    pub(crate) by_number: &'static [u8],
    /// All bits of required fields.
    pub(crate) required: u64,
}

/// One field of a [`Shape`].
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// One bit, or none.
    pub(crate) required: u64,
    pub(crate) repeated: bool,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// Nothing to look at.
    Opaque,
    /// With the test for a known number.
    Enum(fn(i32) -> bool),
    Message(&'static Shape),
}

/// Decodes and checks a message. Its `bytes` fields are copies, so that a 16-byte uuid that is kept does not keep a whole frame.
///
/// # Errors
///
/// See [`Error`].
pub fn decode<M: Checked>(encoded: &[u8]) -> Result<M, Error> {
    let mut message = M::decode(encoded)?;
    let mut walk = Walk {
        path: Vec::with_capacity(16),
        missing: Missing::default(),
        unknown_enum: false,
    };
    walk.message(encoded, M::shape())?;
    let paths = walk.missing.into_paths();
    if !paths.is_empty() {
        return Err(Error::Missing { paths });
    }
    if walk.unknown_enum {
        message.forget_unknown_enums();
    }
    Ok(message)
}

struct Walk {
    path: Vec<Step>,
    missing: Missing,
    /// An enum that is not required has an unknown number.
    unknown_enum: bool,
}

impl Walk {
    fn message(&mut self, encoded: &[u8], shape: &'static Shape) -> Result<(), Error> {
        if self.path.len() >= DEPTH_LIMIT {
            return Err(Error::TooDeep {
                path: path::text(&self.path, Step::default()),
            });
        }
        let mut input = Input(encoded);
        let mut seen = 0;
        // Elements of one repeated field mostly follow one another, so one counter does; it starts anew with another field.
        let (mut repeated, mut index) = (0, 0);
        while !input.0.is_empty() {
            let (number, value) = input.field()?;
            let position = shape.by_number.get(number as usize).copied().unwrap_or(0);
            let Some(field) = usize::from(position)
                .checked_sub(1)
                .and_then(|position| shape.fields.get(position))
            else {
                continue;
            };
            seen |= field.required;
            let step = if field.repeated {
                index = if repeated == number { index + 1 } else { 0 };
                repeated = number;
                Step::element(field.name, index)
            } else {
                Step::field(field.name)
            };
            match (&field.kind, value) {
                (Kind::Message(shape), Value::Bytes(encoded)) => {
                    self.path.push(step);
                    self.message(encoded, shape)?;
                    self.path.pop();
                }
                (Kind::Enum(is_known), Value::Varint(value)) => {
                    self.number(value, *is_known, field, step)?
                }
                (Kind::Enum(is_known), Value::Bytes(packed)) => {
                    let mut packed = Input(packed);
                    while !packed.0.is_empty() {
                        let value = packed.varint()?;
                        self.number(value, *is_known, field, step)?;
                    }
                }
                _ => {}
            }
        }
        let absent = shape.required & !seen;
        if absent != 0 {
            for field in shape
                .fields
                .iter()
                .filter(|field| field.required & absent != 0)
            {
                self.missing.note(&self.path, Step::field(field.name));
            }
        }
        Ok(())
    }

    fn number(
        &mut self,
        value: u64,
        is_known: fn(i32) -> bool,
        field: &Field,
        step: Step,
    ) -> Result<(), Error> {
        // As on the wire: negative numbers are ten bytes, of which the low 32 bits count.
        let number = value as i32;
        if is_known(number) {
            return Ok(());
        }
        if field.required != 0 {
            return Err(Error::UnknownEnum {
                path: path::text(&self.path, step),
                number,
            });
        }
        self.unknown_enum = true;
        Ok(())
    }
}

enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Other,
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), Error> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| malformed())?)?)
            }
            3 => self.group().map(|()| Value::Other)?,
            5 => self.take(4).map(|_| Value::Other)?,
            _ => return Err(malformed()),
        };
        Ok((tag >> 3, value))
    }

    /// Passes over a group (a form that nobody writes any more) whose start was read.
    fn group(&mut self) -> Result<(), Error> {
        let mut depth = 1;
        while depth > 0 {
            match self.varint()? & 7 {
                0 => drop(self.varint()?),
                1 => drop(self.take(8)?),
                2 => {
                    let length = self.varint()?;
                    self.take(usize::try_from(length).map_err(|_| malformed())?)?;
                }
                3 => depth += 1,
                4 => depth -= 1,
                5 => drop(self.take(4)?),
                _ => return Err(malformed()),
            }
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Error> {
        // Most tags and lengths are one byte.
        match self.0.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for (index, byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.0 = &self.0[index + 1..];
                return Ok(value);
            }
        }
        Err(malformed())
    }
}

/// Only for bytes that prost took and this walk does not: there are none known.
fn malformed() -> Error {
    // prost has no public way to make its error but to meet one.
    let error = <u64 as Message>::decode([0x08, 0xff].as_slice()).err();
    error.map_or(
        Error::TooDeep {
            path: String::new(),
        },
        Error::Malformed,
    )
}

mod generated {
    //! One table and one `impl Checked` for each message.
    #![allow(clippy::all)]

    use super::{Checked, Field, Kind, Shape};

    include!(concat!(env!("OUT_DIR"), "/wire.rs"));
}

#[cfg(test)]
mod tests;
