//! What a run is made of: how many of each, how long, and which faults how often. Drawn from the seed, or given.

use std::time::Duration;

use crate::random::Random;

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Machines, each with an agent.
    pub agents: usize,
    /// Schedulers.
    pub frameworks: usize,
    /// Tasks that each framework launches, at most.
    pub tasks_per_framework: usize,
    /// Faults happen, and tasks are launched, for so long; then the cluster is left in peace.
    pub trouble: Duration,
    /// A fault about that often.
    pub fault_every: Duration,
    /// A message takes at most so long when nothing is wrong, in milliseconds.
    pub latency_ms: u64,
    /// Writes to the registry that fail in times of trouble, in percent.
    pub failing_stores_percent: u32,
    /// Acknowledgements that frameworks forget to send in times of trouble, in percent.
    pub lost_acknowledgements_percent: u32,
    /// How likely each fault is, compared to the others.
    pub faults: Vec<(Fault, u32)>,
    /// Operators do something about that often; `None`: there are none.
    pub deed_every: Option<Duration>,
    /// How likely each of operators' deeds is, compared to the others.
    pub deeds: Vec<(Deed, u32)>,
    /// Offers on which a framework reserves, makes volumes or undoes that, in percent.
    pub operations_percent: u32,
    /// Offers on which a framework launches a task group instead of tasks, in percent.
    pub groups_percent: u32,
    /// Subscriptions and changes of wishes that come with offer constraints, in percent.
    pub constraints_percent: u32,
    /// Whims that change a framework's roles and constraints, in percent.
    pub updates_percent: u32,
    /// Agents oversubscribe, and frameworks borrow.
    pub lends: bool,
    /// Marathon is there.
    pub marathon: bool,
    /// Users ask Marathon for something about that often.
    pub ask_every: Duration,
    /// So many of the known apps are asked for, from this one on.
    pub apps: usize,
    /// Which of the known apps is the first.
    pub first_app: usize,
    /// Marathon's time-outs are short.
    pub hasty: bool,
    /// A promise that the world breaks, to show that the checks find it.
    pub sabotage: Option<Sabotage>,
}

/// Promises of the world that a run may break on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Terminal updates are lost on streams that do not break.
    LosesTerminalUpdates,
    /// A crash of an agent's process also takes the newer half of its journal.
    TearsJournals,
    /// Machines have half of what their agents tell.
    ShrinksMachines,
    /// Frameworks are told of another reservation than there is.
    MislabelsReservations,
    /// Limits are half of what operators set.
    HalvesLimits,
    /// The store forgets quota, weights and maintenance when a leader goes.
    ForgetsPolicy,
    /// The store forgets who is gone when a leader goes.
    ForgetsGone,
    /// Containers that are said to be over run on.
    LeavesContainers,
    /// What became of operations is lost on streams that do not break.
    LosesOperationUpdates,
    /// Machines are others than their agents tell.
    MovesMachines,
    /// Users ask for stricter upgrade strategies than Marathon is told.
    TightensStrategies,
    /// Volumes of one app are one volume.
    ConfusesVolumes,
    /// All machines are one to users.
    MergesHosts,
    /// What Marathon wants killed is lost on streams that do not break.
    LosesKills,
    /// Nobody hears why deployments wait.
    HidesReasons,
    /// Marathon's store forgets an app when a leader goes.
    ForgetsApps,
    /// Marathon acts on ends of tasks that were never told.
    ForgetsEnds,
    /// Users allow less to be away than Marathon is told.
    TightensBudgets,
    /// Users let nothing be scaled up by itself, though Marathon is told otherwise.
    NarrowsBounds,
}

/// What operators do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// DRAIN_AGENT; now and then with `mark_gone`.
    Drain,
    /// DEACTIVATE_AGENT.
    Deactivate,
    /// REACTIVATE_AGENT.
    Reactivate,
    /// MARK_AGENT_GONE.
    MarkGone,
    /// UPDATE_QUOTA.
    Quota,
    /// UPDATE_WEIGHTS.
    Weights,
    /// UPDATE_MAINTENANCE_SCHEDULE.
    Schedule,
    /// START_MAINTENANCE.
    Down,
    /// STOP_MAINTENANCE.
    Up,
    /// RESERVE_RESOURCES, UNRESERVE_RESOURCES, CREATE_VOLUMES or DESTROY_VOLUMES.
    Operate,
    /// TEARDOWN.
    Teardown,
}

