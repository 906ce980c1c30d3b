//! The tree of roles, with everybody in it ordered by dominant share.
//!
//! A role's frameworks together compete with its child roles as one leaf (its *own* leaf). Siblings are ordered by weighted share,
//! then by how often they were served, then by name. Two orders are kept: of all who are live, and of the *eager*, who have
//! just become willing; so that both walks are the same code and neither meets anyone in vain.

use super::api::{FrameworkCapabilities, FrameworkHandle};
use super::order::{Order, Rank};
use super::slab::Slab;
use std::collections::BTreeMap;
use tepui_model::resources::Name;
use tepui_model::{FrameworkId, Quantities, Role};

/// What competes within a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Child {
    /// The role's own frameworks, together.
    Own,
    /// A role below it.
    Role(u32),
}

/// A role.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) role: Role,
    pub(super) parent: Option<u32>,
    weight: f64,
    /// What the role and everything below it hold.
    held: Quantities,
    /// What its own frameworks hold.
    own_held: Quantities,
    served: u64,
    own_served: u64,
    place: Option<Rank<Role, Child>>,
    own_place: Option<Rank<Role, Child>>,
    /// Child roles and the own leaf.
    pub(super) children: Order<Role, Child>,
    /// Subscriptions to exactly this role.
    pub(super) subscriptions: Order<FrameworkId, u32>,
    /// Child roles, subscriptions, weight or quota: what keeps the node in the tree.
    users: u32,
}

/// A framework in a role.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) framework: FrameworkHandle,
    pub(super) role: Role,
    pub(super) node: u32,
    pub(super) capabilities: FrameworkCapabilities,
    pub(super) min_allocatable: Option<Vec<Quantities>>,
    /// The class of its constraints, if it has any.
    pub(super) constraints: Option<u32>,
    /// Raised to void all its refusals.
    pub(super) epoch: u32,
    /// How many refusals of this epoch are remembered.
    pub(super) refusals: u32,
    /// Whether the framework still lists the role.
    pub(super) subscribed: bool,
    pub(super) suppressed: bool,
    /// On how many agents it holds something.
    pub(super) agents: u32,
    name: FrameworkId,
    live: bool,
    eager: bool,
    held: Quantities,
    served: u64,
    place: Option<Rank<FrameworkId, u32>>,
}

impl Subscription {
    /// Whether it may get offers.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    pub(super) fn held(&self) -> &Quantities {
        &self.held
    }
}

/// The whole tree, with the cluster's total that shares are reckoned against.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Slab<Node>,
    subscriptions: Slab<Subscription>,
    by_role: BTreeMap<Role, u32>,
    root: u32,
    total: Quantities,
    /// The total that the present order was made with.
    reference: Quantities,
    eager: Vec<u32>,
    unshared_names: Vec<Name>,
    epochs: u32,
}

/// The order is made anew when an amount has moved by more than one part in so many since it was made. Between, shares are off by
/// less than that.
const DRIFT_PARTS: i64 = 64;

impl Tree {
    pub(super) fn new(unshared_names: Vec<Name>) -> Tree {
        let mut nodes = Slab::default();
        let (root, _) = nodes.insert(Node::new(Role::star(), None));
        Tree {
            nodes,
            subscriptions: Slab::default(),
            by_role: BTreeMap::new(),
            root,
            total: Quantities::new(),
            reference: Quantities::new(),
            eager: Vec::new(),
            unshared_names,
            epochs: 0,
        }
    }

    pub(super) fn root(&self) -> &Node {
        &self.nodes[self.root]
    }

    pub(super) fn node(&self, index: u32) -> &Node {
        &self.nodes[index]
    }

    pub(super) fn find_node(&self, role: &Role) -> Option<&Node> {
        self.by_role.get(role).map(|index| &self.nodes[*index])
    }

    pub(super) fn subscription(&self, index: u32) -> &Subscription {
        &self.subscriptions[index]
    }

    pub(super) fn subscription_mut(&mut self, index: u32) -> &mut Subscription {
        &mut self.subscriptions[index]
    }

    /// A subscription that may have gone.
    pub(super) fn get_subscription(&self, index: u32) -> Option<&Subscription> {
        self.subscriptions.get(index)
    }

    /// The node of a role, made with its ancestors if need be, with one user more.
    fn use_node(&mut self, role: &Role) -> u32 {
        if let Some(index) = self.by_role.get(role) {
            self.nodes[*index].users += 1;
            return *index;
        }
        // From the top down, so that no depth of input can exhaust the stack.
        let mut parent = self.root;
        let mut path: Vec<Role> = role.ancestors().collect();
        path.reverse();
        path.push(role.clone());
        for role in path {
            parent = match self.by_role.get(&role) {
                Some(index) => *index,
                None => {
                    let (index, _) = self.nodes.insert(Node::new(role.clone(), Some(parent)));
                    self.nodes[parent].users += 1;
                    self.by_role.insert(role, index);
                    index
                }
            };
        }
        self.nodes[parent].users += 1;
        parent
    }

