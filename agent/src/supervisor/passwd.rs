//! Users as an image knows them: `/etc/passwd` and `/etc/group` of the root that the calling process is in.
//!
//! The machine's own user database is not asked: it knows other users. The files are the image's, and are not trusted: bounded, and read
//! only if they are files.

use std::path::Path;

use super::message::{Credentials, failed_io, failure};
use crate::containerizer::LaunchFailure;
use crate::containerizer::beneath::read_plain;

/// More than any image has of users.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The kernel's own bound is 65,536.
const MAX_GROUPS: usize = 1024;

fn file(path: &str) -> Result<String, LaunchFailure> {
    match read_plain(Path::new(path), MAX_FILE_BYTES) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        // An image without users: numbers still do.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(failed_io("read the image's users", path)(error)),
    }
}

/// The ids of `user` or `user:group`, by name or number.
pub(super) fn look_up(wanted: &str) -> Result<Credentials, LaunchFailure> {
    let (users, groups) = (file("/etc/passwd")?, file("/etc/group")?);
    find(wanted, &users, &groups).ok_or_else(|| {
        failure(
            "find the user or group in the image's /etc/passwd and /etc/group",
            wanted,
            0,
        )
    })
}

fn find(wanted: &str, users: &str, groups: &str) -> Option<Credentials> {
    let (user, group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (wanted, None),
    };
    let number = |text: &str| text.parse::<u32>().ok();
    // name:password:uid:gid:…
    let known = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next()?, number(fields.nth(1)?)?);
        let gid = number(fields.next()?)?;
        (name == user || number(user) == Some(uid)).then(|| (name.to_owned(), uid, gid))
    });
    let (name, uid, own_gid) = match known {
        Some(known) => known,
        None => (String::new(), number(user)?, 0),
    };
    // name:password:gid:member,member
    let listed = || {
        groups.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, gid) = (fields.next()?, number(fields.nth(1)?)?);
            Some((name, gid, fields.next().unwrap_or_default()))
        })
    };
    let gid = match group {
        None => own_gid,
        Some(group) => listed()
            .find(|(name, ..)| *name == group)
            .map(|(_, gid, _)| gid)
            .or_else(|| number(group))?,
    };
    let mut all = vec![gid];
    if group.is_none() && !name.is_empty() {
        let member = |members: &str| members.split(',').any(|one| one == name);
        let more = listed()
            .filter(|(.., members)| member(members))
            .map(|(_, gid, _)| gid);
        all.extend(more.filter(|other| *other != gid).take(MAX_GROUPS));
    }
    Some(Credentials {
        uid,
        gid,
        groups: all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:100:101::/:\n";
        let groups = "root:x:0:\napps:x:101:\nlog:x:5:app,other\nadm:x:6:other\n";
        for (wanted, found) in [
            ("root", Some((0, 0, vec![0]))),
            ("app", Some((100, 101, vec![101, 5]))),
            ("100", Some((100, 101, vec![101, 5]))),
            ("app:adm", Some((100, 6, vec![6]))),
            ("app:7", Some((100, 7, vec![7]))),
            ("4711", Some((4711, 0, vec![0]))),
            ("4711:4712", Some((4711, 4712, vec![4712]))),
            ("app:", Some((100, 101, vec![101, 5]))),
            ("nobody", None),
            ("app:nothing", None),
            ("-1", None),
            ("", None),
        ] {
            let read = find(wanted, users, groups).map(|it| (it.uid, it.gid, it.groups));
            assert_eq!(read, found, "{wanted}");
        }
    }
}
