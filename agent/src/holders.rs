//! What the tasks of a group share: a container of their executor's name that runs nothing and holds it.
//!
//! An executor that the agent plays has no process. Where its tasks share something (cgroups, IPC, processes), the first of them to come has the
//! holder launched, and all of them are inside of it; it goes when the executor does. Its limits are what the executor and all of its tasks may
//! use together. Tasks that share nothing need none.
//!
//! Bounds: one note for each executor that has one, until the executor goes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tepui_agent_core::{Launch, Limits as Wanted};
use tepui_model::ContainerId as CoreId;

use crate::containerizer::{
    Command, ContainerId, Containerizer, LaunchSpec, Limits, Namespaces, SharedMemory, Within,
};
use crate::sharing::{DEFAULT_SHM_BYTES, Ipc, Sharing};
use crate::spec::{HasCommand, Surroundings, limits_in};

/// The holders that are there, or are wanted.
#[derive(Clone, Default)]
pub(crate) struct Holders(Arc<Mutex<HashMap<CoreId, Holder>>>);

#[derive(Default)]
struct Holder {
    /// What it is to be given, by the last that was heard.
    wanted: Wanted,
    /// Held while it is being launched.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// How a task of a group is inside of the holder.
pub(crate) struct Place {
    within: Within,
    sharing: Sharing,
}

/// What the task of a group shares; `None` if it is not in one, or stands for itself.
fn wish(launch: &Launch) -> Result<Option<(CoreId, Sharing, bool)>, String> {
    let Some(executor) = launch.container.parent() else {
        return Ok(None);
    };
    let info = launch.container_info();
    let sharing = Sharing::read(info)?;
    let linux = info.and_then(|info| info.linux_info.as_ref());
    let cgroups = linux.is_none_or(|linux| linux.share_cgroups());
    let alone = !cgroups && !sharing.processes && matches!(sharing.ipc, Ipc::Private(_));
    Ok((!alone).then(|| (executor.clone(), sharing, cgroups)))
}

impl Holders {
    /// Notes what an executor and its tasks may use together. In the order in which it is decided.
    pub(crate) fn want(&self, executor: &CoreId, wanted: Wanted) {
        self.0.lock().entry(executor.clone()).or_default().wanted = wanted;
    }

    /// The same, if the executor has a holder or is about to have one.
    pub(crate) fn resized(&self, executor: &CoreId, wanted: Wanted) {
        if let Some(holder) = self.0.lock().get_mut(executor) {
            holder.wanted = wanted;
        }
    }

    /// The executor is gone.
    pub(crate) fn forget(&self, executor: &CoreId) {
        self.0.lock().remove(executor);
    }

    fn wanted(&self, executor: &CoreId) -> Option<Wanted> {
        self.0.lock().get(executor).map(|holder| holder.wanted)
    }

    /// Where a task that is to be launched belongs, with its holder up; `None` if it needs none. `sandbox`: the executor's.
    pub(crate) async fn place(
        &self,
        containerizer: &Containerizer,
        surroundings: &Surroundings,
        launch: &Launch,
        sandbox: &Path,
    ) -> Result<Option<Place>, String> {
        let Some((executor, sharing, cgroups)) = wish(launch)? else {
            return Ok(None);
        };
        let id = ContainerId::new(executor.to_string()).map_err(|error| error.to_string())?;
        let turn = {
            let mut holders = self.0.lock();
            Arc::clone(&holders.entry(executor.clone()).or_default().turn)
        };
        let _turn = turn.lock().await;
        let failed =
            |error: String| format!("what the tasks of its executor share cannot be had: {error}");
        let given = if containerizer.is_known(&id) {
            None
        } else {
            let wanted = self.wanted(&executor).unwrap_or_default();
            let spec = holder(surroundings, launch, id.clone(), wanted, sandbox).map_err(failed)?;
            let launched = containerizer.launch(spec).await;
            launched.map_err(|error| failed(error.to_string()))?;
            Some(wanted)
        };
        let started = containerizer.started(&id).await;
        started.map_err(|error| failed(error.to_string()))?;
        // What was decided while it could not be told yet.
        if let (Some(given), Some(wanted)) = (given, self.wanted(&executor))
            && given != wanted
            && let Err(error) = containerizer.update(&id, &limits_in(wanted, &surroundings.config))
        {
            tracing::debug!("cannot resize container {id}: {error}");
        }
        Ok(Some(Place {
            within: Within {
                parent: id,
                name: launch.container.value().to_owned(),
                cgroups,
                inherit: false,
            },
            sharing,
        }))
    }
}

/// The container that holds what the tasks of an executor share.
fn holder(
    surroundings: &Surroundings,
    launch: &Launch,
    id: ContainerId,
    wanted: Wanted,
    sandbox: &Path,
) -> Result<LaunchSpec, String> {
    let config = &surroundings.config;
    let mut spec = LaunchSpec::new(id, Command::Hold, sandbox);
    spec.limits = limits_in(wanted, config);
    // Whoever is put inside and says nothing of a user is who the framework's tasks are.
    spec.user = surroundings.switched(&launch.framework.user);
    // Networks and host names are the tasks' own, or joined by each of them.
    spec.namespaces = Namespaces {
        pid: true,
        ipc: true,
        ..Namespaces::NONE
    };
    let sharing = Sharing::read(launch.executor.container.as_deref())?;
    sharing.with_agent(&mut spec, &config.isolation)?;
    if config.isolation.disallow_sharing_agent_ipc && spec.shm == SharedMemory::Usual {
        // Its tasks may share what it has, which must not be the machine's then.
        spec.shm = SharedMemory::Own(DEFAULT_SHM_BYTES);
    }
    // Memory of its own is mounted where no other sees it.
    spec.namespaces.mount = matches!(spec.shm, SharedMemory::Own(_));
    Ok(spec)
}

impl Place {
    /// Puts a task there. Of one that shares cgroups the holder limits what it uses; its cpus still count against the others'.
    pub(crate) fn take(self, spec: &mut LaunchSpec) {
        let own = spec.namespaces;
        self.sharing.with_parent(spec);
        // As without a holder: those of tasks that are on networks together have one name, and others have their own.
        spec.namespaces.uts = own.uts;
        spec.namespaces.network = own.network;
        if self.within.cgroups {
            spec.limits = Limits {
                cpu_millis: spec.limits.cpu_millis,
                low_priority: spec.limits.low_priority,
                processes: spec.limits.processes,
                ..Limits::default()
            };
        }
        spec.within = Some(self.within);
    }
}