    /// Takes one user away, and nodes that nobody uses.
    fn release_node(&mut self, index: u32) {
        let mut next = Some(index);
        while let Some(index) = next.filter(|index| *index != self.root) {
            let node = &mut self.nodes[index];
            node.users -= 1;
            if node.users > 0 {
                return;
            }
            next = node.parent;
            let role = node.role.clone();
            self.by_role.remove(&role);
            self.nodes.remove(index);
        }
    }

    /// Adds a framework in a role; not live yet.
    pub(super) fn subscribe(
        &mut self,
        framework: FrameworkHandle,
        name: &FrameworkId,
        role: &Role,
    ) -> u32 {
        let node = self.use_node(role);
        let epoch = self.next_epoch();
        let (index, _) = self.subscriptions.insert(Subscription {
            framework,
            role: role.clone(),
            node,
            capabilities: FrameworkCapabilities::default(),
            min_allocatable: None,
            constraints: None,
            epoch,
            refusals: 0,
            subscribed: false,
            suppressed: false,
            agents: 0,
            name: name.clone(),
            live: false,
            eager: false,
            held: Quantities::new(),
            served: 0,
            place: None,
        });
        index
    }

    /// Removes a subscription that holds nothing.
    pub(super) fn unsubscribe(&mut self, index: u32) {
        self.set_live(index, false);
        if let Some(subscription) = self.subscriptions.remove(index) {
            self.eager.retain(|other| *other != index);
            self.nodes[subscription.node].own_served -= subscription.served;
            let mut next = Some(subscription.node);
            while let Some(index) = next {
                self.nodes[index].served -= subscription.served;
                next = self.nodes[index].parent;
            }
            self.place_path(subscription.node);
            self.release_node(subscription.node);
        }
    }

    fn next_epoch(&mut self) -> u32 {
        self.epochs = self.epochs.wrapping_add(1);
        self.epochs
    }

    /// So many refusals of a subscription's epoch are forgotten; those of earlier ones do not count any more.
    pub(super) fn uncount_refusals(&mut self, index: u32, epoch: u32, count: u32) {
        if let Some(subscription) = self.subscriptions.get_mut(index)
            && subscription.epoch == epoch
        {
            subscription.refusals = subscription.refusals.saturating_sub(count);
        }
    }

