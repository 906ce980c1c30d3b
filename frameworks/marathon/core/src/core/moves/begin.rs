//! Moves begin with an offer in hand.

use std::sync::Arc;

use super::{AIM, Asked, MAX_SEEN, Move, Scene, moved, plan::best};
use crate::{
    core::{Marathon, offers::Using},
    definition::App,
    ended::Cause,
    instance::Replaces,
    path::PathId,
    policy::Spot,
    view::Disruption,
};

impl Marathon {
    /// Shows offers to the apps that look, and begins the best move of each that may.
    pub(in crate::core) fn match_moves(&mut self, offers: &mut [Using]) {
        for id in self.looking.clone() {
            let Some(balance) = self.upkeeps.get_mut(&id).map(|one| &mut one.balance) else {
                continue;
            };
            for using in offers.iter() {
                if balance.seen.len() < MAX_SEEN {
                    balance
                        .seen
                        .insert(using.state.agent.id.clone(), using.state.offer.clone());
                }
            }
            let plans_only = balance.asked == Some(Asked::Plan)
                || balance.held.is_some()
                || !balance.aims.is_empty();
            let (Some(state), Some(app)) = (self.apps.get(&id), self.root.get(&id).cloned()) else {
                continue;
            };
            let (tally, wanted) = (state.tally, app.instances as usize);
            let calm = state.lock.is_none() && state.pairs.is_empty() && tally.leaving == 0;
            let calm = calm && tally.ready == wanted && tally.wanted == wanted;
            let mut instances = state.instances.iter();
            let killed =
                !self.kills.is_empty() && instances.any(|key| self.kills.contains_key(key));
            if plans_only || !calm || killed {
                continue;
            }
            for using in offers.iter_mut() {
                self.heed(&id, &mut using.state);
            }
            self.move_one(&id, &app, offers);
        }
    }

    /// How an app is spread, found out once while nothing of it changes.
    pub(super) fn scene(&mut self, id: &PathId, app: &Arc<App>) -> Option<Scene> {
        let policy = self.policies.get(id).cloned().unwrap_or_default();
        let changes = self.apps.get(id)?.changes;
        let kept = self.upkeeps.get_mut(id)?.balance.scene.take();
        let same = |one: &Scene| {
            one.changes == changes && Arc::ptr_eq(&one.app, app) && one.policy == policy
        };
        if let Some(kept) = kept.filter(same) {
            return Some(kept);
        }
        let survey = self.survey(id, app, &policy);
        let beside = survey.beside && survey.max_running > survey.wanted;
        let settings = policy.rebalance.clone().unwrap_or_default();
        let (spread, groups) = self.spread(id, app, &settings, None);
        Some(Scene {
            app: app.clone(),
            policy,
            changes,
            beside,
            may: beside || survey.available > survey.min_available,
            spread,
            groups,
        })
    }

    /// Begins the best move of an app onto one of these offers.
    pub(super) fn move_one(&mut self, id: &PathId, app: &Arc<App>, offers: &mut [Using]) {
        let Some(mut scene) = self.scene(id, app) else {
            return;
        };
        let chosen = self.choose_move(id, &mut scene, offers);
        let beside = scene.beside;
        if let Some(upkeep) = self.upkeeps.get_mut(id) {
            upkeep.balance.scene = Some(scene);
        }
        let Some((old, at, doing)) = chosen else {
            return;
        };
        let using = &mut offers[at];
        if beside {
            let replaces = Replaces {
                key: old,
                moves: true,
                leaves: false,
            };
            let key = self.create_replacement(app.clone(), replaces);
            if !self.launch(id, key, using, false) {
                // The offer would do, so what is wrong is with the app; `explain` says what. Another offer would be no better.
                self.retire(key, Cause::ScaledDown);
                self.move_failed(id);
                self.end_look(id);
                return;
            }
        } else {
            let aim = (using.state.agent.id.clone(), self.now + AIM);
            if let Some(upkeep) = self.upkeeps.get_mut(id) {
                upkeep.balance.aims.insert(old, aim);
            }
            self.take_away(id, old, Disruption::Move);
        }
        self.end_look(id);
        if let Some(upkeep) = self.upkeeps.get_mut(id) {
            upkeep.balance.doing = Some(doing);
        }
    }

    /// Which instance is moved, and to which of these offers: one that fits. Each offer is asked once at the most.
    pub(super) fn choose_move(
        &self,
        id: &PathId,
        scene: &mut Scene,
        offers: &[Using],
    ) -> Option<(u64, usize, Move)> {
        if !scene.may {
            return None;
        }
        let Scene {
            app,
            spread,
            groups,
            ..
        } = scene;
        // Whether shares are kept is for the spread to say, which knows what would leave its place.
        let placed = self.apps.get(id)?.placed.heedless_of_shares(app);
        let most = self.config.max_instances_per_offer.max(1);
        let spots = offers.iter().map(|using| spread.spot(&using.state.agent));
        let spots: Vec<Spot> = spots.collect();
        let agents = offers.iter().map(|using| &using.state.agent);
        let places = agents.zip(&spots).enumerate();
        let (from, at) = best(spread, groups, places, |at| {
            let using = &offers[at];
            using.launched < most && using.state.lacks(app, &placed, &self.config).is_empty()
        })?;
        let group = groups.get(&from)?;
        let old = self.first_to_go(app, group)?;
        let doing = moved(self.instance(old)?, &group.agent, &offers[at].state.agent);
        Some((old, at, doing))
    }
}
