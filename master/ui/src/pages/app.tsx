// One app: its instances, its configuration, its versions, what happens to it, and what can be done with it.

import { useState } from "preact/hooks";
import { mebibytes, number, seconds } from "../format";
import { cluster, clusterTopic, marathon, marathonTopic } from "../live";
import { subjectOfApp, type App } from "../live/marathon";
import { useTopics } from "../live/store";
import { Destroy, Restart, Scale } from "../parts/change";
import { Ended } from "../parts/ended";
import { frameworkId, Instances, useInstances } from "../parts/instances";
import { isDaemon, Nodes, nodesOf } from "../parts/nodes";
import { Events, Json, Versions } from "../parts/records";
import { AutoscalingCard, AutoscalingForm, useAutoscaling } from "../parts/scaling";
import { Ago, Empty, Facts, Head, Labels, Tabs, useTab } from "../parts/small";
import { lacksUpkeep, PolicyEditor, UpkeepCard, usePolicy } from "../parts/upkeep";
import { Progress, useExplanation } from "../parts/waiting";
import { link, podLink } from "../router";
import { AppBadge, HealthBar, NoMarathon, Traits } from "./apps";
import { AppEditor, definition } from "./appeditor";

type Action = "scale" | "autoscale" | "policy" | "restart" | "destroy" | "edit";
const TABS = ["instances", "ended", "configuration", "versions", "events"] as const;
const DAEMON_TABS = ["agents", ...TABS] as const;

export function AppPage({ id }: { id: string }) {
  useTopics(marathonTopic, clusterTopic);
  if (!marathon) return <NoMarathon />;
  const app = marathon.apps.get(id);
  if (app) return <Known app={app} />;
  return (
    <>
      <Head title={id} above={["Apps", link("apps")]} />
      <Empty>{marathon.ready ? marathon.pods.has(id) ? <a href={podLink(id)}>{id} is a pod.</a> : `There is no app ${id}.` : "Reading…"}</Empty>
      {marathon.ready && <Ended id={id} pod={false} seen={null} quiet />}
    </>
  );
}

function Known({ app }: { app: App }) {
  const [action, setAction] = useState<Action | null>(null);
  const subject = subjectOfApp(app);
  const daemon = isDaemon(subject.labels);
  const [tab, choose] = useTab(daemon ? DAEMON_TABS : TABS);
  const explanation = useExplanation(subject, app);
  const autoscaling = useAutoscaling(daemon ? undefined : subject, app);
  const policy = usePolicy(subject, app);
  const instances = useInstances(subject, app);
  const close = (): void => setAction(null);
  const nodes = daemon ? nodesOf(cluster.now.agents.values(), instances ?? [], explanation) : [];
  return (
    <>
      <Head title={<span class="break">{app.id}</span>} above={["Apps", link("apps")]} note={<><AppBadge app={app} /> <Traits labels={subject.labels} /></>}>
        {!daemon && <button type="button" onClick={() => setAction("scale")}>Scale</button>}
        {autoscaling.value?.autoscaling === null && <button type="button" onClick={() => setAction("autoscale")}>Autoscale</button>}
        {lacksUpkeep(policy) && <button type="button" onClick={() => setAction("policy")}>Policy</button>}
        <button type="button" onClick={() => setAction("restart")}>Restart</button>
        <button type="button" onClick={() => setAction("edit")}>Edit</button>
        <button type="button" class="danger" onClick={() => setAction("destroy")}>Destroy</button>
      </Head>
      <Progress subject={subject} explanation={explanation} />
      <div class="columns">
        <section class="card">
          <h2>Instances</h2>
          {daemon
            ? <p class="big"><b>{nodes.filter((node) => node.instances.length > 0).length}</b> of {nodes.length} agents have one</p>
            : <p class="big"><b>{app.tasksRunning}</b> of {app.instances} running</p>}
          <HealthBar app={app} />
          <p class="dim">
            {app.healthChecks?.length ? `${app.tasksHealthy} healthy, ${app.tasksUnhealthy} unhealthy` : "without a health check"}
            {app.tasksStaged > 0 && `, ${app.tasksStaged} staged`}
          </p>
        </section>
        <section class="card">
          <h2>About</h2>
          <Facts facts={[
            ["Each instance", `${number(app.cpus)} CPU, ${mebibytes(app.mem)}${app.disk ? `, ${mebibytes(app.disk)} disk` : ""}`],
            !!app.cmd && (["Command", <code class="command" title={app.cmd}>{app.cmd}</code>] as const),
            ["Role", <code>{app.role ?? "*"}</code>],
            ["Changed", <Ago at={seconds(app.versionInfo?.lastConfigChangeAt ?? app.version)} />],
            ["Scaled", <Ago at={seconds(app.versionInfo?.lastScalingAt ?? app.version)} />],
            Object.keys(subject.labels).length > 0 && (["Labels", <Labels labels={subject.labels} />] as const),
          ]} />
        </section>
        <AutoscalingCard subject={subject} reading={autoscaling} />
        <UpkeepCard subject={subject} reading={policy} />
      </div>
      {app.lastTaskFailure && (
        <section class="card failed">
          <h2>Last failure <span class="dim"><Ago at={seconds(app.lastTaskFailure.timestamp)} /></span></h2>
          <p>{app.lastTaskFailure.message || app.lastTaskFailure.state}</p>
          <p class="dim">
            on {app.lastTaskFailure.host}: <a class="mono break" href={link("tasks", frameworkId(), app.lastTaskFailure.taskId)}>{app.lastTaskFailure.taskId}</a>
          </p>
        </section>
      )}
      <Tabs label="About this app" tabs={daemon ? DAEMON_TABS : TABS} chosen={tab} onChoose={choose} />
      {tab === "agents" && <Nodes instances={instances ?? []} explanation={explanation} />}
      {tab === "instances" && <Instances app={app} instances={instances} />}
      {tab === "ended" && <Ended id={app.id} pod={false} seen={app} />}
      {tab === "configuration" && <Json value={definition(app)} />}
      {tab === "versions" && <Versions subject={subject} />}
      {tab === "events" && <Events id={app.id} />}
      {action === "scale" && <Scale subject={subject} onClose={close} />}
      {action === "autoscale" && <AutoscalingForm subject={subject} onClose={() => (close(), autoscaling.again())} />}
      {action === "policy" && <PolicyEditor subject={subject} policy={policy.value?.policy ?? {}} onClose={() => (close(), policy.again())} />}
      {action === "restart" && <Restart subject={subject} onClose={close} />}
      {action === "destroy" && <Destroy subject={subject} then={link("apps")} onClose={close} />}
      {action === "edit" && <AppEditor now={app} onClose={close} />}
    </>
  );
}
