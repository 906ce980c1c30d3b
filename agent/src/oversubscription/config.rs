//! How the agent oversubscribes, decided before anything starts: the flags, under Mesos' names where it has them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tepui_proto::mesos::v1::Resource;

use super::modules::{self, FIXED, LOAD, Parameters};
use crate::config::{ConfigError, parse_duration};
use crate::resources::parse_resources;

/// The flags about oversubscription.
#[derive(Debug, Clone, Default, Args)]
#[command(rename_all = "snake_case")]
pub struct OversubscriptionFlags {
    /// What may be lent: 'noop', nothing; 'fixed', always --oversubscribed_resources; 'usage', cpus that are allocated and idle
    #[arg(long, alias = "resource-estimator", default_value = "noop")]
    pub resource_estimator: String,
    /// What the estimator 'fixed' lends: 'cpus:4;mem:1024'
    #[arg(long, alias = "oversubscribed-resources")]
    pub oversubscribed_resources: Option<String>,
    /// Part (0 to 1) of the allocated cpus that the estimator 'usage' keeps for peaks
    #[arg(long, alias = "oversubscribed-headroom", default_value_t = 0.1)]
    pub oversubscribed_headroom: f64,
    /// Time in which the estimator 'usage' believes half of a task's idleness
    #[arg(long, alias = "oversubscribed-half-life", default_value = "1mins")]
    pub oversubscribed_half_life: String,
    /// How often is estimated what may be lent (at least a second)
    #[arg(
        long,
        alias = "oversubscribed-resources-interval",
        default_value = "15secs"
    )]
    pub oversubscribed_resources_interval: String,
    /// Who gives back what is lent: 'noop', nobody; 'load', all tasks on it, while the load is above a threshold
    #[arg(long, alias = "qos-controller", default_value = "noop")]
    pub qos_controller: String,
    /// Load of the last 5 minutes above which the controller 'load' takes back
    #[arg(long, alias = "load-threshold-5min")]
    pub load_threshold_5min: Option<f64>,
    /// Load of the last 15 minutes above which the controller 'load' takes back
    #[arg(long, alias = "load-threshold-15min")]
    pub load_threshold_15min: Option<f64>,
    /// Where the load is read, as in /proc/loadavg
    #[arg(long, alias = "load-file", default_value = "/proc/loadavg")]
    pub load_file: PathBuf,
    /// The shortest pause between two questions to the controller (at least a second)
    #[arg(long, alias = "qos-correction-interval-min", default_value = "0ns")]
    pub qos_correction_interval_min: String,
    /// Whether containers with cpus that are lent give way to all others
    #[arg(long, alias = "revocable-cpu-low-priority", num_args = 0..=1, default_missing_value = "true", default_value_t = true, action = clap::ArgAction::Set)]
    pub revocable_cpu_low_priority: bool,
    /// JSON of Mesos' modules, or a file of it: parameters of its fixed estimator and its load controller, which are compiled in
    #[arg(long)]
    pub modules: Option<String>,
}

/// How the agent oversubscribes.
#[derive(Debug, Clone)]
pub struct OversubscriptionConfig {
    /// What may be lent.
    pub estimator: EstimatorConfig,
    /// Who gives it back.
    pub controller: ControllerConfig,
    /// How often is estimated.
    pub estimate_interval: Duration,
    /// The shortest pause between two questions to the controller.
    pub correction_interval_min: Duration,
    /// Containers with cpus that are lent give way to all others.
    pub revocable_cpu_low_priority: bool,
    /// Where the load is read, as in /proc/loadavg.
    pub load_file: PathBuf,
}

/// What may be lent.
#[derive(Debug, Clone, PartialEq)]
pub enum EstimatorConfig {
    /// Nothing.
    Noop,
    /// Always the same scalars.
    Fixed(Vec<Resource>),
    /// Cpus that are allocated and idle.
    Usage(UsageRule),
}

/// Of the estimator that goes by what is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UsageRule {
    /// Part (0 to 1) of the allocated cpus that is kept for peaks.
    pub headroom: f64,
    /// Time in which half of an executor's idleness is believed; more than none.
    pub half_life: Duration,
}

/// Who gives back what is lent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ControllerConfig {
    /// Nobody.
    Noop,
    /// Everybody, while the load is high.
    Load(LoadThresholds),
}

/// Loads above which a machine is overloaded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadThresholds {
    /// Of the last 5 minutes.
    pub five_minutes: Option<f64>,
    /// Of the last 15.
    pub fifteen_minutes: Option<f64>,
}

impl Default for OversubscriptionConfig {
    fn default() -> Self {
        Self {
            estimator: EstimatorConfig::Noop,
            controller: ControllerConfig::Noop,
            estimate_interval: Duration::from_secs(15),
            correction_interval_min: Duration::ZERO,
            revocable_cpu_low_priority: true,
            load_file: PathBuf::from("/proc/loadavg"),
        }
    }
}

