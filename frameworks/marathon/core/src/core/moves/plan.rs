//! How an app is spread, and what would be moved from where to where.

use std::{collections::BTreeMap, sync::Arc};

use super::{Group, Groups, MAX_COMPARED, MAX_MOVES, Plan, moved};
use crate::{
    core::Marathon,
    definition::App,
    instance::{Agent, Goal, kill_order},
    matching::{Counted, OfferState, Placed},
    path::PathId,
    policy::{Gain, Rebalance, Spot, Spread},
};

impl Marathon {
    /// How an app is spread now, and on which agents; `without` leaves one instance out.
    pub(super) fn spread(
        &self,
        id: &PathId,
        app: &App,
        settings: &Rebalance,
        without: Option<u64>,
    ) -> (Spread, Groups) {
        let (mut spread, mut groups) = (Spread::new(app, settings), Groups::new());
        let instances = self
            .apps
            .get(id)
            .into_iter()
            .flat_map(|state| &state.instances);
        for instance in instances.filter_map(|key| self.instance(*key)) {
            let counts = instance.goal == Goal::Running
                && instance.condition.is_active()
                && without != Some(instance.key);
            if let Some(agent) = instance.agent.as_ref().filter(|_| counts) {
                let spot = spread.spot(agent);
                spread.change(&spot, true);
                let group = groups.entry(agent.id.clone());
                let group = group.or_insert_with(|| Group {
                    agent: agent.clone(),
                    spot,
                    keys: Vec::new(),
                });
                group.keys.push(instance.key);
            }
        }
        (spread, groups)
    }

    /// The instance of a group that is moved first.
    pub(super) fn first_to_go(&self, app: &App, group: &Group) -> Option<u64> {
        let instances = group.keys.iter().filter_map(|key| self.instance(*key));
        let first = kill_order(app, instances.collect(), 1);
        first.first().copied()
    }

    /// What would be moved one after another onto the agents that were seen.
    pub(super) fn plan_moves(&self, id: &PathId, app: &Arc<App>, settings: &Rebalance) -> Plan {
        let (mut spread, mut groups) = self.spread(id, app, settings, None);
        let seen = self.upkeeps.get(id).map(|one| &one.balance.seen);
        let offers = seen.into_iter().flat_map(BTreeMap::values);
        let mut places: Vec<(OfferState, Spot)> = offers
            .map(|offer| {
                let mut place = OfferState::new(
                    (**offer).clone(),
                    &self.config,
                    self.home_region.as_deref(),
                    self.now,
                );
                self.heed(id, &mut place);
                let spot = spread.spot(&place.agent);
                (place, spot)
            })
            .collect();
        let nothing = Placed::new(app);
        let mut placed = nothing.heedless_of_shares(app).into_owned();
        for group in groups.values() {
            let keys = group.keys.iter();
            keys.for_each(|_| placed.change(app, &group.agent, true, Counted::ForAll));
        }
        // What lacks something wherever the others are takes none later on either.
        let takes = |place: &OfferState| place.lacks(app, &nothing, &self.config).is_empty();
        let mut able: Vec<bool> = places.iter().map(|(place, _)| takes(place)).collect();
        let mut moves = Vec::new();
        while moves.len() < MAX_MOVES {
            let spots = places.iter().map(|(place, spot)| (&place.agent, spot));
            let spots = spots.enumerate().filter(|(at, _)| able[*at]);
            let fits = |at: usize| {
                let place = &places[at].0;
                place.lacks(app, &placed, &self.config).is_empty()
            };
            let Some((from, at)) = best(&spread, &groups, spots, fits) else {
                break;
            };
            let (place, there) = &mut places[at];
            if place.take(app, &placed, &self.config, 0).is_err() {
                able[at] = false;
                continue;
            }
            able[at] = takes(place);
            let Some(group) = groups.get_mut(&from) else {
                break;
            };
            let Some(key) = self.first_to_go(app, group) else {
                break;
            };
            let (here, to) = (group.agent.clone(), place.agent.clone());
            spread.change(&group.spot, false);
            spread.change(there, true);
            group.keys.retain(|one| *one != key);
            if group.keys.is_empty() {
                groups.remove(&from);
            }
            placed.change(app, &here, false, Counted::ForAll);
            placed.change(app, &to, true, Counted::ForAll);
            // What was just moved stays there.
            moves.extend(self.instance(key).map(|one| moved(one, &here, &to)));
        }
        let spots = places.iter().map(|(place, spot)| (&place.agent, spot));
        let better = best(&spread, &groups, spots.enumerate(), |_| true);
        let told = better.and_then(|(_, at)| {
            let place = &places[at].0;
            let lacks = place.lacks(app, &placed, &self.config);
            let lacks: Vec<String> = lacks.into_iter().map(|lack| lack.what).collect();
            let host = &place.agent.host;
            (!lacks.is_empty())
                .then(|| format!("; {host} would do, but lacks {}", lacks.join(", ")))
        });
        let first = if moves.is_empty() { "" } else { "after that " };
        let spread = spread.told();
        let spread = if spread.is_empty() {
            "no instance is placed".to_owned()
        } else {
            format!("spread: {first}{spread}")
        };
        let told = format!("{spread}{}", told.unwrap_or_default());
        Plan {
            at: self.stamp(),
            moves,
            told,
        }
    }
}

