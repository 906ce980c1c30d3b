//! What the operator has set, as far as decisions depend on it. Names follow Marathon's flags; times are in milliseconds.

/// Settings of the core. [`Config::default`] holds Marathon's defaults and Tepui's documented differences.
#[derive(Clone, Debug)]
pub struct Config {
    /// Random for each process; all ids that the core makes come from it, so two leaders never make the same one.
    pub seed: u128,
    /// `--mesos_role`: role of apps that name none.
    pub mesos_role: String,
    /// `--new_group_enforce_role`: `top` is true; whether new top-level groups demand their role of new apps.
    pub new_group_enforce_role: bool,
    /// `--default_network_name`: of container networks that have none.
    pub default_network_name: Option<String>,
    /// `--mesos_bridge_name`: the CNI network of `container/bridge`.
    pub mesos_bridge_name: String,
    /// `--enable_features gpu_resources`: apps may ask for GPUs.
    pub gpu_resources: bool,
    /// `--gpu_scheduling_behavior`: `restricted` is true; agents with GPUs are kept for apps that ask for some.
    pub gpus_restricted: bool,
    /// `--enable_features external_volumes`: apps may have volumes of storage providers.
    pub external_volumes: bool,
    /// `--env_vars_prefix`: put before PORT* and HOST.
    pub env_vars_prefix: String,
    /// `--executor`: what an app with `executor: ""` uses: `//cmd`, or a path.
    pub executor: String,
    /// `--accepted_resource_roles_default_behavior`.
    pub accepted_resource_roles_default: AcceptedRoles,
    /// `--local_port_min`: lowest service port that is assigned.
    pub local_port_min: u16,
    /// `--local_port_max`: highest service port that is assigned (inclusive).
    pub local_port_max: u16,
    /// `--max_apps`.
    pub max_apps: Option<usize>,
    /// `--max_instances`: how many instances all apps and pods may want together (Marathon: no bound).
    pub max_instances: usize,
    /// `--max_running_deployments` (Marathon: 100).
    pub max_running_deployments: usize,
    /// `--max_instances_per_offer`.
    pub max_instances_per_offer: usize,
    /// `--decline_offer_duration`: how long an offer that nothing wants is refused.
    pub decline_offer_ms: u64,
    /// `--min_revive_offers_interval` (Marathon: 5000).
    pub min_revive_offers_interval_ms: u64,
    /// `--suppress_offers`.
    pub suppress_offers: bool,
    /// `--maintenance_mode`: refuse offers of agents in a maintenance window.
    pub maintenance_mode: bool,
    /// `--draining_seconds`, in milliseconds: refuse them this long before it begins.
    pub draining_ms: u64,
    /// `--kill_retry_timeout`: a kill is repeated when nothing was heard of the task for so long.
    pub kill_retry_ms: u64,
    /// `--kill_chunk_size`: kills in flight at one time.
    pub kill_chunk_size: usize,
    /// `--task_launch_confirm_timeout`: longest time between launch and the first status.
    pub task_launch_confirm_timeout_ms: u64,
    /// `--task_launch_timeout`: longest time between staging and running.
    pub task_launch_timeout_ms: u64,
    /// `--task_reservation_timeout`: an instance whose reservation is not seen for so long after it was asked for is given up.
    pub task_reservation_timeout_ms: u64,
    /// `--reconciliation_interval`.
    pub reconciliation_interval_ms: u64,
    /// `--scale_apps_interval`.
    pub scale_apps_interval_ms: u64,
    /// `--zk_max_versions`: versions kept of one app.
    pub max_versions: usize,
    /// `--max_ended_tasks_per_app`: ended tasks that are remembered of each app and pod; 0: none.
    pub max_ended_tasks_per_app: usize,
    /// `--max_ended_tasks`: of all together.
    pub max_ended_tasks: usize,
    /// `--ended_tasks_age`, in milliseconds: how long they are.
    pub ended_tasks_age_ms: u64,
    /// Longest request body that is read, in bytes.
    pub max_body_bytes: usize,
    /// Outputs that may wait for the store before API calls get 503.
    pub max_waiting_outputs: usize,
}

/// Which resources an app takes that does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcceptedRoles {
    /// Of its role and unreserved ones.
    #[default]
    Any,
    /// Unreserved ones.
    Unreserved,
    /// Of its role.
    Reserved,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            mesos_role: "*".to_owned(),
            new_group_enforce_role: false,
            default_network_name: None,
            mesos_bridge_name: "mesos-bridge".to_owned(),
            gpu_resources: false,
            gpus_restricted: true,
            external_volumes: false,
            env_vars_prefix: String::new(),
            executor: "//cmd".to_owned(),
            accepted_resource_roles_default: AcceptedRoles::Any,
            local_port_min: 10_000,
            local_port_max: 20_000,
            max_apps: None,
            max_instances: 250_000,
            max_running_deployments: 10_000,
            max_instances_per_offer: 5,
            decline_offer_ms: 120_000,
            min_revive_offers_interval_ms: 100,
            suppress_offers: true,
            maintenance_mode: true,
            draining_ms: 0,
            kill_retry_ms: 30_000,
            kill_chunk_size: 100,
            task_launch_confirm_timeout_ms: 300_000,
            task_launch_timeout_ms: 300_000,
            task_reservation_timeout_ms: 20_000,
            reconciliation_interval_ms: 600_000,
            scale_apps_interval_ms: 300_000,
            max_versions: 50,
            max_ended_tasks_per_app: 100,
            max_ended_tasks: 20_000,
            ended_tasks_age_ms: 1_209_600_000,
            max_body_bytes: 4 << 20,
            max_waiting_outputs: 100_000,
        }
    }
}
