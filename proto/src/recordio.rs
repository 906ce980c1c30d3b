//! RecordIO, the framing of Mesos' streams: the length of the record in decimal digits, a line feed, the record.
//!
//! The decoder takes its input in any pieces and holds at most one record of at most the given size. A stream that broke its own
//! framing cannot be resumed: after an error the decoder only repeats it.

use bytes::{Buf, Bytes, BytesMut};

/// No length has more digits: those of the largest 64-bit number.
const DIGITS_LIMIT: usize = 20;

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else than digits and a line feed stands where a length should.
    #[error("the length of a record is not a number")]
    Length,
    /// The record is longer than the reader is willing to hold.
    #[error("a record of {length_bytes} bytes is longer than the limit of {limit_bytes} bytes")]
    TooLong {
        /// As announced.
        length_bytes: u64,
        /// The bound of this decoder.
        limit_bytes: usize,
    },
}

/// Appends a record.
pub fn encode(record: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(record.len()).as_bytes());
    out.push(b'\n');
    out.extend_from_slice(record);
}

/// Appends the record that `write` appends to its argument, without a buffer in between.
pub fn encode_with(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    let length = out.len() - start;
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(length).as_bytes();
    let shift = digits.len() + 1;
    out.resize(start + length + shift, 0);
    out.copy_within(start..start + length, start + shift);
    out[start..start + shift - 1].copy_from_slice(digits);
    out[start + shift - 1] = b'\n';
}

/// Cuts a stream into records.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// Of the record that is being read, once known.
    length_bytes: Option<usize>,
    limit_bytes: usize,
    failed: Option<Error>,
}

impl Decoder {
    /// `limit_bytes` bounds a record, and so what the decoder holds besides the last piece pushed.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            length_bytes: None,
            limit_bytes,
            failed: None,
        }
    }

    /// Adds a piece of the stream. Call [`next_record`](Self::next_record) until it has no more before pushing again.
    pub fn push(&mut self, piece: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(piece);
        }
    }

    /// The next whole record, or `None` until more has been pushed.
    ///
    /// # Errors
    ///
    /// When the stream cannot be read on.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.advance().inspect_err(|error| {
            self.failed = Some(*error);
            self.buffer = BytesMut::new();
        })
    }

    /// Whether the stream may end here: no record is half read.
    pub fn is_at_boundary(&self) -> bool {
        self.buffer.is_empty() && self.length_bytes.is_none() && self.failed.is_none()
    }

    fn advance(&mut self) -> Result<Option<Bytes>, Error> {
        let length = match self.length_bytes {
            Some(length) => length,
            None => {
                let Some(length) = self.read_length()? else {
                    return Ok(None);
                };
                *self.length_bytes.insert(length)
            }
        };
        if self.buffer.len() < length {
            self.buffer.reserve(length - self.buffer.len());
            return Ok(None);
        }
        self.length_bytes = None;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    fn read_length(&mut self) -> Result<Option<usize>, Error> {
        let digits = self
            .buffer
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits > DIGITS_LIMIT {
            return Err(Error::Length);
        }
        match self.buffer.get(digits) {
            Some(b'\n') if digits > 0 => {}
            Some(_) => return Err(Error::Length),
            None => return Ok(None),
        }
        let text = str::from_utf8(&self.buffer[..digits]).map_err(|_| Error::Length)?;
        let length_bytes: u64 = text.parse().map_err(|_| Error::Length)?;
        self.buffer.advance(digits + 1);
        match usize::try_from(length_bytes) {
            Ok(length) if length <= self.limit_bytes => Ok(Some(length)),
            _ => Err(Error::TooLong {
                length_bytes,
                limit_bytes: self.limit_bytes,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_stream() {
        let mut stream = Vec::new();
        encode(br#"{"type":"HEARTBEAT"}"#, &mut stream);
        encode(b"", &mut stream);
        encode_with(&mut stream, |out| out.extend_from_slice(b"0123456789"));
        assert_eq!(stream, b"20\n{\"type\":\"HEARTBEAT\"}0\n10\n0123456789");
        let mut decoder = Decoder::new(20);
        decoder.push(&stream);
        for expected in ["{\"type\":\"HEARTBEAT\"}", "", "0123456789"] {
            assert_eq!(
                decoder.next_record(),
                Ok(Some(Bytes::from_static(expected.as_bytes())))
            );
        }
        assert_eq!(decoder.next_record(), Ok(None));
        assert!(decoder.is_at_boundary());
        decoder.push(b"1");
        assert_eq!(decoder.next_record(), Ok(None));
        assert!(!decoder.is_at_boundary());
    }

    #[test]
    fn what_breaks_a_stream() {
        for (stream, error) in [
            ("x", Error::Length),
            ("\n", Error::Length),
            (" 1\na", Error::Length),
            ("-1\na", Error::Length),
            ("+1\na", Error::Length),
            ("1\r\na", Error::Length),
            ("1x", Error::Length),
            ("123456789012345678901", Error::Length),
            ("99999999999999999999\n", Error::Length),
            (
                "21\n",
                Error::TooLong {
                    length_bytes: 21,
                    limit_bytes: 20,
                },
            ),
            (
                "18446744073709551615\n",
                Error::TooLong {
                    length_bytes: u64::MAX,
                    limit_bytes: 20,
                },
            ),
        ] {
            let mut decoder = Decoder::new(20);
            decoder.push(b"2\nok");
            decoder.push(stream.as_bytes());
            assert_eq!(
                decoder.next_record(),
                Ok(Some(Bytes::from_static(b"ok"))),
                "{stream}"
            );
            assert_eq!(decoder.next_record(), Err(error), "{stream}");
            decoder.push(b"2\nok");
            assert_eq!(
                decoder.next_record(),
                Err(error),
                "{stream}: a broken stream stays broken"
            );
        }
    }
}
