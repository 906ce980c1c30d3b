//! Archives, good and hostile.

use std::io::{Read, Write};

use tar::{EntryType, Header};

use super::*;

/// An entry of a tar: name, kind, link, mode, content. Names are written as they are.
pub(super) struct Entry<'a> {
    name: &'a str,
    kind: EntryType,
    link: &'a str,
    mode: u32,
    content: &'a [u8],
}

pub(super) const fn file<'a>(name: &'a str, content: &'a [u8]) -> Entry<'a> {
    Entry {
        name,
        kind: EntryType::Regular,
        link: "",
        mode: 0o6755,
        content,
    }
}

const fn link<'a>(name: &'a str, kind: EntryType, link: &'a str) -> Entry<'a> {
    Entry {
        name,
        kind,
        link,
        mode: 0o777,
        content: b"",
    }
}

/// A tar of these, without the checks of a well-meaning writer.
pub(super) fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_gnu();
        let bytes = header.as_mut_bytes();
        bytes[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        bytes[157..157 + entry.link.len()].copy_from_slice(entry.link.as_bytes());
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_size(entry.content.len() as u64);
        header.set_cksum();
        builder.append(&header, entry.content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, mode, content) in entries {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(*mode);
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Fetches it, as a file of the machine of this name, into a sandbox in which `outside` would be beside it.
async fn unpacked(name: &str, archive: &[u8], max_bytes: u64) -> (Room, Result<(), String>) {
    let room = Room::new(|config| config.max_bytes = max_bytes);
    let path = room.folder.path().join(name);
    fs::write(&path, archive).unwrap();
    let uri = Uri {
        value: path.display().to_string(),
        ..Default::default()
    };
    let result = room.fetch(&[uri]).await;
    (room, result)
}

/// `d/hello`, made by another program.
const XZ: &str = "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4Cf/AFxdADILyQaUIrvVUusHNjVH8IL/rNR1QJJBH3y/6bos4/GfmiglYcHBtTyfwAmNYH8/M45r7UOsw9U9huyxrjJndQL5klRmSNbzAkP0hFUb/mE3CZ6HmQ9jNqQm/Z4AAKgokg9yxMwjAAF4gFAAAABB5M9escRn+wIAAAAABFla";

#[tokio::test]
async fn archives_of_every_kind_are_unpacked() {
    use base64::Engine;
    let plain = tar(&[file("./d/hello", b"hello\n")]);
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).unwrap();
    let packed = [
        ("a.tar", plain.clone()),
        ("a.tar.gz", gzip(&plain)),
        ("a.tgz", gzip(&plain)),
        ("a.tar.bz2", bzip2.finish().unwrap()),
        (
            "a.tar.xz",
            base64::engine::general_purpose::STANDARD
                .decode(XZ)
                .unwrap(),
        ),
        ("a.tar.zst", zstd::encode_all(plain.as_slice(), 1).unwrap()),
        ("a.zip", zip(&[("d/hello", 0o755, b"hello\n")])),
    ];
    for (name, archive) in packed {
        let (room, result) = unpacked(name, &archive, 1 << 20).await;
        assert_eq!(result, Ok(()), "{name}");
        assert_eq!(room.read("d/hello"), b"hello\n", "{name}");
        // Without what would lend power.
        let mode = fs::metadata(room.sandbox().join("d/hello"))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777;
        assert_eq!(mode, 0o755, "{name}");
        // Kept beside, as the reference keeps it.
        assert_eq!(room.read(name), archive);
    }
    let (room, result) = unpacked("notes.txt.gz", &gzip(b"notes"), 1 << 20).await;
    assert_eq!(
        (result, room.read("notes.txt")),
        (Ok(()), b"notes".to_vec())
    );
}

#[tokio::test]
async fn long_names_links_and_later_entries_count() {
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(150));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    builder
        .append_data(&mut header.clone(), &long, &b"long"[..])
        .unwrap();
    builder
        .append_data(&mut header.clone(), "twice", &b"old!"[..])
        .unwrap();
    builder
        .append_data(&mut header, "twice", &b"new!"[..])
        .unwrap();
    let mut archive = builder.into_inner().unwrap();
    archive.truncate(archive.len() - 1024);
    archive.extend(tar(&[
        link("there", EntryType::Symlink, "twice"),
        link("anywhere", EntryType::Symlink, "/etc/passwd"),
        link("same", EntryType::Link, "./twice"),
        link("/root", EntryType::Directory, ""),
        file("/root/below", b"sandbox"),
    ]));
    let (room, result) = unpacked("a.tar", &archive, 1 << 20).await;
    assert_eq!(result, Ok(()));
    assert_eq!(
        (room.read(&long), room.read("there")),
        (b"long".to_vec(), b"new!".to_vec())
    );
    let inode = |file: &str| {
        fs::symlink_metadata(room.sandbox().join(file))
            .unwrap()
            .ino()
    };
    assert_eq!(inode("same"), inode("twice"));
    assert_eq!(room.read("root/below"), b"sandbox");
    assert_eq!(
        fs::read_link(room.sandbox().join("anywhere")).unwrap(),
        PathBuf::from("/etc/passwd")
    );
}

