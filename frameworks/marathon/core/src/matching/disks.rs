//! Disks for persistent volumes.
//!
//! A volume of type `root` is a part of the agent's own disk, of type `path` a part of another, of type `mount` the whole of another, the
//! smallest that is large enough. The largest volumes choose first. A disk with a profile is used by those alone that ask for it.

use regex::Regex;
use tepui_model::resources::Scalar;
use tepui_proto::mesos::{
    Resource,
    resource::disk_info::{Source, source},
    value,
};

use super::pool::{Pool, is_labelled, role};
use crate::definition::{App, DiskKind, Operator, PersistentVolume};

/// A disk beside the agent's own that nobody has reserved.
#[derive(Debug)]
pub(crate) struct Disk {
    /// Without amount.
    form: Resource,
    left: Scalar,
    kind: DiskKind,
    root: String,
    profile: Option<String>,
}

/// Which disk a volume gets, and how much of it; none for one on the agent's own.
pub(super) type Found = Vec<Option<(usize, Scalar)>>;

impl Disk {
    pub(super) fn new(resource: &Resource) -> Option<Self> {
        let info = resource.disk.as_ref()?;
        let source: &Source = info.source.as_ref()?;
        let free = info.persistence.is_none()
            && role(resource) == "*"
            && !is_labelled(resource)
            && resource.shared.is_none()
            && resource.revocable.is_none();
        let (kind, root) = match source.r#type() {
            source::Type::Path => (DiskKind::Path, source.path.as_ref()?.root.clone()),
            source::Type::Mount => (DiskKind::Mount, source.mount.as_ref()?.root.clone()),
            _ => return None,
        };
        let left = Scalar::from_f64(resource.scalar.as_ref()?.value)?;
        free.then(|| Self {
            form: Resource {
                scalar: None,
                ..resource.clone()
            },
            left,
            kind,
            root: root.unwrap_or_default(),
            profile: source.profile.clone(),
        })
    }

    fn suits(&self, volume: &PersistentVolume) -> bool {
        let path = |constraint: &crate::definition::Constraint| {
            let pattern = constraint.value.as_deref().unwrap_or_default();
            // Compiled here because such volumes are few, and only ever chosen once.
            let matches = Regex::new(&format!("^(?:{pattern})$"))
                .is_ok_and(|regex| regex.is_match(&self.root));
            matches == (constraint.operator == Operator::Like)
        };
        self.kind == volume.kind
            && self.profile == volume.profile_name
            && volume.constraints.iter().all(path)
    }
}

/// How much of the agent's own disk the volumes of an instance need.
pub(super) fn on_root(app: &App) -> Scalar {
    let volumes = app.persistent_volumes().map(|(_, volume)| volume);
    let volumes = volumes.filter(|volume| volume.kind == DiskKind::Root);
    volumes.fold(Scalar::ZERO, |sum, volume| sum + size(volume.size))
}

/// MiB are far below the bound of scalars; what is not is never there.
fn size(mib: u64) -> Scalar {
    let thousandths = i64::try_from(mib)
        .ok()
        .and_then(|mib| mib.checked_mul(1000));
    // Half of the bound, so that a sum stays within it.
    Scalar::from_thousandths(thousandths.unwrap_or(i64::MAX).min(i64::MAX / 1024))
}

impl Pool {
    /// A disk for each volume that is not on the agent's own; none if there are not enough.
    pub(super) fn find_disks(&self, app: &App) -> Option<Found> {
        let volumes: Vec<&PersistentVolume> =
            app.persistent_volumes().map(|(_, volume)| volume).collect();
        let mut found: Found = vec![None; volumes.len()];
        let mut left: Vec<Scalar> = self.disks.iter().map(|disk| disk.left).collect();
        let mut order: Vec<usize> = (0..volumes.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(volumes[*at].size));
        for at in order {
            let volume = volumes[at];
            let wanted = size(volume.size);
            let fits = |disk: &usize| {
                let whole = volume.kind != DiskKind::Mount || {
                    let most = volume.max_size.map(size);
                    left[*disk] == self.disks[*disk].left
                        && most.is_none_or(|most| left[*disk] <= most)
                };
                left[*disk] >= wanted && whole && self.disks[*disk].suits(volume)
            };
            let fitting = (0..self.disks.len()).filter(fits);
            let chosen = match volume.kind {
                DiskKind::Root => continue,
                DiskKind::Path => fitting.max_by_key(|disk| left[*disk]),
                DiskKind::Mount => fitting.min_by_key(|disk| left[*disk]),
            }?;
            let amount = match volume.kind {
                DiskKind::Mount => left[chosen],
                _ => wanted,
            };
            left[chosen] -= amount;
            found[at] = Some((chosen, amount));
        }
        Some(found)
    }

    /// Cuts what was found out; it must be there, as must what the agent's own disk has to give in one piece.
    pub(super) fn take_disks(
        &mut self,
        app: &App,
        found: &Found,
        accepted: impl Fn(&str) -> bool,
    ) -> Vec<Resource> {
        let mut taken = Vec::new();
        for ((_, volume), place) in app.persistent_volumes().zip(found) {
            match place {
                None => taken.extend(self.take_whole("disk", size(volume.size), &accepted)),
                Some((disk, amount)) => {
                    let disk = &mut self.disks[*disk];
                    disk.left -= *amount;
                    taken.push(Resource {
                        scalar: Some(value::Scalar {
                            value: amount.as_f64(),
                        }),
                        ..disk.form.clone()
                    });
                }
            }
        }
        taken
    }
}
