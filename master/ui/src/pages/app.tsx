// One app: its instances, its configuration, its versions, what happens to it, and what can be done with it.

import { mebibytes, number, seconds } from "../format";
import { cluster, clusterTopic, marathon, marathonTopic } from "../live";
import { subjectOfApp, type App } from "../live/marathon";
import { useTopics } from "../live/store";
import { Instances } from "../parts/instances";
import { Ago } from "../parts/small";
import { podLink } from "../router";
import { AppBadge, HealthBar, NoMarathon } from "./apps";
import { Absent, SubjectPage } from "./subject";

export function AppPage({ id }: { id: string }) {
  useTopics(marathonTopic, clusterTopic);
  if (!marathon) return <NoMarathon />;
  const app = marathon.apps.get(id);
  return app ? <Known app={app} /> : <Absent id={id} pod={false} other={marathon.pods.has(id) ? podLink(id) : null} />;
}

function Known({ app }: { app: App }) {
  const failure = app.lastTaskFailure;
  const agents = cluster.now.agents.size;
  return (
    <SubjectPage subject={subjectOfApp(app)} now={app} badge={<AppBadge app={app} />}
      summary={(instances, daemon) => (
        <>
          {daemon
            ? <p class="big"><b>{new Set(instances.flatMap((one) => one.agentId ?? [])).size}</b> of {agents} agents have one</p>
            : <p class="big"><b>{app.tasksRunning}</b> of {app.instances} running</p>}
          <HealthBar app={app} />
          <p class="dim">
            {app.healthChecks?.length ? `${app.tasksHealthy} healthy, ${app.tasksUnhealthy} unhealthy` : "without a health check"}
            {app.tasksStaged > 0 && `, ${app.tasksStaged} staged`}
          </p>
        </>
      )}
      facts={[
        ["Each instance", `${number(app.cpus)} CPU, ${mebibytes(app.mem)}${app.disk ? `, ${mebibytes(app.disk)} disk` : ""}`],
        !!app.cmd && (["Command", <code class="command" title={app.cmd}>{app.cmd}</code>] as const),
        ["Role", <code>{app.role ?? "*"}</code>],
        ["Changed", <Ago at={seconds(app.versionInfo?.lastConfigChangeAt ?? app.version)} />],
        ["Scaled", <Ago at={seconds(app.versionInfo?.lastScalingAt ?? app.version)} />],
      ]}
      failure={failure && { at: failure.timestamp, words: failure.message || failure.state, host: failure.host, task: failure.taskId }}
      list={(instances, explanation) => <Instances app={app} instances={instances} explanation={explanation} />} />
  );
}
