//! Who one is at which registry: the `auths` of a docker `config.json`.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::reference::DOCKER_HUB;

/// A docker configuration that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no docker config.json: {0}")]
pub struct CredentialsError(String);

/// Names and passwords, by registry. Its Debug form shows neither.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Credentials(BTreeMap<String, Login>);

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Login {
    /// The value of an Authorization header.
    pub(crate) fn basic(&self) -> String {
        let both = format!("{}:{}", self.user, self.password);
        format!("Basic {}", STANDARD.encode(both))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// `https://index.docker.io/v1/`, `registry:5000/`, `docker.io`: all kinds of keys, to one.
fn registry_of(key: &str) -> String {
    let bare = key
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let host = bare.split('/').next().unwrap_or_default();
    match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        other => other.to_owned(),
    }
}

impl Credentials {
    /// Reads a docker `config.json`, or the older `.dockercfg` without its `auths`.
    ///
    /// # Errors
    /// It is no such file.
    pub fn parse(bytes: &[u8]) -> Result<Self, CredentialsError> {
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| CredentialsError(error.to_string()))?;
        let wrapped = if value.get("auths").is_some() || value.get("credHelpers").is_some() {
            value
        } else {
            serde_json::json!({ "auths": value })
        };
        let file: File =
            serde_json::from_value(wrapped).map_err(|error| CredentialsError(error.to_string()))?;
        let mut logins = BTreeMap::new();
        for (key, auth) in file.auths {
            let named = match (auth.username, auth.password) {
                (Some(user), Some(password)) => Some((user, password)),
                _ => None,
            };
            let coded = || -> Result<Option<(String, String)>, CredentialsError> {
                let Some(auth) = auth.auth.filter(|auth| !auth.is_empty()) else {
                    return Ok(None);
                };
                let wrong = || {
                    CredentialsError(format!(
                        "the 'auth' of '{key}' is no base64 of name:password"
                    ))
                };
                let text = STANDARD.decode(auth.trim()).map_err(|_| wrong())?;
                let text = String::from_utf8(text).map_err(|_| wrong())?;
                let (user, password) = text.split_once(':').ok_or_else(wrong)?;
                Ok(Some((
                    user.to_owned(),
                    password.trim_end_matches('\0').to_owned(),
                )))
            };
            let login = match named {
                Some(login) => Some(login),
                None => coded()?,
            };
            if let Some((user, password)) = login {
                logins.insert(registry_of(&key), Login { user, password });
            }
        }
        Ok(Self(logins))
    }

    /// For `host[:port]` of a registry.
    pub(crate) fn of(&self, registry: &str) -> Option<&Login> {
        self.0.get(&registry_of(registry))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_file_is_read() {
        let text = br#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpwOnE="},"r:5000":{"username":"a","password":"b"},"helper":{}},"credsStore":"x"}"#;
        let read = Credentials::parse(text).unwrap();
        let hub = read.of("docker.io").unwrap();
        assert_eq!((hub.user.as_str(), hub.password.as_str()), ("u", "p:q"));
        assert_eq!(hub.basic(), "Basic dTpwOnE=");
        assert!(
            read.of("r:5000").is_some() && read.of("r").is_none() && read.of("helper").is_none()
        );
        assert!(
            Credentials::parse(br#"{"r":{"auth":"dTpw"}}"#)
                .unwrap()
                .of("r")
                .is_some()
        );
        assert!(!format!("{read:?}").contains("p:q"));
        for bad in [&b"nothing"[..], br#"{"auths":{"r":{"auth":"!"}}}"#, b"[]"] {
            assert!(Credentials::parse(bad).is_err());
        }
    }
}
