//! A bound for what an archive says about its entries.
//!
//! Long names and attributes are entries of their own, which the tar crate reads into memory whatever their length. [`Names`] lies under
//! it, follows the headers as they pass, and breaks the archive off before such an entry that is longer than anybody needs.

use std::io::{self, Read, Seek, SeekFrom};

use tar::{EntryType, Header, PaxExtensions};

const BLOCK: usize = 512;
/// The longest name, link or list of attributes. An attribute of Linux has at most 64 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a tar.
pub(crate) struct Names<R> {
    inner: R,
    place: Place,
    header: Box<[u8; BLOCK]>,
    /// The attributes of the next entry, as they come.
    attributes: Vec<u8>,
    /// What they say of its size, which counts more than its header.
    size: Option<u64>,
}

/// Where in the archive it is.
enum Place {
    /// So many bytes of a header have come.
    Header(usize),
    /// So many bytes of an entry are to come, the first of them attributes, the last of them padding.
    Content { attributes: u64, left: u64 },
    /// What follows is no archive; whoever reads it will say so.
    Lost,
}

impl<R> Names<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            place: Place::Header(0),
            header: Box::new([0; BLOCK]),
            attributes: Vec::new(),
            size: None,
        }
    }

    fn follow(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match &mut self.place {
                Place::Lost => return Ok(()),
                Place::Header(filled) => {
                    let more = bytes.len().min(BLOCK - *filled);
                    let (now, rest) = bytes.split_at(more);
                    self.header[*filled..*filled + more].copy_from_slice(now);
                    *filled += more;
                    bytes = rest;
                    if *filled == BLOCK {
                        self.place = self.entry()?;
                    }
                }
                Place::Content { attributes, left } => {
                    let more =
                        usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    let (now, rest) = bytes.split_at(more);
                    let of_attributes = usize::try_from(*attributes)
                        .map_or(more, |attributes| attributes.min(more));
                    self.attributes.extend_from_slice(&now[..of_attributes]);
                    *attributes -= of_attributes as u64;
                    *left -= more as u64;
                    bytes = rest;
                    if *left == 0 {
                        self.end_of_content();
                    }
                }
            }
        }
        Ok(())
    }

    fn end_of_content(&mut self) {
        if !self.attributes.is_empty() {
            self.size = size(&std::mem::take(&mut self.attributes));
        }
        self.place = Place::Header(0);
    }

    /// So many bytes are left out. Only content may be: whatever is said of an entry must be read.
    fn leave_out(&mut self, bytes: u64) -> io::Result<()> {
        match &mut self.place {
            Place::Lost => {}
            _ if bytes == 0 => {}
            Place::Content {
                attributes: 0,
                left,
            } if bytes <= *left => {
                *left -= bytes;
                if *left == 0 {
                    self.end_of_content();
                }
            }
            _ => {
                return Err(io::Error::other(
                    "the lengths of its entries contradict each other",
                ));
            }
        }
        Ok(())
    }

    /// What follows the header that has come.
    fn entry(&mut self) -> io::Result<Place> {
        if self.header.iter().all(|byte| *byte == 0) {
            return Ok(Place::Header(0));
        }
        let header = Header::from_byte_slice(&*self.header);
        let Ok(mut size) = header.entry_size() else {
            return Ok(Place::Lost);
        };
        let kind = header.entry_type();
        let says = matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader
        );
        if says && size > MAX_BYTES {
            return Err(io::Error::other(format!(
                "it has a name or a list of attributes of {size} bytes"
            )));
        }
        if kind == EntryType::GNUSparse {
            return Err(io::Error::other("it has a sparse file"));
        }
        let known = header.as_gnu().is_some() || header.as_ustar().is_some();
        let attributes = if known && kind == EntryType::XHeader {
            size
        } else {
            0
        };
        if !(says || kind == EntryType::XGlobalHeader) {
            size = self.size.take().unwrap_or(size);
        }
        match size.checked_next_multiple_of(BLOCK as u64) {
            Some(0) => Ok(Place::Header(0)),
            Some(left) => Ok(Place::Content { attributes, left }),
            None => Ok(Place::Lost),
        }
    }
}

/// What attributes say of an entry's size, as the tar crate reads them.
fn size(attributes: &[u8]) -> Option<u64> {
    for attribute in PaxExtensions::new(attributes) {
        let attribute = attribute.ok()?;
        if attribute.key() == Ok("size") {
            return attribute.value().ok()?.parse().ok();
        }
    }
    None
}

