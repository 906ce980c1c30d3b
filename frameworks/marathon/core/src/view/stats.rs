//! Statistics over the tasks of an app: `embed=taskStats`.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::{definition::App, instance::TaskView, timestamp::Timestamp};

/// Groups of tasks by the age of their version, each with counts and life times; empty groups are left out.
pub(super) fn task_stats(app: &App, tasks: &[Arc<TaskView>], now: Timestamp) -> Value {
    let (scaled, configured) = app.version_info.map_or((app.version, app.version), |info| {
        (info.last_scaling_at, info.last_config_change_at)
    });
    let version = |task: &TaskView| task.version.unwrap_or_default();
    let mut stats = Map::new();
    let mut group = |name: &str, chosen: &dyn Fn(&TaskView) -> bool| {
        let tasks: Vec<&TaskView> = tasks
            .iter()
            .map(|task| &**task)
            .filter(|task| chosen(task))
            .collect();
        if !tasks.is_empty() {
            stats.insert(name.to_owned(), json!({ "stats": summary(&tasks, now) }));
        }
    };
    group("startedAfterLastScaling", &|task| version(task) >= scaled);
    group("withLatestConfig", &|task| version(task) >= configured);
    group("withOutdatedConfig", &|task| version(task) < configured);
    group("totalSummary", &|_| true);
    Value::Object(stats)
}

fn summary(tasks: &[&TaskView], now: Timestamp) -> Value {
    let count = |chosen: fn(&TaskView) -> bool| tasks.iter().filter(|task| chosen(task)).count();
    let alive = |task: &TaskView| task.health_check_results.iter().all(|result| result.alive);
    let checked = |task: &TaskView| !task.health_check_results.is_empty();
    let mut stats = Map::new();
    let counts = json!({
        "staged": count(|task| task.state == "TASK_STAGING"),
        "running": count(|task| task.state == "TASK_RUNNING"),
        "healthy": tasks.iter().filter(|task| checked(task) && alive(task)).count(),
        "unhealthy": tasks.iter().filter(|task| checked(task) && !alive(task)).count(),
    });
    stats.insert("counts".to_owned(), counts);
    let mut lives: Vec<i64> = tasks
        .iter()
        .filter_map(|task| Some(now.millis() - task.started_at?.millis()))
        .collect();
    if !lives.is_empty() {
        lives.sort_unstable();
        #[allow(
            clippy::cast_precision_loss,
            reason = "life times in ms are far below 2^53"
        )]
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let middle = lives.len() / 2;
        let median = if lives.len() % 2 == 1 {
            seconds(lives[middle])
        } else {
            (seconds(lives[middle - 1]) + seconds(lives[middle])) / 2.0
        };
        let average = lives
            .iter()
            .map(|life| seconds(*life) / lives.len() as f64)
            .sum::<f64>();
        stats.insert(
            "lifeTime".to_owned(),
            json!({ "averageSeconds": average, "medianSeconds": median }),
        );
    }
    Value::Object(stats)
}
