//! What a master is told once, at its start.

use std::time::Duration;

use tepui_model::Quantities;
use tepui_proto::mesos::MasterInfo;

use crate::allocator::{AllocatorConfig, PatternLimits};

/// Settings of a master core. `Config::new` has Mesos' defaults, but for those that decisions.md changes.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who this master is; `id` is the prefix of every id that it makes.
    pub master: MasterInfo,
    /// The leader's election sequence number.
    pub epoch: u64,
    /// Seeds the hash tables (and whatever else must not be guessed by a peer). Random in production, fixed in simulations.
    pub seed: u64,
    /// `--roles`: the only roles that exist; `None` for any.
    pub roles: Option<Vec<String>>,
    /// `--weights`: role and weight, until an operator sets the role's.
    pub weights: Vec<(String, f64)>,
    /// `--root_submissions`.
    pub root_submissions: bool,
    /// `--min_allocatable_resources`: an offer has to hold one of these. An empty list lets everything pass.
    pub min_allocatable: Vec<Quantities>,
    /// `--filter_gpu_resources`.
    pub filter_gpu_resources: bool,
    /// `--fair_sharing_excluded_resource_names`: scalars that do not count in fair shares.
    pub unshared_names: Vec<String>,
    /// `--offer_constraints_re2_max_mem` and `…_max_program_size`.
    pub constraint_limits: PatternLimits,
    /// `--require_agent_domain`: agents without a fault domain are refused.
    pub require_agent_domain: bool,
    /// `--allocation_interval`: how long what was declined for 0 s stays away from who declined it.
    pub allocation_interval: Duration,
    /// How long what a productive ACCEPT left over is held back, so that crumbs gather.
    pub crumb_delay: Duration,
    /// `--offer_timeout`: an older offer is rescinded when somebody else wants its resources.
    pub offer_timeout: Option<Duration>,
    /// `--agent_ping_timeout`.
    pub agent_ping_timeout: Duration,
    /// `--max_agent_ping_timeouts`.
    pub max_agent_ping_timeouts: u32,
    /// `--agent_removal_rate_limit`: so many agents in so long a time may become unreachable; `None` for any number.
    pub agent_removal_rate_limit: Option<(u32, Duration)>,
    /// `--recovery_agent_removal_limit`: which part (0 to 1) of the registry's agents may become unreachable because they did not return
    /// to a new leader. If more are missing, none of them does.
    pub recovery_agent_removal_limit: f64,
    /// `--registry_gc_interval`: between two looks for entries that are too old.
    pub registry_gc_interval: Duration,
    /// `--registry_max_agent_age`: how long unreachable and gone agents are remembered.
    pub registry_max_agent_age: Duration,
    /// `--allocator_recovery_timeout`: with quota in the registry a new leader makes no offers until enough agents are back, at most
    /// this long.
    pub allocator_recovery_timeout: Duration,
    /// `--allocator_agent_recovery_factor`: which part (0 to 1) of the registry's agents is enough.
    pub allocator_agent_recovery_factor: f64,
    /// `--agent_reregister_timeout`: how long agents of the registry have to return to a new leader.
    pub agent_reregister_timeout: Duration,
    /// Between HEARTBEAT events.
    pub heartbeat_interval: Duration,
    /// `--max_completed_frameworks`.
    pub max_completed_frameworks: usize,
    /// `--max_completed_tasks_per_framework`.
    pub max_completed_tasks_per_framework: usize,
    /// `--max_unreachable_tasks_per_framework`.
    pub max_unreachable_tasks_per_framework: usize,
    /// `--registry_max_agent_count`: unreachable and gone agents remembered, each.
    pub max_remembered_agents: usize,
    /// Connected, disconnected and recovered frameworks together; one more is refused.
    pub max_frameworks: usize,
    /// Roles of one framework; more are refused.
    pub max_roles_per_framework: usize,
    /// Registered agents; one more is refused.
    pub max_agents: usize,
    /// Tasks of one agent's registration; a larger one is refused.
    pub max_tasks_per_agent: usize,
    /// Operations of one framework that are not over, or whose end is not acknowledged; one more is refused.
    pub max_operations_per_framework: usize,
    /// The same on one agent, whoever asked.
    pub max_operations_per_agent: usize,
    /// Kinds of resources on one agent (by reservation with its labels, each volume one); an operation that would make more is refused.
    pub max_kinds_per_agent: usize,
}

impl Config {
    /// The defaults for a master of this description.
    #[must_use]
    pub fn new(master: MasterInfo, epoch: u64, seed: u64) -> Self {
        Self {
            master,
            epoch,
            seed,
            roles: None,
            weights: Vec::new(),
            root_submissions: true,
            min_allocatable: AllocatorConfig::default().min_allocatable,
            filter_gpu_resources: true,
            unshared_names: Vec::new(),
            constraint_limits: PatternLimits::default(),
            require_agent_domain: false,
            allocation_interval: Duration::from_secs(1),
            crumb_delay: Duration::from_millis(2),
            offer_timeout: Some(Duration::from_secs(300)),
            agent_ping_timeout: Duration::from_secs(15),
            max_agent_ping_timeouts: 5,
            agent_reregister_timeout: Duration::from_secs(600),
            agent_removal_rate_limit: None,
            recovery_agent_removal_limit: 1.0,
            registry_gc_interval: Duration::from_secs(15 * 60),
            registry_max_agent_age: Duration::from_secs(14 * 24 * 3600),
            allocator_recovery_timeout: Duration::from_secs(600),
            allocator_agent_recovery_factor: 0.8,
            heartbeat_interval: Duration::from_secs(15),
            max_completed_frameworks: 50,
            max_completed_tasks_per_framework: 1000,
            max_unreachable_tasks_per_framework: 1000,
            max_remembered_agents: 102_400,
            max_frameworks: 10_000,
            max_roles_per_framework: 1_000,
            max_agents: 100_000,
            max_tasks_per_agent: 100_000,
            max_operations_per_framework: 10_000,
            max_operations_per_agent: 10_000,
            max_kinds_per_agent: 5_000,
        }
    }

    /// How long a silent agent has before it is unreachable.
    #[must_use]
    pub fn agent_timeout(&self) -> Duration {
        self.agent_ping_timeout * self.max_agent_ping_timeouts
    }
}
