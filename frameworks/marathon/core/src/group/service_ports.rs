//! Service ports: each 0 in a new or changed definition becomes a number of its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::definition::App;

/// Numbers assigned in the course of one change, which may be of thousands of apps.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    ports: BTreeSet<u16>,
    /// No number below this is free and not among them.
    start: u16,
}

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
        for port in app.service_ports().into_iter().filter(|port| *port != 0) {
            *self.used.entry(port).or_default() += 1;
            self.free.remove(&port);
        }
    }

    /// Notes that a definition is no more.
    pub(crate) fn give_back(&mut self, app: &App) {
        for port in app.service_ports() {
            let Some(count) = self.used.get_mut(&port) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                self.used.remove(&port);
                if (self.min..=self.max).contains(&port) {
                    self.free.insert(port);
                }
            }
        }
    }

    /// Replaces zeros: first by ports of the old definition that the new one does not use, then by the lowest that no app uses.
    /// `fresh` are numbers assigned in the same change. False if there are none left.
    pub(crate) fn assign(&self, app: &mut App, old: Option<&App>, fresh: &mut Fresh) -> bool {
        let wanted: BTreeSet<u16> = app.service_ports().into_iter().collect();
        let range = self.min..=self.max;
        let reusable = old.into_iter().flat_map(App::service_ports);
        let mut reusable = reusable.filter(|port| range.contains(port) && !wanted.contains(port));
        for service_port in app.service_ports_mut().filter(|port| **port == 0) {
            let port = reusable.next().or_else(|| {
                let free = self.free.range(fresh.start..).copied();
                let mut free = free.filter(|port| !fresh.ports.contains(port)).peekable();
                fresh.start = free.peek().copied().unwrap_or(fresh.start);
                free.find(|port| !wanted.contains(port))
            });
            let Some(port) = port else {
                return false;
            };
            fresh.ports.insert(port);
            *service_port = port;
        }
        true
    }
}