impl OversubscriptionFlags {
    /// Those that are set, as text.
    pub(crate) fn shown(&self) -> Vec<(&'static str, String)> {
        let number = |number: Option<f64>| number.map(|number| number.to_string());
        let text = |text: &str| Some(text.to_owned());
        let all = [
            ("resource_estimator", text(&self.resource_estimator)),
            (
                "oversubscribed_resources",
                self.oversubscribed_resources.clone(),
            ),
            (
                "oversubscribed_headroom",
                number(Some(self.oversubscribed_headroom)),
            ),
            (
                "oversubscribed_half_life",
                text(&self.oversubscribed_half_life),
            ),
            (
                "oversubscribed_resources_interval",
                text(&self.oversubscribed_resources_interval),
            ),
            ("qos_controller", text(&self.qos_controller)),
            ("load_threshold_5min", number(self.load_threshold_5min)),
            ("load_threshold_15min", number(self.load_threshold_15min)),
            ("load_file", Some(self.load_file.display().to_string())),
            (
                "qos_correction_interval_min",
                text(&self.qos_correction_interval_min),
            ),
            (
                "revocable_cpu_low_priority",
                Some(self.revocable_cpu_low_priority.to_string()),
            ),
            ("modules", self.modules.clone()),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

fn invalid(flag: &'static str, value: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        flag,
        value: value.to_owned(),
        problem: problem.into(),
    }
}

fn time(flag: &'static str, value: &str) -> Result<Duration, ConfigError> {
    parse_duration(value)
        .ok_or_else(|| invalid(flag, value, "not a duration such as 10secs or 1.5mins"))
}

impl OversubscriptionConfig {
    /// Judges the flags.
    pub(crate) fn from_flags(flags: &OversubscriptionFlags) -> Result<Self, ConfigError> {
        let parameters = match &flags.modules {
            None => Parameters::default(),
            Some(text) => {
                modules::parse(text).map_err(|problem| invalid("modules", text, problem))?
            }
        };
        Ok(Self {
            estimator: estimator(flags, &parameters)?,
            controller: controller(flags, &parameters)?,
            estimate_interval: time(
                "oversubscribed_resources_interval",
                &flags.oversubscribed_resources_interval,
            )?,
            correction_interval_min: time(
                "qos_correction_interval_min",
                &flags.qos_correction_interval_min,
            )?,
            revocable_cpu_low_priority: flags.revocable_cpu_low_priority,
            load_file: flags.load_file.clone(),
        })
    }
}

fn estimator(
    flags: &OversubscriptionFlags,
    parameters: &Parameters,
) -> Result<EstimatorConfig, ConfigError> {
    match flags.resource_estimator.as_str() {
        "noop" => Ok(EstimatorConfig::Noop),
        "fixed" | FIXED => {
            let given = flags.oversubscribed_resources.as_ref();
            let text = given.or(parameters.resources.as_ref());
            let text = text.ok_or(ConfigError::Missing(
                "oversubscribed_resources",
                "what does the estimator lend? ('cpus:4', or the parameter 'resources' in --modules)",
            ))?;
            Ok(EstimatorConfig::Fixed(lent(text)?))
        }
        "usage" => {
            let headroom = flags.oversubscribed_headroom;
            if !(0.0..=1.0).contains(&headroom) {
                return Err(invalid(
                    "oversubscribed_headroom",
                    &headroom.to_string(),
                    "a part is between 0 and 1",
                ));
            }
            let text = &flags.oversubscribed_half_life;
            let half_life = time("oversubscribed_half_life", text)?;
            if half_life.is_zero() {
                let problem =
                    "it has to take some time, so that a short pause does not count as idleness";
                return Err(invalid("oversubscribed_half_life", text, problem));
            }
            Ok(EstimatorConfig::Usage(UsageRule {
                headroom,
                half_life,
            }))
        }
        other => Err(invalid(
            "resource_estimator",
            other,
            format!("'noop', 'fixed' (or {FIXED}) or 'usage'"),
        )),
    }
}

/// Scalars that belong to nobody.
fn lent(text: &str) -> Result<Vec<Resource>, ConfigError> {
    let flag = "oversubscribed_resources";
    let resources =
        parse_resources(text).map_err(|error| invalid(flag, text, error.to_string()))?;
    tepui_proto::convert::resources::from_wire(&resources)
        .map_err(|error| invalid(flag, text, error.to_string()))?;
    let plain = |resource: &Resource| {
        resource.scalar.is_some()
            && resource.disk.is_none()
            && resource.reservations.is_empty()
            && resource.role.as_deref().unwrap_or("*") == "*"
    };
    match resources.iter().find(|resource| !plain(resource)) {
        None => Ok(resources),
        Some(resource) => Err(invalid(
            flag,
            text,
            format!(
                "'{}' cannot be lent: only amounts without a role can",
                resource.name
            ),
        )),
    }
}

fn controller(
    flags: &OversubscriptionFlags,
    parameters: &Parameters,
) -> Result<ControllerConfig, ConfigError> {
    match flags.qos_controller.as_str() {
        "noop" => Ok(ControllerConfig::Noop),
        "load" | LOAD => {
            let given = |flag: Option<f64>, parameter: Option<f64>| flag.or(parameter);
            let five_minutes = given(flags.load_threshold_5min, parameters.load_threshold_5min);
            let fifteen_minutes =
                given(flags.load_threshold_15min, parameters.load_threshold_15min);
            for (flag, threshold) in [
                ("load_threshold_5min", five_minutes),
                ("load_threshold_15min", fifteen_minutes),
            ] {
                if let Some(threshold) = threshold.filter(|it| !(it.is_finite() && *it >= 0.0)) {
                    return Err(invalid(flag, &threshold.to_string(), "a load is 0 or more"));
                }
            }
            if five_minutes.is_none() && fifteen_minutes.is_none() {
                return Err(ConfigError::Missing(
                    "load_threshold_5min",
                    "above which load does the controller take back? (--load_threshold_15min is as good)",
                ));
            }
            Ok(ControllerConfig::Load(LoadThresholds {
                five_minutes,
                fifteen_minutes,
            }))
        }
        other => Err(invalid(
            "qos_controller",
            other,
            format!("'noop' or 'load' (or {LOAD})"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        flags: OversubscriptionFlags,
    }

    fn config(args: &[&str]) -> Result<OversubscriptionConfig, ConfigError> {
        let args = ["agent"].iter().chain(args);
        OversubscriptionConfig::from_flags(&Command::try_parse_from(args).unwrap().flags)
    }

    #[test]
    fn both_by_short_names_and_by_those_of_mesos() {
        let modules = r#"--modules={"libraries":[{"modules":[
            {"name":"org_apache_mesos_FixedResourceEstimator","parameters":[{"key":"resources","value":"cpus:14"}]},
            {"name":"org_apache_mesos_LoadQoSController","parameters":[{"key":"load_threshold_15min","value":"6"}]}]}]}"#;
        let ways: [&[&str]; 2] = [
            &[
                "--resource_estimator=fixed",
                "--oversubscribed_resources=cpus:14",
                "--qos-controller=load",
                "--load_threshold_15min=6",
            ],
            &[
                "--resource_estimator=org_apache_mesos_FixedResourceEstimator",
                "--qos_controller=org_apache_mesos_LoadQoSController",
                modules,
            ],
        ];
        for args in ways {
            let config = config(args).unwrap();
            let EstimatorConfig::Fixed(resources) = &config.estimator else {
                panic!("{config:?}");
            };
            assert_eq!(resources[0].scalar.unwrap().value, 14.0);
            let thresholds = LoadThresholds {
                five_minutes: None,
                fifteen_minutes: Some(6.0),
            };
            assert_eq!(config.controller, ControllerConfig::Load(thresholds));
        }
        let usage = config(&["--resource_estimator=usage"]).unwrap().estimator;
        let rule = UsageRule {
            headroom: 0.1,
            half_life: Duration::from_secs(60),
        };
        assert_eq!(usage, EstimatorConfig::Usage(rule));
        let plain = config(&[]).unwrap();
        assert_eq!(plain.estimator, EstimatorConfig::Noop);
        assert_eq!(plain.controller, ControllerConfig::Noop);
        assert_eq!(plain.estimate_interval, Duration::from_secs(15));
    }

    #[test]
    fn what_cannot_be_obeyed_is_one_sentence() {
        let cases: [(&[&str], &str); 10] = [
            (
                &["--resource_estimator=clever"],
                "--resource_estimator=clever: 'noop', 'fixed'",
            ),
            (
                &["--resource_estimator=fixed"],
                "--oversubscribed_resources is required",
            ),
            (
                &[
                    "--resource_estimator=fixed",
                    "--oversubscribed_resources=ports:[1-9]",
                ],
                "'ports' cannot be lent",
            ),
            (
                &[
                    "--resource_estimator=fixed",
                    "--oversubscribed_resources=cpus(r):1",
                ],
                "'cpus' cannot be lent",
            ),
            (
                &["--resource_estimator=usage", "--oversubscribed_headroom=2"],
                "--oversubscribed_headroom=2: a part is between 0 and 1",
            ),
            (
                &[
                    "--resource_estimator=usage",
                    "--oversubscribed_half_life=0secs",
                ],
                "--oversubscribed_half_life=0secs: it has to take some time",
            ),
            (
                &["--qos_controller=load"],
                "--load_threshold_5min is required",
            ),
            (
                &["--qos_controller=load", "--load_threshold_5min=-1"],
                "--load_threshold_5min=-1: a load is 0 or more",
            ),
            (
                &["--modules=x"],
                "--modules=x: not what Mesos calls Modules",
            ),
            (
                &["--qos_correction_interval_min=1"],
                "--qos_correction_interval_min=1: not a duration",
            ),
        ];
        for (args, expected) in cases {
            let error = config(args).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