impl<R: Read> Read for Names<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.follow(&buffer[..length])?;
        Ok(length)
    }
}

/// Forwards only, from where it is: what the tar crate does to get past the content of an entry.
impl<R: Seek> Seek for Names<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Current(bytes @ 0..) => {
                self.leave_out(bytes.unsigned_abs())?;
                self.inner.seek(to)
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: EntryType, size: u64, content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.set_path("name").unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        let padding = content.len().next_multiple_of(BLOCK) - content.len();
        [header.as_bytes(), content, &vec![0; padding]].concat()
    }

    /// Whether all of it is read, by pieces of any size.
    fn read(archive: &[u8]) -> io::Result<()> {
        let mut outcomes = [1, 7, 512, 4096].map(|piece| {
            let mut names = Names::new(archive);
            let mut buffer = vec![0; piece];
            loop {
                match names.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(error) => return Err(error),
                }
            }
        });
        let first = outcomes[0].is_ok();
        assert!(outcomes.iter().all(|outcome| outcome.is_ok() == first));
        std::mem::replace(&mut outcomes[0], Ok(()))
    }

    #[test]
    fn long_names_are_found_wherever_they_stand() {
        let file = entry(EntryType::Regular, 700, &[7; 700]);
        let short = entry(EntryType::GNULongName, 300, &[b'n'; 300]);
        let huge = entry(EntryType::XHeader, MAX_BYTES + 1, &[]);
        let sparse = entry(EntryType::GNUSparse, 0, &[]);
        let end = vec![0; 2 * BLOCK];
        read(&[&file[..], &short, &file, &end].concat()).unwrap();
        for bad in [&huge, &sparse] {
            for before in [&[][..], &file, &[&file[..], &short].concat()] {
                read(&[before, bad, &end].concat()).unwrap_err();
            }
        }
    }

    #[test]
    fn content_is_not_mistaken_for_headers() {
        let huge = entry(EntryType::GNULongLink, MAX_BYTES + 1, &[]);
        let holding = entry(EntryType::Regular, huge.len() as u64, &huge);
        read(&holding).unwrap();
        // By its attributes the next entry is longer than its header says.
        let attributes = entry(EntryType::XHeader, 13, b"13 size=1536\n");
        let holding = [&huge[..], &[7; 1024]].concat();
        let longer = [&attributes[..], &entry(EntryType::Regular, 0, &holding)].concat();
        read(&longer).unwrap();
        read(&[&longer[..], &huge].concat()).unwrap_err();
    }

    #[test]
    fn the_crate_sees_the_same_entries() {
        let attributes = entry(EntryType::XHeader, 13, b"13 size=1536\n");
        let archive = [
            &attributes[..],
            &entry(EntryType::Regular, 0, &[7; 1536]),
            &entry(EntryType::Regular, 3, b"abc"),
            &[0; 2 * BLOCK],
        ]
        .concat();
        let mut archive = tar::Archive::new(Names::new(&archive[..]));
        let sizes: Vec<u64> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().size())
            .collect();
        assert_eq!(sizes, [1536, 3]);
    }

    #[test]
    fn content_may_be_left_out_and_names_may_not() {
        let file = entry(EntryType::Regular, 1536, &[7; 1536]);
        let attributes = entry(EntryType::XHeader, 13, b"13 size=1536\n");
        let longer = [&attributes[..], &entry(EntryType::Regular, 0, &[7; 1536])].concat();
        let short = entry(EntryType::GNULongName, 5, b"name\0");
        let good = [&file[..], &longer, &short, &file, &[0; 2 * BLOCK]].concat();
        let sizes = |archive: &[u8]| -> io::Result<Vec<u64>> {
            let mut archive = tar::Archive::new(Names::new(io::Cursor::new(archive)));
            let entries = archive.entries_with_seek()?;
            entries.map(|entry| entry.map(|it| it.size())).collect()
        };
        assert_eq!(sizes(&good).unwrap(), [1536, 1536, 1536]);
        let huge = entry(EntryType::GNULongName, MAX_BYTES + 1, &[]);
        let bad = [&longer[..], &huge, &file].concat();
        let refused = sizes(&bad).unwrap_err().to_string();
        assert!(
            refused.contains("name or a list of attributes"),
            "{refused}"
        );
        let mut names = Names::new(io::Cursor::new(&good));
        for to in [
            SeekFrom::Current(1),
            SeekFrom::Current(-1),
            SeekFrom::Start(0),
            SeekFrom::End(0),
        ] {
            names.seek(to).unwrap_err();
        }
    }
}
