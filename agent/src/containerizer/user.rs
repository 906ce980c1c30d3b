//! From a user's name to the ids a process takes.

use std::ffi::CString;

use nix::unistd::{User, geteuid, getgrouplist};

use super::error::ContainerizerError;
use crate::supervisor::message::Credentials;

/// The ids of `user`; `None` for the agent's own. Asks the machine's user database, off the runtime's threads: it may be remote.
pub(crate) async fn resolve(
    user: Option<String>,
) -> Result<Option<Credentials>, ContainerizerError> {
    let Some(user) = user else { return Ok(None) };
    let name = user.clone();
    match tokio::task::spawn_blocking(move || look_up(&name)).await {
        Ok(Ok(credentials)) => Ok(credentials),
        Ok(Err(reason)) => Err(ContainerizerError::User { user, reason }),
        Err(error) => Err(ContainerizerError::User {
            user,
            reason: error.to_string(),
        }),
    }
}

fn look_up(name: &str) -> Result<Option<Credentials>, String> {
    let user = User::from_name(name)
        .map_err(|errno| errno.desc().to_owned())?
        .ok_or("there is no such user on this machine")?;
    if user.uid == geteuid() {
        return Ok(None);
    }
    if !geteuid().is_root() {
        return Err("the agent does not run as root and cannot become another user".to_owned());
    }
    let name = CString::new(name).map_err(|_| "the name contains NUL")?;
    let groups = getgrouplist(&name, user.gid).map_err(|errno| errno.desc().to_owned())?;
    let groups = groups.into_iter().map(nix::unistd::Gid::as_raw).collect();
    Ok(Some(Credentials {
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_known_or_named() {
        let own = User::from_uid(geteuid()).unwrap().unwrap();
        assert_eq!(look_up(&own.name), Ok(None));
        assert!(
            look_up("no-such-user-anywhere")
                .unwrap_err()
                .contains("no such user")
        );
        let other = look_up("nobody");
        if geteuid().is_root() {
            assert_ne!(other.unwrap().unwrap().uid, 0);
        } else {
            assert!(other.unwrap_err().contains("does not run as root"));
        }
    }
}
