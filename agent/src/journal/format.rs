//! A record on disk: its length (4 bytes, little-endian), the CRC-32 of what follows (4 bytes), and the record in protobuf.

use prost::Message;
use tepui_agent_core::Entry;

/// What precedes a record.
pub(super) const FRAME_BYTES: usize = 8;
/// No record is longer: a length above it is damage.
const LONGEST_BYTES: usize = 64 << 20;

/// Appends a framed record.
pub(super) fn frame(entry: &Entry, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    entry.encode_raw(out);
    let (length, crc) = (
        out.len() - start - FRAME_BYTES,
        crc32(&out[start + FRAME_BYTES..]),
    );
    out[start..start + 4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// What was read of a journal.
pub(super) struct Read {
    pub(super) records: Vec<Entry>,
    /// Where the last good record ends.
    pub(super) good_bytes: usize,
    /// What is wrong with the next one, unless it is merely the last and torn.
    pub(super) damage: Option<String>,
}

/// Reads as far as it goes.
pub(super) fn read(content: &[u8]) -> Read {
    let mut records = Vec::new();
    let mut at = 0;
    let mut damage = None;
    while let Some((head, rest)) = content[at..].split_at_checked(FRAME_BYTES) {
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
        };
        let (length, crc) = (number(&head[..4]) as usize, number(&head[4..]));
        let Some(record) = rest.get(..length) else {
            // A torn end: the file grew, but not all of it was written. Zeros (a hole) count as that too, below.
            if length > LONGEST_BYTES {
                damage = Some(format!("a record of {length} bytes"));
            }
            break;
        };
        let is_last = at + FRAME_BYTES + length == content.len();
        let hole = content[at..].iter().all(|byte| *byte == 0);
        let decoded = if crc32(record) == crc && length > 0 {
            Entry::decode(record).ok()
        } else {
            None
        };
        match decoded {
            Some(entry) => records.push(entry),
            None if is_last || hole => break,
            None => {
                damage = Some("its checksum is wrong".to_owned());
                break;
            }
        }
        at += FRAME_BYTES + length;
    }
    Read {
        records,
        good_bytes: at,
        damage,
    }
}

/// CRC-32 (the polynomial of zlib, reflected), a byte at a time.
fn crc32(data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut crc = index as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 {
                    crc >> 1 ^ 0xedb8_8320
                } else {
                    crc >> 1
                };
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    !data.iter().fold(!0, |crc, byte| {
        crc >> 8 ^ TABLE[(crc as u8 ^ byte) as usize]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_well_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn a_hole_at_the_end_is_a_torn_end() {
        let mut content = Vec::new();
        frame(
            &Entry {
                record: Some(tepui_agent_core::Record::Epoch(7)),
            },
            &mut content,
        );
        let good = content.len();
        content.extend_from_slice(&[0; 100]);
        let read = read(&content);
        assert_eq!(
            (read.records.len(), read.good_bytes, read.damage),
            (1, good, None)
        );
    }
}