/// The move that gains the most: from which agent, to which of these places by its number. The first of equals. Of the emptiest that fit so
/// many are compared. All are put in order once, and each is asked once at the most whether it fits.
pub(super) fn best<'a>(
    spread: &Spread,
    groups: &Groups,
    places: impl Iterator<Item = (usize, (&'a Arc<Agent>, &'a Spot))>,
    mut fits: impl FnMut(usize) -> bool,
) -> Option<(Arc<str>, usize)> {
    let mut from: Vec<(Vec<u32>, &Group)> = groups
        .values()
        .map(|group| (spread.load(&group.spot), group))
        .collect();
    from.sort_by(|one, other| other.0.cmp(&one.0));
    from.truncate(MAX_COMPARED);
    let mut to: Vec<_> = places
        .map(|(at, (agent, spot))| (spread.load(spot), at, agent, spot))
        .collect();
    to.sort_by(|one, other| one.0.cmp(&other.0));
    let to = to.into_iter().filter(|(_, at, ..)| fits(*at));
    let to: Vec<_> = to.take(MAX_COMPARED).collect();
    let mut found: Option<(Gain, Arc<str>, usize)> = None;
    for (_, here) in from {
        for (_, at, agent, spot) in &to {
            let gain = spread.gain(&here.spot, spot);
            let Some(gain) = gain.filter(|_| here.agent.id != agent.id) else {
                continue;
            };
            if found.as_ref().is_none_or(|(most, ..)| gain > *most) {
                found = Some((gain, here.agent.id.clone(), *at));
            }
        }
    }
    found.map(|(_, from, at)| (from, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::tests::app;

    fn agent(at: usize) -> Arc<Agent> {
        Arc::new(Agent {
            id: format!("a{at}").into(),
            host: format!("h{at}").into(),
            region: None,
            zone: None,
            attributes: BTreeMap::new(),
        })
    }

    #[test]
    fn of_thousands_of_places_each_is_asked_once_and_the_one_that_fits_is_found() {
        let app = app(r#"{"id":"/a","cmd":"run"}"#);
        let mut spread = Spread::new(&app, &Rebalance::default());
        let mut groups = Groups::new();
        for at in 0..10 {
            let agent = agent(at);
            let spot = spread.spot(&agent);
            for _ in 0..3 {
                spread.change(&spot, true);
            }
            let group = Group {
                agent: agent.clone(),
                spot,
                keys: vec![1, 2, 3],
            };
            groups.insert(agent.id.clone(), group);
        }
        let agents: Vec<Arc<Agent>> = (10..10_010).map(agent).collect();
        let spots: Vec<Spot> = agents.iter().map(|agent| spread.spot(agent)).collect();
        for (fitting, want) in [
            (Some(7_777), Some(("a0".into(), 7_777))),
            (Some(9_999), Some(("a0".into(), 9_999))),
            (None, None),
        ] {
            let mut asked = BTreeMap::new();
            let places = agents.iter().zip(&spots).enumerate();
            let found = best(&spread, &groups, places, |at| {
                *asked.entry(at).or_insert(0) += 1;
                Some(at) == fitting
            });
            assert_eq!(found, want);
            assert_eq!(asked.len(), 10_000);
            assert!(asked.values().all(|times| *times == 1));
        }
        // Where all fit, only so many are asked as are compared.
        let mut asked = 0;
        let places = agents.iter().zip(&spots).enumerate();
        let found = best(&spread, &groups, places, |_| {
            asked += 1;
            true
        });
        assert_eq!((found, asked), (Some(("a0".into(), 0)), MAX_COMPARED));
    }
}