    /// Every one, in no order.
    pub(super) fn all_subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions
            .indices()
            .filter_map(|index| self.subscriptions.get(index))
    }

    /// Voids all refusals of a subscription.
    pub(super) fn forget_refusals(&mut self, index: u32) {
        self.subscriptions[index].epoch = self.next_epoch();
        self.subscriptions[index].refusals = 0;
    }

    /// Puts a subscription into the orders or takes it out.
    pub(super) fn set_live(&mut self, index: u32, live: bool) {
        let subscription = &mut self.subscriptions[index];
        if subscription.live != live {
            subscription.live = live;
            self.place(index);
        }
    }

    /// Marks a live subscription as eager; returns whether it is live.
    pub(super) fn make_eager(&mut self, index: u32) -> bool {
        let subscription = &mut self.subscriptions[index];
        if subscription.live && !subscription.eager {
            subscription.eager = true;
            self.eager.push(index);
            self.place(index);
        }
        self.subscriptions[index].live
    }

    /// Marks every live subscription in `top` or below it as eager; returns whether there is any.
    pub(super) fn make_all_eager(&mut self, top: &str) -> bool {
        let all: Vec<u32> = self.subscriptions.indices().collect();
        let mut any = false;
        for index in all {
            any |= self.subscriptions[index].role.top() == top && self.make_eager(index);
        }
        any
    }

    /// Nobody is eager any more.
    pub(super) fn calm(&mut self) {
        for index in std::mem::take(&mut self.eager) {
            if let Some(subscription) = self.subscriptions.get_mut(index) {
                subscription.eager = false;
                self.place(index);
            }
        }
    }

    /// Books what a subscription got.
    pub(super) fn charge(&mut self, index: u32, amount: &Quantities) {
        self.book(index, |held| *held += amount, 1);
    }

    /// Books what a subscription gave back.
    pub(super) fn discharge(&mut self, index: u32, amount: &Quantities) {
        self.book(index, |held| *held -= amount, 0);
    }

    fn book(&mut self, index: u32, change: impl Fn(&mut Quantities), served: u64) {
        let subscription = &mut self.subscriptions[index];
        change(&mut subscription.held);
        subscription.served += served;
        let node = &mut self.nodes[subscription.node];
        change(&mut node.own_held);
        node.own_served += served;
        let mut next = Some(subscription.node);
        while let Some(index) = next {
            let node = &mut self.nodes[index];
            change(&mut node.held);
            node.served += served;
            next = node.parent;
        }
        self.place(index);
    }

    /// Sets a role's weight among its siblings.
    pub(super) fn set_weight(&mut self, role: &Role, weight: f64) {
        let index = self.use_node(role);
        let before = self.nodes[index].weight;
        self.nodes[index].weight = weight;
        match (before == 1.0, weight == 1.0) {
            (true, false) => self.nodes[index].users += 1,
            (false, true) => self.nodes[index].users -= 1,
            _ => {}
        }
        self.place_path(index);
        self.release_node(index);
    }

    /// The cluster has got more or less.
    pub(super) fn change_total(&mut self, before: &Quantities, after: &Quantities) {
        self.total -= before;
        self.total += after;
    }

    /// The share of what a subscription holds.
    pub(super) fn share(&self, index: u32) -> f64 {
        self.dominant(&self.subscriptions[index].held, &self.total)
    }

    fn dominant(&self, held: &Quantities, total: &Quantities) -> f64 {
        held.dominant_share(total, |name| !self.unshared_names.contains(name))
    }

    fn weighted(&self, held: &Quantities, weight: f64) -> u64 {
        (self.dominant(held, &self.reference) / weight).to_bits()
    }

    /// Makes the orders anew if the total has moved too far.
    pub(super) fn refresh(&mut self) {
        if self.total == self.reference || !drifted(&self.reference, &self.total) {
            return;
        }
        self.reference = self.total.clone();
        let all: Vec<u32> = self.subscriptions.indices().collect();
        for index in all {
            self.place_subscription(index);
        }
        let nodes: Vec<u32> = self.nodes.indices().collect();
        for index in nodes {
            self.place_node(index);
        }
    }

    /// Corrects the place of a subscription and of everything above it.
    fn place(&mut self, index: u32) {
        self.place_subscription(index);
        self.place_path(self.subscriptions[index].node);
    }

    fn place_subscription(&mut self, index: u32) {
        let share = self.weighted(&self.subscriptions[index].held, 1.0);
        let subscription = &mut self.subscriptions[index];
        let rank = subscription.live.then(|| Rank {
            share,
            served: subscription.served,
            name: subscription.name.clone(),
            item: index,
        });
        let eager = subscription.eager && subscription.live;
        self.nodes[subscription.node]
            .subscriptions
            .move_to(&mut subscription.place, rank, eager);
    }

    fn place_path(&mut self, node: u32) {
        let mut next = Some(node);
        while let Some(index) = next {
            self.place_node(index);
            next = self.nodes[index].parent;
        }
    }

    /// Corrects the places of a role's own leaf among its children and of the role among its siblings.
    fn place_node(&mut self, index: u32) {
        let own_share = self.weighted(&self.nodes[index].own_held, 1.0);
        let node = &mut self.nodes[index];
        let rank = (!node.subscriptions.live.is_empty()).then(|| Rank {
            share: own_share,
            served: node.own_served,
            name: node.role.clone(),
            item: Child::Own,
        });
        node.children.move_to(
            &mut node.own_place,
            rank,
            !node.subscriptions.eager.is_empty(),
        );

        let Some(parent) = node.parent else { return };
        let share = self.weighted(&self.nodes[index].held, self.nodes[index].weight);
        let node = &mut self.nodes[index];
        let rank = (!node.children.live.is_empty()).then(|| Rank {
            share,
            served: node.served,
            name: node.role.clone(),
            item: Child::Role(index),
        });
        let eager = !node.children.eager.is_empty();
        let mut place = node.place.take();
        self.nodes[parent].children.move_to(&mut place, rank, eager);
        self.nodes[index].place = place;
    }

    /// Sorts subscriptions as a walk through the tree would meet them; those that are not live are dropped.
    pub(super) fn sort(&self, subscriptions: &mut Vec<u32>) {
        subscriptions.retain(|index| {
            self.get_subscription(*index)
                .is_some_and(Subscription::is_live)
        });
        if subscriptions.len() > 1 {
            subscriptions.sort_by_cached_key(|index| {
                let subscription = &self.subscriptions[*index];
                let mut path = Vec::new();
                path.extend(self.nodes[subscription.node].own_place.as_ref());
                let mut next = Some(subscription.node);
                while let Some(node) = next {
                    path.extend(self.nodes[node].place.as_ref());
                    next = self.nodes[node].parent;
                }
                path.reverse();
                (path, subscription.place.as_ref())
            });
        }
    }

    /// What a role and everything below it hold.
    pub(super) fn held_in(&self, role: &Role) -> Quantities {
        self.find_node(role)
            .map_or_else(Quantities::new, |node| node.held.clone())
    }
}

impl Node {
    fn new(role: Role, parent: Option<u32>) -> Node {
        Node {
            role,
            parent,
            weight: 1.0,
            held: Quantities::new(),
            own_held: Quantities::new(),
            served: 0,
            own_served: 0,
            place: None,
            own_place: None,
            children: Order::new(),
            subscriptions: Order::new(),
            users: 0,
        }
    }
}

/// Whether any amount has moved by more than one part in [`DRIFT_PARTS`].
fn drifted(before: &Quantities, after: &Quantities) -> bool {
    let moved = |name: &Name| {
        let (before, after) = (
            before.get(name).thousandths(),
            after.get(name).thousandths(),
        );
        before.abs_diff(after) > (before / DRIFT_PARTS).unsigned_abs()
    };
    before
        .iter()
        .chain(after.iter())
        .any(|(name, _)| moved(&name))
}
