//! From a specification to a request for the launcher: what it shares with another container, what it is confined to, its devices, its record.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block_io::BlockIo;
use super::devices::{Devices, Gpus};
use super::isolators::cgroups::{Controller, Placement};
use super::record::{self, Durability};
use super::recovery::runtime_error;
use super::spec::{Command, Cpuset, LaunchSpec, Seal, SharedMemory};
use super::streams::{Held, Hold};
use super::{
    Confinement, ContainerId, Containerizer, ContainerizerError, Entry, Inner, Lifetime, State,
    inside, launcher, user, watch,
};
use crate::supervisor::message::{Launch, Program, RequestKind, Standing, Streams};

/// What decides which cgroups a container has.
struct Wishes<'a> {
    /// It is there for those inside.
    holds: bool,
    cpuset: &'a Cpuset,
    block_io: &'a BlockIo,
    devices: Option<&'a Devices>,
}

impl Inner {
    /// The cgroups of a container that are beside all others'.
    fn alone(
        &self,
        container: &ContainerId,
        wishes: &Wishes<'_>,
    ) -> Result<Placement, ContainerizerError> {
        let placement = self.layout.place(container.as_str());
        if wishes.holds {
            // Those inside may want to be kept from devices.
            let placement = placement.without(Controller::Cpuset).holding();
            return Ok(self.measured(placement));
        }
        self.as_wished(placement, container, wishes)
    }

    fn measured(&self, placement: Placement) -> Placement {
        if self.config.measure_block_io {
            placement
        } else {
            placement.without(Controller::BlockIo)
        }
    }

    /// Those of the cgroups that the container needs.
    fn as_wished(
        &self,
        placement: Placement,
        container: &ContainerId,
        wishes: &Wishes<'_>,
    ) -> Result<Placement, ContainerizerError> {
        let placement = if *wishes.cpuset == Cpuset::default() {
            placement.without(Controller::Cpuset)
        } else if placement.has(Controller::Cpuset) {
            placement
        } else {
            return Err(ContainerizerError::Cpuset(container.clone()));
        };
        let limited = *wishes.block_io != BlockIo::default();
        if limited && !placement.has(Controller::BlockIo) {
            return Err(ContainerizerError::BlockIo(container.clone()));
        }
        let placement = if limited {
            placement
        } else {
            self.measured(placement)
        };
        match wishes.devices {
            None => Ok(placement.without(Controller::Devices)),
            Some(devices) if devices.must && !self.capabilities.devices => {
                Err(ContainerizerError::Devices(container.clone()))
            }
            Some(_) => Ok(placement),
        }
    }
}

impl Containerizer {
    /// Hands the container over to the launcher. `Ok` means that exactly one `Exited` (of reason `LaunchFailed` if it never ran) will
    /// come, after one `Started` if it did run.
    pub async fn launch(&self, spec: LaunchSpec) -> Result<(), ContainerizerError> {
        let streams = spec.terminal.map_or(Streams::Files, Streams::Kept);
        self.launch_with(spec, streams, Vec::new()).await
    }

    /// The same of a container whose standard input, output and error the caller holds; the spec's `stdout`, `stderr` and `terminal` are not used.
    pub async fn launch_held(
        &self,
        spec: LaunchSpec,
        hold: Hold,
    ) -> Result<Held, ContainerizerError> {
        let made = hold.make();
        let (streams, theirs, held) = made.map_err(|source| ContainerizerError::Launcher {
            action: "make the container's streams",
            source,
        })?;
        self.launch_with(spec, streams, theirs).await?;
        Ok(held)
    }

