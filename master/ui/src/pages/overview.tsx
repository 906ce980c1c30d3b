// The cluster at a glance: what there is, what it does, and what wants to be looked at.

import type { ComponentChildren } from "preact";
import { duration, mebibytes, number, plural, seconds, stateName, tone } from "../format";
import { cluster, clusterTopic, info, marathon, marathonTopic } from "../live";
import { totals, type Task } from "../live/cluster";
import { appState, subjectOfPod, type Trial } from "../live/marathon";
import { useTopics } from "../live/store";
import { Chart } from "../parts/chart";
import { Ago, Badge, Dot, Empty, Head, Middle, ResourceBars, State } from "../parts/small";
import { taskLink } from "../parts/tasklist";
import { Until } from "../parts/waiting";
import { appLink, link, podLink } from "../router";

export function Overview() {
  useTopics(clusterTopic, marathonTopic);
  const picture = cluster.now;
  const sum = totals(picture.agents.values());
  const frameworks = [...picture.frameworks.values()].filter((framework) => framework.unregistered === undefined);
  const connected = frameworks.filter((framework) => framework.connected).length;
  const states = [...picture.byState].filter(([, count]) => count > 0).sort(([, one], [, other]) => other - one);
  const lost = picture.agents.size - sum.active;
  return (
    <>
      <Head title={info?.cluster ?? "Overview"} note={info?.leader && <>led by <b>{info.leader}</b>{info.elected ? <>, elected <Ago at={info.elected} /></> : null}</>} />
      <div class="tiles">
        <Tile name="Agents" href={link("agents")} value={sum.active} note={lost > 0 ? <Badge tone="warn">{lost} not active</Badge> : <Badge tone="good">all active</Badge>} />
        <Tile name="Frameworks" href={link("frameworks")} value={frameworks.length}
          note={connected < frameworks.length ? <Badge tone="warn">{frameworks.length - connected} away</Badge> : <Badge tone={connected ? "good" : "idle"}>{connected ? "all connected" : "none yet"}</Badge>} />
        <Tile name="Tasks running" href={`${link("tasks")}?state=TASK_RUNNING`} value={picture.count("TASK_RUNNING")}
          note={<span class="dim">{plural(picture.tasks.size, "task")} known</span>} />
        <AppsTile />
        <Tile name="Offers out" href={link("offers")} value={picture.offers.size} note={<span class="dim">{number(sum.offered[0])} CPU, {mebibytes(sum.offered[2])}</span>} />
      </div>
      <div class="columns">
        <section class="card">
          <h2>Resources</h2>
          {sum.active > 0 ? <ResourceBars used={sum.used} offered={sum.offered} total={sum.total} /> : <Empty>No agent is active.</Empty>}
          <p class="legend-line">
            <span><i class="swatch used" /> allocated</span> <span><i class="swatch offered" /> offered</span> <span><i class="swatch" /> idle</span>
          </p>
          <h2>Tasks by state</h2>
          {states.length === 0 ? (
            <Empty>No task yet.</Empty>
          ) : (
            <ul class="states">
              {states.map(([state, count]) => (
                <li key={state}>
                  <a href={`${link("tasks")}?state=${state}`}>
                    <Dot tone={tone(state)} /> {stateName(state)} <b>{count.toLocaleString("en")}</b>
                  </a>
                </li>
              ))}
            </ul>
          )}
        </section>
        <Attention />
      </div>
      <div class="charts">
        <Chart label="CPUs" text={number} lines={[
          { column: "cpusTotal", label: "total", colour: "--dim", dashed: true },
          { column: "cpusOffered", on: "cpus", label: "offered", colour: "--offered" },
          { column: "cpus", label: "allocated", colour: "--accent", fill: true },
        ]} />
        <Chart label="Memory" text={mebibytes} binary lines={[
          { column: "memTotal", label: "total", colour: "--dim", dashed: true },
          { column: "memOffered", on: "mem", label: "offered", colour: "--offered" },
          { column: "mem", label: "allocated", colour: "--accent", fill: true },
        ]} />
        <Chart label="Running tasks" floor={4} text={number} lines={[{ column: "running", label: "running", colour: "--good", fill: true }]} />
        <Chart label="State changes" floor={4} text={(value) => `${number(value)}/s`} lines={[{ column: "changes", label: "per second", colour: "--busy", fill: true }]} />
      </div>
      <Recent />
    </>
  );
}

function Tile({ name, href, value, note }: { name: string; href: string; value: number; note: ComponentChildren }) {
  return (
    <a class="tile" href={href}>
      <span class="tile-name">{name}</span>
      <span class="tile-value">{value.toLocaleString("en")}</span>
      <span class="tile-note">{note}</span>
    </a>
  );
}

function AppsTile() {
  if (!marathon) return null;
  const apps = [...marathon.apps.values()];
  const off = apps.filter((app) => !["running", "suspended"].includes(appState(app, marathon?.queue.get(app.id))) || app.tasksUnhealthy > 0).length;
  return <Tile name="Apps" href={link("apps")} value={apps.length} note={off > 0 ? <Badge tone="warn">{off} unsettled</Badge> : <Badge tone="good">all settled</Badge>} />;
}