#[tokio::test]
async fn hostile_archives_get_nowhere() {
    let up = link("up", EntryType::Symlink, "..");
    let away = link("away", EntryType::Symlink, "/");
    let tars = [
        (vec![file("../outside", b"x")], "has '..' in its path"),
        (vec![file("a/../../outside", b"x")], "has '..' in its path"),
        (
            vec![up, file("up/outside", b"x")],
            "leads out of the sandbox",
        ),
        (
            vec![away, file("away/tmp/outside", b"x")],
            "leads out of the sandbox",
        ),
        (
            vec![
                link("up", EntryType::Symlink, ".."),
                link("got", EntryType::Link, "up/a.tar"),
            ],
            "leads out of the sandbox",
        ),
        (
            vec![link("got", EntryType::Link, "../a.tar")],
            "has '..' in its path",
        ),
        (
            vec![link("sda", EntryType::Block, "")],
            "is a device or a pipe",
        ),
        (
            vec![link("null", EntryType::Char, "")],
            "is a device or a pipe",
        ),
        (
            vec![link("pipe", EntryType::Fifo, "")],
            "is a device or a pipe",
        ),
        (
            vec![file("big", &[0; 70_000])],
            "unpacks to has more than 65536 bytes",
        ),
    ];
    for (entries, why) in tars {
        let (room, result) = unpacked("a.tar.gz", &gzip(&tar(&entries)), 65_536).await;
        let error = result.unwrap_err();
        assert!(error.contains(why), "{error}");
        assert!(
            !room.folder.path().join("outside").exists() && !Path::new("/tmp/outside").exists()
        );
        assert!(!room.sandbox().join("got").exists());
    }
    let zips = [
        (zip(&[("../outside", 0o644, b"x")]), "has '..' in its path"),
        (
            zip(&[("big", 0o644, &[0; 70_000])]),
            "unpacks to has more than 65536 bytes",
        ),
    ];
    for (archive, why) in zips {
        let (room, result) = unpacked("a.zip", &archive, 65_536).await;
        assert!(result.as_ref().unwrap_err().contains(why), "{result:?}");
        assert!(!room.folder.path().join("outside").exists());
    }
    let (_, result) = unpacked("a.gz", &gzip(&[0; 70_000]), 65_536).await;
    assert!(result.unwrap_err().contains("more than 65536 bytes"));
}

/// A zip may say that its entries are as many as there are grains of sand: nobody makes room for them.
#[tokio::test]
async fn lies_and_rubbish_are_told_as_such() {
    let mut name = Header::new_gnu();
    name.set_entry_type(EntryType::GNULongName);
    name.set_size(8 << 20);
    name.set_cksum();
    let mut long = tar::Builder::new(Vec::new());
    long.append(&name, std::io::repeat(b'x').take(8 << 20))
        .unwrap();
    let mut many = vec![0; 56 + 20 + 22];
    many[..4].copy_from_slice(b"PK\x06\x06");
    many[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
    many[56..60].copy_from_slice(b"PK\x06\x07");
    many[76..80].copy_from_slice(b"PK\x05\x06");
    let cases = [
        (
            "a.tar.gz",
            gzip(&long.into_inner().unwrap()),
            "a name or a list of attributes of 8388608 bytes",
        ),
        ("a.zip", many, "more than 1000000 entries"),
        (
            "a.tar.gz",
            b"no gzip".to_vec(),
            "the archive cannot be unpacked",
        ),
        (
            "a.gz",
            b"no gzip".to_vec(),
            "the archive cannot be unpacked",
        ),
        (
            "a.tar.bz2",
            b"no bzip2".to_vec(),
            "the archive cannot be unpacked",
        ),
        (
            "a.tar.xz",
            b"no xz".to_vec(),
            "the archive cannot be unpacked",
        ),
        (
            "a.tar.zst",
            b"no zstd".to_vec(),
            "the archive cannot be unpacked",
        ),
        (
            "a.zip",
            b"no zip".to_vec(),
            "the archive cannot be unpacked",
        ),
        ("a.tar", vec![7; 1024], "the archive cannot be unpacked"),
        (
            "a.tar.gz",
            gzip(&tar(&[file("x", &[1; 5000])]))[..60].to_vec(),
            "the archive cannot be unpacked",
        ),
    ];
    for (name, archive, why) in cases {
        let (_, result) = unpacked(name, &archive, 64 << 20).await;
        let error = result.unwrap_err();
        assert!(error.contains(why), "{name}: {error}");
    }
}