    async fn launch_with(
        &self,
        mut spec: LaunchSpec,
        streams: Streams,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), ContainerizerError> {
        let own_user = spec.user.is_some();
        let credentials = user::resolve(spec.user).await?;
        let container = spec.container;
        let record = record::directory(&self.inner.config.runtime_dir, container.as_str());
        let mut program = Program {
            command: spec.command,
            environment: spec.environment,
            working_directory: spec.sandbox,
            on_host: spec.root.is_none(),
            credentials,
            named_inside: spec.root.as_ref().and_then(|root| root.user.clone()),
            rlimits: spec.rlimits,
            seal: Seal::default(),
        };
        if spec.gpus.is_some() {
            spec.devices.get_or_insert_default();
        }
        let wishes = Wishes {
            holds: program.command == Command::Hold,
            cpuset: &spec.cpuset,
            block_io: &spec.block_io,
            devices: spec.devices.as_ref(),
        };
        let (namespaces, joined, (placement, standing), confinement) = match &spec.within {
            None => {
                let namespaces = self.inner.capabilities.effective(spec.namespaces);
                let confinement = Confinement {
                    namespaces,
                    capabilities: spec.capabilities,
                    seal: spec.seal,
                };
                if spec.shm == SharedMemory::Parents {
                    spec.shm = SharedMemory::Hosts;
                }
                let placement = self.inner.alone(&container, &wishes)?;
                let placed = (placement, Standing::Alone);
                (namespaces, None, placed, confinement)
            }
            Some(within) => {
                let inside = self.inner.inside(
                    within,
                    spec.namespaces,
                    spec.capabilities,
                    spec.seal,
                    &spec.limits,
                )?;
                if let Some(parent) = inside.program {
                    inside::inherit(&mut program, own_user, parent);
                }
                if spec.shm == SharedMemory::Parents && !inside.joined_mounts {
                    spec.shm = SharedMemory::Hosts;
                }
                let placed = match inside.placed {
                    Some((placement, Standing::Member)) => {
                        let placement = self.inner.as_wished(placement, &container, &wishes)?;
                        (placement, Standing::Member)
                    }
                    Some(placed) => placed,
                    None => (self.inner.alone(&container, &wishes)?, Standing::Alone),
                };
                (inside.made, Some(inside.joined), placed, inside.confinement)
            }
        };
        program.seal.clone_from(&confinement.seal);
        let capabilities = confinement.capabilities;
        let inside = spec.within.map(|within| within.parent);
        let entry = Entry {
            placement: placement.clone(),
            confinement,
            inside: inside.clone(),
            holds: program.command == Command::Hold,
            ..Entry::new(State::Launching { orders: Vec::new() })
        };
        self.insert(&container, entry)?;
        let gpus = match &spec.gpus {
            None => Vec::new(),
            Some(gpus) => self
                .take_gpus(&container, gpus, spec.devices.get_or_insert_default())
                .inspect_err(|_| drop(self.inner.containers.lock().remove(&container)))?,
        };
        let launch = Launch {
            record: record.clone(),
            boot_id: self.inner.boot_id.clone(),
            ephemeral: spec.ephemeral || self.inner.config.lifetime == Lifetime::Ephemeral,
            namespaces,
            joined,
            inside,
            standing,
            shm: spec.shm,
            hostname: spec.hostname,
            network: spec.network,
            mounts: spec.mounts,
            volumes: spec.volumes,
            capabilities,
            devices: spec.devices,
            cpuset: spec.cpuset,
            block_io: spec.block_io,
            oom_score_adj: spec.oom_score_adj,
            gpus,
            placement,
            limits: spec.limits,
            program,
            root: spec.root,
            stdout: spec.stdout,
            stderr: spec.stderr,
            streams,
        };
        let handed_over = self.hand_over(&launch, spec.note, &container, &descriptors);
        match handed_over.await {
            Ok(reports) => {
                self.watch(watch::follow_launch(
                    Arc::clone(&self.inner),
                    container,
                    reports,
                ));
                Ok(())
            }
            Err(error) => {
                self.inner.containers.lock().remove(&container);
                Err(error)
            }
        }
    }

    /// Gives a container that has an entry its GPUs.
    fn take_gpus(
        &self,
        container: &ContainerId,
        gpus: &Gpus,
        devices: &mut Devices,
    ) -> Result<Vec<PathBuf>, ContainerizerError> {
        let failed = |why| ContainerizerError::Gpus {
            container: container.clone(),
            why,
        };
        let mut containers = self.inner.containers.lock();
        // One that has ended uses none, whether it is cleared away yet or not.
        let others = containers
            .values()
            .filter(|entry| !matches!(entry.state, State::Ended))
            .flat_map(|entry| &entry.gpus);
        let taken: Vec<&Path> = others.map(PathBuf::as_path).collect();
        let chosen = gpus.choose(&taken).ok_or_else(|| {
            let Gpus { wanted, all, .. } = gpus;
            failed(format!(
                "{wanted} GPUs are wanted; of the {} of this machine {} are in use",
                all.len(),
                taken.len()
            ))
        })?;
        gpus.allow(&chosen, devices).map_err(failed)?;
        if let Some(entry) = containers.get_mut(container) {
            entry.gpus.clone_from(&chosen);
        }
        Ok(chosen)
    }

    /// Makes the record's directory and sends the request.
    async fn hand_over(
        &self,
        launch: &Launch,
        note: Option<String>,
        container: &ContainerId,
        descriptors: &[OwnedFd],
    ) -> Result<launcher::Reports, ContainerizerError> {
        let directory = &launch.record;
        match std::fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(ContainerizerError::Exists(container.clone()));
            }
            made => made.map_err(runtime_error("create", directory))?,
        }
        let noted = note.map_or(Ok(()), |note| {
            record::write(directory, record::NOTE_FILE, &note, Durability::Process)
        });
        let requested = match noted {
            Ok(()) => {
                let launcher = &self.inner.launcher;
                let fds: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                launcher.request(RequestKind::Launch, launch, &fds).await
            }
            Err(error) => Err(runtime_error("write into", directory)(error)),
        };
        if requested.is_err() {
            // Nobody has heard of it: there is nothing in it but the note.
            let _ = std::fs::remove_dir_all(directory);
        }
        requested
    }
}
