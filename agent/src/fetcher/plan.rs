//! From the URIs of a command to what is to be done, judged as a whole before anything is fetched.

use std::path::{Component, Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use tepui_proto::mesos::v1::command_info::Uri;

use super::error::{Cause, FetchError};
use super::unpack::{Kind, kind};

/// URIs of one command. A framework that needs more makes an archive.
pub(super) const MAX_URIS: usize = 1000;

/// One thing to fetch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    /// As people may see it: without a password.
    pub(super) shown: String,
    pub(super) source: Source,
    /// Where it goes, below the sandbox. Relative, without `..`.
    pub(super) file: PathBuf,
    pub(super) then: Then,
    /// Taken from the cache, and put there first if need be.
    pub(super) cached: bool,
}

/// Where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// A file of this machine. Absolute.
    File(PathBuf),
    Http {
        /// Without user and password.
        url: String,
        authorization: Option<HeaderValue>,
    },
}

/// What is done with it when it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    MakeExecutable,
    Unpack(Kind),
}

/// What is to be done for these URIs.
pub(super) fn plan(uris: &[Uri], frameworks_home: Option<&Path>) -> Result<Vec<Item>, FetchError> {
    if uris.len() > MAX_URIS {
        return Err(FetchError {
            uri: uris[MAX_URIS].value.clone(),
            cause: Cause::Uri(format!(
                "it is one of {}, and a command has at most {MAX_URIS} URIs",
                uris.len()
            )),
        });
    }
    uris.iter().map(|uri| one(uri, frameworks_home)).collect()
}

fn one(uri: &Uri, frameworks_home: Option<&Path>) -> Result<Item, FetchError> {
    let value = uri.value.trim();
    let shown = shown(value);
    let judged = source(value, frameworks_home).and_then(|source| {
        let file = file(uri, value)?;
        Ok((source, file))
    });
    let (source, file) = judged.map_err(|cause| FetchError {
        uri: shown.clone(),
        cause: Cause::Uri(cause),
    })?;
    let then = if uri.executable() {
        Then::MakeExecutable
    } else {
        let archive = file
            .file_name()
            .and_then(|name| kind(&name.to_string_lossy()));
        match archive.filter(|_| uri.extract()) {
            Some(kind) => Then::Unpack(kind),
            None => Then::Nothing,
        }
    };
    Ok(Item {
        shown,
        // What is on this machine already is not copied twice.
        cached: uri.cache() && matches!(source, Source::Http { .. }),
        source,
        file,
        then,
    })
}

/// User and password, and where they end.
fn user_part(value: &str) -> Option<(usize, &str)> {
    let start = value.find("://")? + 3;
    let authority = &value[start..];
    let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
    authority.rfind('@').map(|at| (start, &authority[..at]))
}

fn shown(value: &str) -> String {
    let shown = match user_part(value) {
        Some((start, user)) => {
            format!("{}***{}", &value[..start], &value[start + user.len()..])
        }
        None => value.to_owned(),
    };
    match shown.char_indices().nth(1024) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

fn source(value: &str, frameworks_home: Option<&Path>) -> Result<Source, String> {
    if value.is_empty() {
        return Err("it is empty".to_owned());
    }
    if value.contains(|c: char| c.is_control() || c == '\\' || c == '\'') {
        return Err("it has a control character, a backslash or a quote in it".to_owned());
    }
    let Some((scheme, rest)) = value.split_once("://") else {
        return local(Path::new(value), frameworks_home);
    };
    match scheme.to_ascii_lowercase().as_str() {
        "file" => {
            let path = rest
                .strip_prefix("localhost/")
                .map_or_else(|| rest.to_owned(), |path| format!("/{path}"));
            if !path.starts_with('/') {
                return Err(
                    "a file URI names an absolute path of this machine: file:///path".to_owned(),
                );
            }
            local(Path::new(&path), None)
        }
        "http" | "https" => http(value),
        other => Err(format!(
            "this agent cannot fetch from '{other}://': http, https and files of the machine are there"
        )),
    }
}

fn local(path: &Path, frameworks_home: Option<&Path>) -> Result<Source, String> {
    if path.is_absolute() {
        return Ok(Source::File(path.to_owned()));
    }
    let home = frameworks_home.ok_or(
        "a relative path is below --frameworks_home, with which this agent was not started",
    )?;
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("a relative path leads no higher than --frameworks_home".to_owned());
    }
    Ok(Source::File(home.join(path)))
}

fn http(value: &str) -> Result<Source, String> {
    let (url, authorization) = match user_part(value) {
        None => (value.to_owned(), None),
        Some((start, user)) => {
            let url = format!("{}{}", &value[..start], &value[start + user.len() + 1..]);
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let plain = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
            let pair = [plain(name), b":".to_vec(), plain(password)].concat();
            let mut header = HeaderValue::from_str(&format!("Basic {}", BASE64.encode(pair)))
                .map_err(|error| error.to_string())?;
            header.set_sensitive(true);
            (url, Some(header))
        }
    };
    let parsed: http::Uri = url
        .parse()
        .map_err(|error| format!("it is no address: {error}"))?;
    if parsed.host().is_none_or(str::is_empty) {
        return Err("it names no host".to_owned());
    }
    Ok(Source::Http { url, authorization })
}