/// What can go wrong. Whatever is broken mends after a random time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// One stream breaks; of what was under way on it any part is lost.
    Break,
    /// Some hosts do not hear each other, in one or in both directions.
    Partition,
    /// An agent's process dies. What it wrote stays; its containers run on, end unseen, or were never started.
    AgentCrash,
    /// An agent's machine dies: containers too, and what was not synchronised.
    AgentReboot,
    /// The leader dies, and another is elected.
    MasterCrash,
    /// The leader is cut off from the store (and from some of the others), lives on, and another is elected.
    MasterIsolated,
    /// A framework's process dies and comes back with its id.
    FrameworkCrash,
    /// Another instance of a framework subscribes with its id while the old stream stands.
    FrameworkTakeover,
    /// Marathon's leader dies, and another is elected.
    MarathonCrash,
    /// Marathon's leader is cut off from its store (and perhaps from the master), lives on, and another is elected.
    MarathonIsolated,
    /// An operator tears Marathon's framework down: all of its tasks end, and it has to begin again under another id.
    MarathonTornDown,
}

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(!seed);
        let every = [600, 2_000, 6_000, 20_000][random.below(4)];
        let kinds = [
            (Fault::Break, 6),
            (Fault::Partition, 5),
            (Fault::AgentCrash, 5),
            (Fault::AgentReboot, 2),
            (Fault::MasterCrash, 2),
            (Fault::MasterIsolated, 2),
            (Fault::FrameworkCrash, 3),
            (Fault::FrameworkTakeover, 1),
        ];
        let deeds = [
            (Deed::Drain, 4),
            (Deed::Deactivate, 3),
            (Deed::Reactivate, 6),
            (Deed::MarkGone, 1),
            (Deed::Quota, 5),
            (Deed::Weights, 3),
            (Deed::Schedule, 3),
            (Deed::Down, 2),
            (Deed::Up, 3),
            (Deed::Operate, 8),
            (Deed::Teardown, 1),
        ];
        Self {
            agents: 1 + random.below(4),
            frameworks: 1 + random.below(3),
            tasks_per_framework: 20 + random.below(180),
            trouble: Duration::from_secs(30 + random.below(270) as u64),
            fault_every: Duration::from_millis(every),
            latency_ms: [1, 5, 50, 500][random.below(4)],
            failing_stores_percent: [0, 10, 30][random.below(3)],
            lost_acknowledgements_percent: [0, 5, 30][random.below(3)],
            // Each kind of fault is left out of some runs, so that the others are met undisturbed.
            faults: kinds.into_iter().filter(|_| random.percent(70)).collect(),
            deed_every: [None, Some(1_000), Some(5_000), Some(20_000)][random.below(4)]
                .map(Duration::from_millis),
            deeds: deeds.into_iter().filter(|_| random.percent(60)).collect(),
            operations_percent: [0, 10, 40][random.below(3)],
            groups_percent: [0, 20, 70][random.below(3)],
            constraints_percent: [0, 0, 50][random.below(3)],
            updates_percent: [0, 5, 20][random.below(3)],
            // By the seed alone, so that the worlds of the others stay what they were.
            lends: seed % 5 == 3,
            marathon: false,
            ask_every: Duration::from_secs(5),
            apps: 0,
            first_app: 0,
            hasty: false,
            sabotage: None,
        }
    }

    /// The scenario of a seed with Marathon in it.
    #[must_use]
    pub fn of_marathon(seed: u64) -> Self {
        let mut random = Random::new(seed.rotate_left(17) ^ 0x6d61_7261_7468_6f6e);
        let base = Self::of(seed);
        let mut faults = base.faults;
        let own = [(Fault::MarathonCrash, 4), (Fault::MarathonIsolated, 3)];
        faults.extend(own.into_iter().filter(|_| random.percent(70)));
        if random.percent(20) {
            faults.push((Fault::MarathonTornDown, 1));
        }
        // What may take the room that apps need for ever is left out.
        let kept = [
            Deed::Drain,
            Deed::Deactivate,
            Deed::Reactivate,
            Deed::MarkGone,
            Deed::Weights,
            Deed::Schedule,
            Deed::Down,
            Deed::Up,
        ];
        let deeds = base.deeds.into_iter();
        Self {
            agents: 2 + random.below(4),
            frameworks: [0, 0, 1, 2][random.below(4)],
            tasks_per_framework: 30,
            trouble: Duration::from_secs(60 + random.below(240) as u64),
            faults,
            deeds: deeds.filter(|(deed, _)| kept.contains(deed)).collect(),
            operations_percent: 0,
            lends: false,
            marathon: true,
            ask_every: Duration::from_millis([500, 2_000, 5_000, 15_000][random.below(4)]),
            apps: 1 + random.below(6),
            first_app: random.below(11),
            hasty: random.percent(70),
            ..base
        }
    }
}
