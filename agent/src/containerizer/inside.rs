//! A container inside another one: what it is given of it.
//!
//! Its cgroups are below the other's, so that the other's limits hold for both together, unless it is to have its own beside. It never has more
//! capabilities. Of the other's namespaces it is in all that it does not have itself; its own processes are always among the other's, so that they
//! end with them. A root of its own begins at the host's mounts, not at the other's.

use super::error::ContainerizerError;
use super::isolators::cgroups::Placement;
use super::record::{self, LaunchRecord};
use super::recovery::runtime_error;
use super::spec::{ContainerId, Limits, Namespaces, Seal, Within};
use super::{Confinement, Inner};
use crate::supervisor::message::{Joined, Program, Standing};

/// What a container inside another one is given.
pub(super) struct Inside {
    pub(super) joined: Joined,
    /// Those that are made for it.
    pub(super) made: Namespaces,
    /// Below the other's; `None`: beside.
    pub(super) placed: Option<(Placement, Standing)>,
    /// The other has mounts of its own.
    pub(super) joined_mounts: bool,
    pub(super) confinement: Confinement,
    /// What the other runs, if that is to be gone by.
    pub(super) program: Option<Program>,
}

impl Inner {
    /// What a container with these wishes is given of the one that it is to be inside of, which must be running.
    pub(super) fn inside(
        &self,
        within: &Within,
        wanted: Namespaces,
        capabilities: Option<u64>,
        seal: Seal,
        limits: &Limits,
    ) -> Result<Inside, ContainerizerError> {
        let (placement, parent, running) = self.running(&within.parent)?;
        let below = within.cgroups;
        if below && *limits != Limits::default() && !placement.can_limit_within() {
            return Err(ContainerizerError::LimitsWithin(within.parent.clone()));
        }
        let made = self.capabilities.effective(wanted);
        let made = Namespaces {
            user: made.user && !parent.namespaces.user,
            ..made
        };
        let joined = join(parent.namespaces, made);
        let program = if within.inherit {
            self.program(&within.parent)?
        } else {
            None
        };
        Ok(Inside {
            joined: Joined {
                init: running.init,
                namespaces: joined,
            },
            made,
            placed: below.then(|| {
                let standing = if placement.holds {
                    Standing::Member
                } else {
                    Standing::Inside
                };
                (placement.within(&within.name), standing)
            }),
            joined_mounts: parent.namespaces.mount,
            confinement: Confinement {
                namespaces: joined.or(made),
                capabilities: match (capabilities, parent.capabilities) {
                    (Some(own), Some(parents)) => Some(own & parents),
                    (own, parents) => own.or(parents),
                },
                seal: Seal {
                    // Whoever is inside may never make calls that the container may not.
                    filter: parent.seal.filter.or(seal.filter),
                    no_new_privileges: seal.no_new_privileges || parent.seal.no_new_privileges,
                },
            },
            program,
        })
    }
}

impl Inner {
    /// What a container runs; `None` if an older version has launched it.
    pub(super) fn program(
        &self,
        container: &ContainerId,
    ) -> Result<Option<Program>, ContainerizerError> {
        let directory = record::directory(&self.config.runtime_dir, container.as_str());
        let launch = record::read::<LaunchRecord>(&directory, record::LAUNCH_FILE)
            .map_err(runtime_error("read", &directory))?;
        Ok(launch.and_then(|launch| launch.program))
    }
}

/// Which of the parent's namespaces are entered, by a container that has some of its own.
fn join(parents: Namespaces, made: Namespaces) -> Namespaces {
    Namespaces {
        // Also where it has its own, which then is below the parent's.
        pid: parents.pid,
        user: parents.user,
        ..parents.without(made)
    }
}

/// What a program is run with that goes by another's: `own` variables go before.
pub(super) fn inherit(program: &mut Program, own_user: bool, parent: Program) {
    let own = std::mem::take(&mut program.environment);
    program.environment = parent
        .environment
        .into_iter()
        .filter(|(name, _)| !own.iter().any(|(other, _)| other == name))
        .chain(own.iter().cloned())
        .collect();
    program.working_directory = parent.working_directory;
    program.on_host = parent.on_host;
    program.rlimits = parent.rlimits;
    if !own_user {
        program.credentials = parent.credentials;
        program.named_inside = parent.named_inside;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containerizer::Command;
    use crate::supervisor::message::Credentials;

    #[test]
    fn what_is_not_its_own_is_its_parents() {
        let parents = Namespaces {
            network: true,
            ..Namespaces::default()
        };
        let own = Namespaces {
            pid: true,
            mount: true,
            ..Namespaces::NONE
        };
        let expected = Namespaces {
            mount: false,
            ..parents
        };
        assert_eq!(join(parents, own), expected);
        assert_eq!(join(parents, Namespaces::NONE), parents);
        assert_eq!(join(Namespaces::NONE, own), Namespaces::NONE);
    }

    #[test]
    fn a_program_goes_by_its_parents() {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let parent = Program {
            command: Command::Shell("sleep".to_owned()),
            environment: vec![variable("A", "1"), variable("B", "2")],
            working_directory: "/there".into(),
            on_host: true,
            credentials: Some(Credentials {
                uid: 1,
                gid: 2,
                groups: vec![2],
            }),
            named_inside: None,
            rlimits: Vec::new(),
            seal: Seal::default(),
        };
        let mut program = Program {
            command: Command::Shell("true".to_owned()),
            environment: vec![variable("B", "3")],
            working_directory: "/".into(),
            on_host: false,
            credentials: None,
            named_inside: None,
            rlimits: Vec::new(),
            seal: Seal::default(),
        };
        inherit(&mut program, true, parent.clone());
        assert_eq!(
            program.environment,
            [variable("A", "1"), variable("B", "3")]
        );
        assert_eq!(program.credentials, None, "its own user is root");
        inherit(&mut program, false, parent.clone());
        assert_eq!(program.credentials, parent.credentials);
        assert_eq!(program.working_directory, parent.working_directory);
        assert!(program.on_host);
        assert_eq!(program.command, Command::Shell("true".to_owned()));
    }
}
