//! What the generated decoders are made of: a cursor over the text that knows where in the message it is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::number::{self, Number};
use super::{DEPTH_LIMIT, Error, Json, SIZE_LIMIT_BYTES, text};
use crate::path::{Missing, Step};

/// Padding may be left out, as some clients do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A cursor over a JSON text. Made by [`from_slice`](super::from_slice), used by generated code.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// The field that is being read, and the fields that it is in.
    step: Step,
    path: Vec<Step>,
    missing: Missing,
}

/// How far an object or a list has been read.
#[derive(Debug)]
pub struct Object {
    first: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self, Error> {
        if text.len() > SIZE_LIMIT_BYTES {
            return Err(Error::TooLong {
                limit_bytes: SIZE_LIMIT_BYTES,
            });
        }
        let text = str::from_utf8(text).map_err(|error| Error::Syntax {
            at_byte: error.valid_up_to(),
            what: "the text is not UTF-8",
        })?;
        let path = Vec::with_capacity(16);
        Ok(Self {
            text,
            at: 0,
            depth: 0,
            step: Step::default(),
            path,
            missing: Missing::default(),
        })
    }

    /// After the message: nothing follows, nothing is missing.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        if self.peek().is_some() {
            return Err(self.syntax("something follows the object"));
        }
        let paths = self.missing.into_paths();
        if paths.is_empty() {
            Ok(())
        } else {
            Err(Error::Missing { paths })
        }
    }

    // ---- fields --------------------------------------------------------------------------------------------------------

    /// Begins an object.
    ///
    /// # Errors
    ///
    /// When there is something else, or nesting goes too deep.
    pub fn object(&mut self) -> Result<Object, Error> {
        match self.peek() {
            Some(b'{') => self.open(),
            _ => Err(self.unexpected()),
        }
    }

    /// The next key of an object, or `None` at its end. The value must be read or skipped.
    ///
    /// # Errors
    ///
    /// When there is no key, no colon or no comma.
    pub fn key(&mut self, object: &mut Object) -> Result<Option<Cow<'a, str>>, Error> {
        if !self.more(object, b'}', "a comma or the end of the object is expected")? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(self.syntax("a key is expected"));
        }
        let key = self.quoted()?;
        if self.peek() != Some(b':') {
            return Err(self.syntax("a colon is expected"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Begins the value of a field that is not repeated. `null` is as good as none.
    ///
    /// # Errors
    ///
    /// When the text ends, or a word begins like `null` and is not.
    pub fn present(&mut self, field: &'static str) -> Result<bool, Error> {
        self.step = Step::field(field);
        self.present_again()
    }

    fn present_again(&mut self) -> Result<bool, Error> {
        match self.peek() {
            Some(b'n') => self.word("null").map(|()| false),
            Some(_) => Ok(true),
            None => Err(self.syntax("a value is expected")),
        }
    }

    /// Reads a list of messages; a single one is a list of one.
    ///
    /// # Errors
    ///
    /// When an element does not fit.
    pub fn messages<T: Json + Default>(
        &mut self,
        field: &'static str,
        list: &mut Vec<T>,
    ) -> Result<(), Error> {
        list.clear();
        self.elements(field, |reader| {
            list.push(T::default());
            match list.last_mut() {
                Some(last) => reader.descend(last),
                None => Ok(()),
            }
        })
    }

    /// Reads a list of scalars; a single one is a list of one. Elements without a value are left out.
    ///
    /// # Errors
    ///
    /// When an element does not fit.
    pub fn repeated<T>(
        &mut self,
        field: &'static str,
        list: &mut Vec<T>,
        mut read: impl FnMut(&mut Self) -> Result<Option<T>, Error>,
    ) -> Result<(), Error> {
        list.clear();
        self.elements(field, |reader| {
            list.extend(read(reader)?);
            Ok(())
        })
    }

    fn elements(
        &mut self,
        field: &'static str,
        mut element: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if !self.present(field)? {
            return Ok(());
        }
        if self.peek() != Some(b'[') {
            self.step = Step::element(field, 0);
            return element(self);
        }
        let mut array = self.open()?;
        let mut index = 0;
        while self.more(
            &mut array,
            b']',
            "a comma or the end of the list is expected",
        )? {
            self.step = Step::element(field, index);
            if self.present_again()? {
                element(self)?;
                index += 1;
            }
        }
        Ok(())
    }

    /// Reads an object into a map.
    ///
    /// # Errors
    ///
    /// When there is something else, or a value does not fit.
    pub fn map<V>(
        &mut self,
        field: &'static str,
        map: &mut BTreeMap<String, V>,
        mut read: impl FnMut(&mut Self) -> Result<V, Error>,
    ) -> Result<(), Error> {
        map.clear();
        if !self.present(field)? {
            return Ok(());
        }
        let mut object = self.object()?;
        let mut index = 0;
        while let Some(key) = self.key(&mut object)? {
            self.step = Step::element(field, index);
            if self.present_again()? {
                let value = read(self)?;
                map.insert(key.into_owned(), value);
                index += 1;
            }
        }
        Ok(())
    }

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// When the value is no object or does not fit.
    pub fn message<T: Json + Default>(&mut self) -> Result<T, Error> {
        let mut message = T::default();
        self.descend(&mut message)?;
        Ok(message)
    }

    fn descend(&mut self, message: &mut impl Json) -> Result<(), Error> {
        let step = self.step;
        if self.peek() != Some(b'{') {
            return Err(self.unexpected());
        }
        self.path.push(step);
        message.read_json(self)?;
        self.path.pop();
        self.step = step;
        Ok(())
    }

    /// Notes which required fields (`names`, in the order of the bits of `seen`) were not there.
    ///
    /// # Errors
    ///
    /// None; [`from_slice`](super::from_slice) reports them all at the end.
    pub fn require(&mut self, seen: u64, names: &[&'static str]) -> Result<(), Error> {
        if seen.count_ones() as usize != names.len() {
            for (bit, name) in names
                .iter()
                .enumerate()
                .filter(|(bit, _)| seen & (1 << bit) == 0)
            {
                debug_assert!(bit < 64);
                self.missing.note(&self.path, Step::field(name));
            }
        }
        Ok(())
    }

    // ---- values --------------------------------------------------------------------------------------------------------

    /// Reads a string.
    ///
    /// # Errors
    ///
    /// When there is something else.
    pub fn string(&mut self) -> Result<String, Error> {
        self.expect_string().map(Cow::into_owned)
    }

    /// Reads base64.
    ///
    /// # Errors
    ///
    /// When there is something else.
    pub fn bytes(&mut self) -> Result<Bytes, Error> {
        let text = self.expect_string()?;
        match BASE64.decode(text.as_bytes()) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => Err(self.unfit(format!("Failed to base64 decode bytes ({error})"))),
        }
    }

    /// Reads a double, or a string with one.
    ///
    /// # Errors
    ///
    /// When there is something else.
    pub fn double(&mut self) -> Result<f64, Error> {
        Ok(self.number()?.as_double())
    }

    /// Reads an integer, or a string with one; a fraction is dropped.
    ///
    /// # Errors
    ///
    /// When there is something else, or it is out of range.
    pub fn integer<T: TryFrom<i128>>(&mut self) -> Result<T, Error> {
        let number = self.number()?;
        number
            .as_integer()
            .ok_or_else(|| self.unfit("The number is out of range".to_owned()))
    }

    /// Reads a boolean, or a string with one.
    ///
    /// # Errors
    ///
    /// When there is something else.
    pub fn boolean(&mut self) -> Result<bool, Error> {
        match self.peek() {
            Some(b't') => self.word("true").map(|()| true),
            Some(b'f') => self.word("false").map(|()| false),
            Some(b'"') => match &*self.quoted()? {
                "true" => Ok(true),
                "false" => Ok(false),
                other => Err(self.unfit(format!(
                    "Failed to parse '{}' as a JSON boolean",
                    shortened(other)
                ))),
            },
            _ => Err(self.unexpected()),
        }
    }

    /// Reads the name of an enum's member. An unknown name is as good as none.
    ///
    /// # Errors
    ///
    /// When there is something else than a string.
    pub fn enumeration(
        &mut self,
        from_name: impl Fn(&str) -> Option<i32>,
    ) -> Result<Option<i32>, Error> {
        Ok(from_name(&self.expect_string()?))
    }

    /// Reads the name of an enum's member that must be known, because the field is required.
    ///
    /// # Errors
    ///
    /// When it is not, or there is something else than a string.
    pub fn required_enum(&mut self, from_name: impl Fn(&str) -> Option<i32>) -> Result<i32, Error> {
        let name = self.expect_string()?;
        from_name(&name)
            .ok_or_else(|| self.unfit(format!("Failed to find enum value '{}'", shortened(&name))))
    }

    /// Passes over a value of any kind.
    ///
    /// # Errors
    ///
    /// When it is no JSON.
    pub fn skip(&mut self) -> Result<(), Error> {
        match self.peek() {
            Some(b'{') => {
                let mut object = self.open()?;
                while self.key(&mut object)?.is_some() {
                    self.skip()?;
                }
                Ok(())
            }
            Some(b'[') => {
                let mut array = self.open()?;
                while self.more(
                    &mut array,
                    b']',
                    "a comma or the end of the list is expected",
                )? {
                    self.skip()?;
                }
                Ok(())
            }
            Some(b'"') => self.quoted().map(drop),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.plain_number().map(drop),
        }
    }

    // ---- tokens --------------------------------------------------------------------------------------------------------

    fn number(&mut self) -> Result<Number, Error> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9' | b'I') => self.plain_number(),
            Some(b'"') => {
                let text = self.quoted()?;
                let number = number::parse(&text).filter(|(_, length)| *length == text.len());
                match number {
                    Some((number, _)) => Ok(number),
                    None => Err(self.unfit(format!(
                        "Failed to parse '{}' as a JSON number",
                        shortened(&text)
                    ))),
                }
            }
            _ => Err(self.unexpected()),
        }
    }

    fn plain_number(&mut self) -> Result<Number, Error> {
        let (number, length) = number::parse(&self.text[self.at..])
            .ok_or_else(|| self.syntax("a value is expected"))?;
        self.at += length;
        Ok(number)
    }

    fn expect_string(&mut self) -> Result<Cow<'a, str>, Error> {
        if self.peek() == Some(b'"') {
            self.quoted()
        } else {
            Err(self.unexpected())
        }
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, Error> {
        let start = self.at + 1;
        match text::unquote(&self.text[start..]) {
            Ok((content, length)) => {
                self.at = start + length;
                Ok(content)
            }
            Err((offset, what)) => Err(Error::Syntax {
                at_byte: start + offset,
                what,
            }),
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), Error> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.syntax("a value is expected"))
        }
    }

    fn open(&mut self) -> Result<Object, Error> {
        if self.depth == DEPTH_LIMIT {
            return Err(self.syntax("objects and lists are nested too deep"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(Object { first: true })
    }

    /// Whether another element follows. Reads the comma or the end.
    fn more(
        &mut self,
        object: &mut Object,
        end: u8,
        otherwise: &'static str,
    ) -> Result<bool, Error> {
        let next = self.peek();
        if next == Some(end) {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        if object.first {
            object.first = false;
            return Ok(true);
        }
        if next != Some(b',') {
            return Err(self.syntax(otherwise));
        }
        self.at += 1;
        if self.peek() == Some(end) {
            return Err(self.syntax("something is expected after a comma"));
        }
        Ok(true)
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    // ---- errors --------------------------------------------------------------------------------------------------------

    fn syntax(&self, what: &'static str) -> Error {
        Error::Syntax {
            at_byte: self.at,
            what,
        }
    }

    fn unfit(&self, what: String) -> Error {
        Error::Field {
            path: crate::path::text(&self.path, self.step),
            what,
        }
    }

    /// A value of the wrong kind, or no value.
    fn unexpected(&mut self) -> Error {
        let kind = match self.peek() {
            Some(b'{') => "object",
            Some(b'[') => "array",
            Some(b'"') => "string",
            Some(b't' | b'f') => "boolean",
            Some(b'-' | b'0'..=b'9' | b'I') => "number",
            Some(b'n') => "null",
            _ => return self.syntax("a value is expected"),
        };
        if self.step == Step::default() {
            return Error::NotAnObject;
        }
        self.unfit(format!("Not expecting a JSON {kind}"))
    }
}

/// What a client sent, short enough for a sentence.
fn shortened(text: &str) -> &str {
    let end = text
        .char_indices()
        .nth(64)
        .map_or(text.len(), |(end, _)| end);
    &text[..end]
}
