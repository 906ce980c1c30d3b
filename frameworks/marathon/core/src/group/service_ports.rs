//! Service ports: each 0 in a new or changed definition becomes a number of its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::definition::App;

/// Which numbers of the range are free, and how often the others are used.
#[derive(Debug)]
pub(crate) struct ServicePorts {
    min: u16,
    max: u16,
    free: BTreeSet<u16>,
    used: BTreeMap<u16, u32>,
}

impl ServicePorts {
    /// All numbers from `min` to `max` are free.
    pub(crate) fn new(min: u16, max: u16) -> Self {
        Self {
            min,
            max,
            free: (min..=max).collect(),
            used: BTreeMap::new(),
        }
    }

    /// Notes the ports of a definition that came to be.
    pub(crate) fn take(&mut self, app: &App) {
        for definition in app
            .port_definitions
            .iter()
            .filter(|definition| definition.port != 0)
        {
            *self.used.entry(definition.port).or_default() += 1;
            self.free.remove(&definition.port);
        }
    }

    /// Notes that a definition is no more.
    pub(crate) fn give_back(&mut self, app: &App) {
        for definition in &app.port_definitions {
            let Some(count) = self.used.get_mut(&definition.port) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                self.used.remove(&definition.port);
                if (self.min..=self.max).contains(&definition.port) {
                    self.free.insert(definition.port);
                }
            }
        }
    }

    /// Replaces zeros: first by ports of the old definition that the new one does not use, then by the lowest that no app uses.
    /// `fresh` are numbers assigned in the same change. False if there are none left.
    pub(crate) fn assign(
        &self,
        app: &mut App,
        old: Option<&App>,
        fresh: &mut BTreeSet<u16>,
    ) -> bool {
        let wanted: BTreeSet<u16> = app
            .port_definitions
            .iter()
            .map(|definition| definition.port)
            .collect();
        let range = self.min..=self.max;
        let reusable = old
            .into_iter()
            .flat_map(|app| &app.port_definitions)
            .map(|definition| definition.port);
        let mut reusable = reusable.filter(|port| range.contains(port) && !wanted.contains(port));
        for definition in app
            .port_definitions
            .iter_mut()
            .filter(|definition| definition.port == 0)
        {
            let lowest = || {
                self.free
                    .iter()
                    .copied()
                    .find(|port| !fresh.contains(port) && !wanted.contains(port))
            };
            let Some(port) = reusable.next().or_else(lowest) else {
                return false;
            };
            fresh.insert(port);
            definition.port = port;
        }
        true
    }
}