/// Where it goes: `output_file`, or the last part of the URI.
fn file(uri: &Uri, value: &str) -> Result<PathBuf, String> {
    if let Some(output) = &uri.output_file {
        return output_file(output);
    }
    let path = value.split_once("://").map_or(value, |(_, rest)| rest);
    let remote = path.len() != value.len();
    let name = match path.rsplit_once('/') {
        Some((_, name)) => name,
        None if remote => "",
        None => path,
    };
    match name {
        "" => Err(
            "it has no path, or one that names a directory: there is nothing to name the file by"
                .to_owned(),
        ),
        "." | ".." => Err(format!("its last part '{name}' cannot name a file")),
        name if name.len() > 255 => {
            Err("its last part is longer than 255 bytes: use output_file".to_owned())
        }
        name => Ok(PathBuf::from(name)),
    }
}

fn output_file(output: &str) -> Result<PathBuf, String> {
    let wrong = |what: &str| Err(format!("output_file '{output}' {what}"));
    if output.is_empty() || output.contains(|c: char| c.is_control()) {
        return wrong("is empty or has a control character in it");
    }
    if output.ends_with('/') {
        return wrong("names a directory");
    }
    let mut path = PathBuf::new();
    for part in Path::new(output).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            _ => return wrong("leads out of the sandbox: it must be relative and without '..'"),
        }
    }
    if path.as_os_str().is_empty() {
        return wrong("names no file");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::super::unpack::Packing;
    use super::*;

    fn uri(value: &str) -> Uri {
        Uri {
            value: value.to_owned(),
            ..Default::default()
        }
    }

    fn planned(uri: Uri) -> Result<Item, String> {
        plan(&[uri], Some(Path::new("/home/frameworks")))
            .map(|mut items| items.remove(0))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_what_is_done_with_them() {
        for (value, file, then) in [
            (
                "http://h/a/b.tar.gz",
                "b.tar.gz",
                Then::Unpack(Kind::Tar(Packing::Gzip)),
            ),
            ("https://h:1/b.zip", "b.zip", Then::Unpack(Kind::Zip)),
            ("file:///opt/run", "run", Then::Nothing),
            ("/opt/notes.gz", "notes.gz", Then::Unpack(Kind::Gz)),
            ("lib/x.txz", "x.txz", Then::Unpack(Kind::Tar(Packing::Xz))),
            // As the reference: what follows the path belongs to the name.
            ("http://h/a.zip?v=1", "a.zip?v=1", Then::Nothing),
        ] {
            let item = planned(uri(value)).unwrap();
            assert_eq!(
                (item.file, item.then),
                (PathBuf::from(file), then),
                "{value}"
            );
        }
        let kept = planned(Uri {
            extract: Some(false),
            ..uri("/x.zip")
        })
        .unwrap();
        assert_eq!(kept.then, Then::Nothing);
        let run = planned(Uri {
            executable: Some(true),
            ..uri("/x.gz")
        })
        .unwrap();
        assert_eq!(run.then, Then::MakeExecutable);
        let moved = planned(Uri {
            output_file: Some("./d/y.tgz".to_owned()),
            ..uri("http://h/x")
        })
        .unwrap();
        assert_eq!(moved.file, PathBuf::from("d/y.tgz"));
        assert_eq!(moved.then, Then::Unpack(Kind::Tar(Packing::Gzip)));
    }

    #[test]
    fn paths_of_this_machine() {
        for (value, path) in [
            ("file:///a/b", "/a/b"),
            ("file://localhost/a/b", "/a/b"),
            ("/a/b", "/a/b"),
            ("a/b", "/home/frameworks/a/b"),
        ] {
            assert_eq!(
                planned(uri(value)).unwrap().source,
                Source::File(path.into()),
                "{value}"
            );
        }
    }

    #[test]
    fn a_password_is_used_and_never_shown() {
        let item = planned(uri("http://me:s%40fe@h:81/x")).unwrap();
        assert_eq!(item.shown, "http://***@h:81/x");
        let Source::Http { url, authorization } = item.source else {
            panic!("not http");
        };
        assert_eq!(url, "http://h:81/x");
        assert_eq!(authorization.unwrap().as_bytes(), b"Basic bWU6c0BmZQ==");
        let error = planned(uri("http://me:secret@h/")).unwrap_err();
        assert!(
            error.contains("***") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_fetched_is_named_with_its_cause() {
        let output = |file: &str| Uri {
            output_file: Some(file.to_owned()),
            ..uri("/x")
        };
        for (uri, cause) in [
            (uri(""), "it is empty"),
            (uri("hdfs://nn/x"), "cannot fetch from 'hdfs://'"),
            (uri("ftp://h/x"), "cannot fetch from 'ftp://'"),
            (uri("file://other/x"), "an absolute path of this machine"),
            (uri("http://h"), "it has no path"),
            (uri("http://h/d/"), "names a directory"),
            (uri("http:///x"), "it is no address"),
            (uri("a/../../b"), "no higher than --frameworks_home"),
            (uri("/a/.."), "cannot name a file"),
            (
                output("../x"),
                "output_file '../x' leads out of the sandbox",
            ),
            (output("/x"), "output_file '/x' leads out of the sandbox"),
            (output("d/"), "names a directory"),
            (output(""), "is empty"),
        ] {
            let error = planned(uri.clone()).unwrap_err();
            assert!(error.contains(cause), "{uri:?}: {error}");
        }
        let many = vec![uri("/x"); MAX_URIS + 1];
        assert!(plan(&many, None).is_err());
        assert!(
            plan(&[uri("x")], None)
                .unwrap_err()
                .to_string()
                .contains("not started")
        );
    }
}
