//! `tepui app autoscale`: how many instances an app has follows what they use.

use http::Method;
use serde_json::{Value, json};

use super::{CommandError, Context, number, print_json, text};

/// Bounds and what is measured; without any, the present settings are shown.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct AutoscaleArgs {
    /// The app's id.
    id: String,
    /// Never fewer instances.
    #[arg(long, value_name = "N", requires_all = ["max", "metric"])]
    min: Option<u32>,
    /// Never more instances.
    #[arg(long, value_name = "N", requires_all = ["min", "metric"])]
    max: Option<u32>,
    /// Keep the CPU time of an instance at this percentage of the app's `cpus`.
    #[arg(long, value_name = "PERCENT", group = "metric", requires = "min")]
    cpu: Option<f64>,
    /// Keep the memory of an instance at this percentage of the app's `mem`.
    #[arg(long, value_name = "PERCENT", group = "metric", requires = "min")]
    memory: Option<f64>,
    /// A query of Prometheus' HTTP API, or a page of metrics together with --sample.
    #[arg(long, value_name = "URL", group = "metric", requires_all = ["min", "target"])]
    prometheus: Option<String>,
    /// Which samples of a page of metrics are added up: `name`, or `name{label="value"}`.
    #[arg(long, requires = "prometheus")]
    sample: Option<String>,
    /// How much of it there should be for each instance.
    #[arg(long, requires = "prometheus")]
    target: Option<f64>,
    /// Measure every so many seconds.
    #[arg(long, value_name = "SECONDS", requires = "min")]
    interval: Option<u32>,
    /// So many seconds after a change there are not more [default: 60].
    #[arg(long, value_name = "SECONDS", requires = "min")]
    up_cooldown: Option<u32>,
    /// So many seconds after a change there are not fewer [default: 300].
    #[arg(long, value_name = "SECONDS", requires = "min")]
    down_cooldown: Option<u32>,
    /// Scale it by itself no more.
    #[arg(long, conflicts_with_all = ["min", "max", "metric"])]
    off: bool,
}

impl AutoscaleArgs {
    /// What is to be sent; none: nothing is to be changed.
    fn settings(&self) -> Option<Value> {
        let (min, max) = (self.min?, self.max?);
        let (metric, target) = match (self.cpu, self.memory, &self.prometheus) {
            (Some(target), ..) => (json!({ "type": "cpu" }), target),
            (_, Some(target), _) => (json!({ "type": "memory" }), target),
            (.., Some(url)) => {
                let mut metric = json!({ "type": "prometheus", "url": url });
                if let Some(sample) = &self.sample {
                    metric["sample"] = json!(sample);
                }
                (metric, self.target?)
            }
            _ => return None,
        };
        let mut settings =
            json!({ "minInstances": min, "maxInstances": max, "metric": metric, "target": target });
        for (key, value) in [
            ("intervalSeconds", self.interval),
            ("scaleUpCooldownSeconds", self.up_cooldown),
            ("scaleDownCooldownSeconds", self.down_cooldown),
        ] {
            if let Some(value) = value {
                settings[key] = json!(value);
            }
        }
        Some(settings)
    }
}

pub(crate) async fn run(context: &Context, args: &AutoscaleArgs) -> Result<(), CommandError> {
    let path = format!("/v3/apps/{}/autoscaling", args.id.trim_matches('/'));
    let answer = match (args.off, args.settings()) {
        (true, _) => {
            context
                .cluster
                .marathon_send(Method::DELETE, &path, None)
                .await?
        }
        (false, Some(settings)) => {
            let sent = context
                .cluster
                .marathon_send(Method::PUT, &path, Some(&settings));
            sent.await?
        }
        (false, None) => context.cluster.marathon_get(&path).await?,
    };
    if context.json {
        print_json(&answer);
    } else {
        println!("{}", shown(&answer));
    }
    Ok(())
}

/// The settings, and what the last measurement led to.
fn shown(answer: &Value) -> String {
    let settings = &answer["autoscaling"];
    if settings.is_null() {
        return format!("{} is not scaled by itself", text(answer, "id"));
    }
    let metric = &settings["metric"];
    let target = number(&settings["target"]);
    let goal = match text(metric, "type") {
        "prometheus" => format!("{target} each of {}", text(metric, "url")),
        kind => format!("{kind} at {target} %"),
    };
    let mut shown = format!(
        "{}  {} to {} instances, {goal}; every {} s, not more for {} s nor fewer for {} s after a change",
        text(answer, "id"),
        number(&settings["minInstances"]),
        number(&settings["maxInstances"]),
        number(&settings["intervalSeconds"]),
        number(&settings["scaleUpCooldownSeconds"]),
        number(&settings["scaleDownCooldownSeconds"]),
    );
    let status = &answer["status"];
    if let Some(told) = status["told"].as_str() {
        shown += &format!("\n{told}");
    }
    if let Some(held) = status["held"].as_str() {
        shown += &format!("; {held}");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: AutoscaleArgs,
    }

    #[test]
    fn options_become_settings() {
        use clap::Parser as _;
        for (line, want) in [
            ("/a", Ok(None)),
            (
                "/a --min 1 --max 4 --cpu 70 --up-cooldown 5",
                Ok(Some(
                    json!({ "minInstances": 1, "maxInstances": 4, "metric": { "type": "cpu" }, "target": 70.0, "scaleUpCooldownSeconds": 5 }),
                )),
            ),
            (
                "/a --min 1 --max 4 --prometheus http://x/m --sample s --target 9",
                Ok(Some(
                    json!({ "minInstances": 1, "maxInstances": 4, "metric": { "type": "prometheus", "url": "http://x/m", "sample": "s" }, "target": 9.0 }),
                )),
            ),
            ("/a --off", Ok(None)),
            ("/a --min 1", Err(())),
            ("/a --cpu 70", Err(())),
            ("/a --min 1 --max 4 --cpu 70 --memory 80", Err(())),
            ("/a --min 1 --max 4 --prometheus http://x", Err(())),
            ("/a --off --min 1 --max 4 --cpu 70", Err(())),
        ] {
            let words = std::iter::once("autoscale").chain(line.split(' '));
            let got = Line::try_parse_from(words).map(|line| line.args.settings());
            assert_eq!(got.map_err(drop), want, "{line}");
        }
    }

    #[test]
    fn settings_are_shown_with_what_the_last_measurement_led_to() {
        let none = json!({ "id": "/a", "autoscaling": null, "status": null });
        assert_eq!(shown(&none), "/a is not scaled by itself");
        let answer = json!({ "id": "/a", "autoscaling": { "minInstances": 1, "maxInstances": 4, "metric": { "type": "cpu" }, "target": 70.0,
            "intervalSeconds": 15, "scaleUpCooldownSeconds": 60, "scaleDownCooldownSeconds": 300 },
            "status": { "told": "wants 3: cpu 91 % of 70 %", "held": "cool-down until 12" } });
        assert_eq!(
            shown(&answer),
            "/a  1 to 4 instances, cpu at 70 %; every 15 s, not more for 60 s nor fewer for 300 s after a change\n\
             wants 3: cpu 91 % of 70 %; cool-down until 12"
        );
    }
}