const FEW = 8;

const TrialWords = ({ trial }: { trial: Trial }) => <>tries a new version: {trial.ready} of {plural(trial.instances, "instance")} ready, {trial.promotedAt ? <>promoted <Until at={seconds(trial.promotedAt)} /></> : "waits for promotion"}</>;

/** What an operator would want to know without asking. */
function Attention() {
  const lines: { key: string; what: ComponentChildren }[] = [];
  for (const agent of cluster.now.agents.values()) {
    if (agent.active) continue;
    const why = agent.drain ? (agent.drain.state === "DRAINED" ? "has drained" : "is draining") : agent.deactivated ? "is deactivated" : agent.connected ? "is not active" : "is disconnected";
    lines.push({ key: agent.id, what: <><Dot tone="warn" /><span>Agent <a href={link("agents", agent.id)}>{agent.hostname}</a> {why}</span></> });
  }
  for (const framework of cluster.now.frameworks.values()) {
    if (framework.connected || framework.unregistered !== undefined) continue;
    lines.push({ key: framework.id, what: <><Dot tone="warn" /><span>Framework <a href={link("frameworks", framework.id)}>{framework.name}</a> is disconnected</span></> });
  }
  for (const app of marathon?.apps.values() ?? []) {
    const queued = marathon?.queue.get(app.id);
    const state = appState(app, queued);
    const failure = app.lastTaskFailure;
    let words: ComponentChildren = null;
    if (state === "delayed") words = <>keeps failing{failure ? `: ${failure.message}` : ""}; next try in {duration(queued?.delay.timeLeftSeconds ?? 0)}</>;
    else if (state === "waiting") words = <>waits for an offer that fits: {app.tasksRunning} of {app.instances} run</>;
    else if (state === "deploying") words = <>is being deployed: {app.tasksRunning} of {app.instances} run{app.tasksUnhealthy > 0 && `, ${app.tasksUnhealthy} unhealthy`}</>;
    else if (app.tasksUnhealthy > 0) words = <>has {plural(app.tasksUnhealthy, "unhealthy instance")}</>;
    const trial = marathon?.trials.get(app.id);
    if (trial) words = <TrialWords trial={trial} />;
    if (words) lines.push({ key: app.id, what: <><Dot tone={state === "deploying" && app.tasksUnhealthy === 0 ? "busy" : state === "waiting" ? "warn" : "bad"} /><span><a href={appLink(app.id)}>{app.id}</a> {words}</span></> });
  }
  for (const pod of marathon?.pods.values() ?? []) {
    const trial = marathon?.trials.get(pod.id);
    const { ready, wanted } = subjectOfPod(pod);
    const queued = marathon?.queue.get(pod.id);
    if (!trial && ready >= wanted) continue;
    const failure = pod.terminationHistory?.[0]?.message;
    const words = trial ? <TrialWords trial={trial} /> : <>{ready} of {wanted} stable{queued && !queued.delay.overdue && <>: keeps failing{failure ? `: ${failure}` : ""}</>}</>;
    lines.push({ key: pod.id, what: <><Dot tone={trial && trial.ready >= trial.instances ? "busy" : "bad"} /><span>Pod <a href={podLink(pod.id)}>{pod.id}</a> {words}</span></> });
  }
  return (
    <section class="card">
      <h2>Wants attention</h2>
      {lines.length === 0 ? (
        <Empty>Nothing: every agent is active, every framework connected, every app settled.</Empty>
      ) : (
        <ul class="attention">
          {lines.slice(0, FEW).map((line) => (
            <li key={line.key}>{line.what}</li>
          ))}
          {lines.length > FEW && <li class="dim">and {lines.length - FEW} more</li>}
        </ul>
      )}
    </section>
  );
}

const LATEST = 10;

/** The tasks whose state changed last; one pass over all, however many there are. */
function latest(tasks: Iterable<Task>): Task[] {
  const best: Task[] = [];
  for (const task of tasks) {
    const time = task.updated ?? 0;
    if (best.length === LATEST && time <= (best[LATEST - 1]?.updated ?? 0)) continue;
    let at = best.length;
    while (at > 0 && (best[at - 1]?.updated ?? 0) < time) at -= 1;
    best.splice(at, 0, task);
    if (best.length > LATEST) best.pop();
  }
  return best;
}

function Recent() {
  const tasks = latest(cluster.now.tasks.values());
  return (
    <section class="card">
      <h2>Latest state changes</h2>
      {tasks.length === 0 ? (
        <Empty>No task has been launched yet.</Empty>
      ) : (
        <ul class="recent">
          {tasks.map((task) => (
            <li key={task.key}>
              <span class="dim recent-time"><Ago at={task.updated} /></span>
              <State state={task.state} healthy={task.healthy} />
              <a class="mono cut" href={taskLink(task)} title={task.id}><Middle text={task.id} /></a>
              <span class="dim cut wide-only">{task.message}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

