// All tasks, and one of them.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ask, send } from "../api";
import { plural, stateName } from "../format";
import { cluster, clusterTopic, marathon, marathonTopic } from "../live";
import type { Task } from "../live/cluster";
import { useTopics } from "../live/store";
import { LogView } from "../parts/logview";
import { Ago, amountsText, Copy, Dialog, Empty, Facts, Head, Id, State } from "../parts/small";
import { TaskList, compareTasks, type Order } from "../parts/tasklist";
import { appLink, link, podLink, setQuery, useRoute } from "../router";
import { Gone } from "./agents";

/** What the list shows, made anew when tasks or the filter changed; less often when making it takes long. */
function useFiltered(text: string, state: string, framework: string, order: Order): Task[] {
  const last = useRef({ version: -1, at: 0, cost: 0, key: "", tasks: [] as Task[] });
  const [, wake] = useState(0);
  const key = [text, state, framework, order].join("\n");
  const past = last.current;
  const wait = past.at + past.cost * 4 - performance.now();
  const stale = past.version !== clusterTopic.version;
  if (past.key !== key || (stale && wait <= 0)) {
    const begin = performance.now();
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const picture = cluster.now;
    const tasks: Task[] = [];
    for (const task of picture.tasks.values()) {
      if (state && task.state !== state) continue;
      if (framework && task.framework !== framework) continue;
      if (words.length > 0) {
        const host = picture.agents.get(task.agent)?.hostname ?? "";
        const all = `${task.id} ${task.name} ${host} ${task.state} ${task.message ?? ""}`.toLowerCase();
        if (!words.every((word) => all.includes(word))) continue;
      }
      tasks.push(task);
    }
    tasks.sort(compareTasks[order]);
    const now = performance.now();
    last.current = { version: clusterTopic.version, at: now, cost: now - begin, key, tasks };
  }
  useEffect(() => {
    if (!stale || wait <= 0) return;
    const timer = setTimeout(() => wake((count) => count + 1), wait);
    return () => clearTimeout(timer);
  });
  return last.current.tasks;
}

export function Tasks() {
  useTopics(clusterTopic);
  const { query } = useRoute();
  const text = query.get("text") ?? "";
  const state = query.get("state") ?? "";
  const framework = query.get("framework") ?? "";
  const order = (query.get("order") ?? "newest") as Order;
  const set = (change: Record<string, string>): void => setQuery({ text, state, framework, order: order === "newest" ? "" : order, ...change });
  const tasks = useFiltered(text, state, framework, order in compareTasks ? order : "newest");
  const states = [...cluster.now.byState].filter(([name, count]) => count > 0 || name === state).sort();
  return (
    <div class="page-fill">
      <Head title="Tasks" note={tasks.length === cluster.now.tasks.size ? plural(tasks.length, "task") : `${tasks.length.toLocaleString("en")} of ${plural(cluster.now.tasks.size, "task")}`} />
      <div class="filters" role="search">
        <input type="search" id="filter" placeholder="Filter by id, host, message…" aria-label="Filter tasks by text" value={text} onInput={(event) => set({ text: event.currentTarget.value })} />
        <select aria-label="State" value={state} onChange={(event) => set({ state: event.currentTarget.value })}>
          <option value="">Any state</option>
          {states.map(([name, count]) => (
            <option key={name} value={name}>{stateName(name)} ({count.toLocaleString("en")})</option>
          ))}
        </select>
        <select aria-label="Framework" value={framework} onChange={(event) => set({ framework: event.currentTarget.value })}>
          <option value="">Any framework</option>
          {[...cluster.now.frameworks.values()].map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
        </select>
        <select aria-label="Order" value={order} onChange={(event) => set({ order: event.currentTarget.value })}>
          <option value="newest">Newest first</option>
          <option value="updated">Latest change first</option>
          <option value="name">By id</option>
          <option value="state">By state</option>
          <option value="cpus">Most CPUs first</option>
          <option value="mem">Most memory first</option>
        </select>
      </div>
      {tasks.length === 0 ? <Empty>{cluster.now.tasks.size === 0 ? "No task has been launched yet." : "No task is like that."}</Empty> : (
        <TaskList tasks={tasks} order={order} onOrder={(by) => set({ order: by === order ? "" : by })} />
      )}
    </div>
  );
}

interface Status {
  state: string;
  timestamp?: number;
  message?: string;
  reason?: string;
  source?: string;
  healthy?: boolean;
  container_status?: { container_id?: { value: string; parent?: unknown } };
}

interface Detail {
  statuses: Status[];
  user?: string;
  labels?: { key: string; value?: string }[];
  discovery?: { ports?: { ports?: { number: number; name?: string; protocol?: string }[] } };
}

export function TaskPage({ framework, id }: { framework: string; id: string }) {
  useTopics(clusterTopic, marathonTopic);
  const task = find(framework, id);
  const [detail, setDetail] = useState<Detail | null>(null);
  const [killing, setKilling] = useState(false);
  const changed = `${task?.state} ${task?.updated} ${task?.healthy}`;
  useEffect(() => {
    let here = true;
    const query = new URLSearchParams({ framework_id: framework, task_id: id });
    ask<{ tasks: Detail[] }>(`tasks?${query}`).then(
      ({ tasks }) => here && setDetail(tasks[0] ?? { statuses: [] }),
      () => here && setDetail((known) => known ?? { statuses: [] }),
    );
    return () => {
      here = false;
    };
  }, [framework, id, changed]);
  const app = useMemo(() => ownerOf(id, marathon?.apps.values() ?? []), [id, marathonTopic.version]);
  const pod = useMemo(() => ownerOf(id, marathon?.pods.values() ?? []), [id, marathonTopic.version]);
  if (!task) return <Gone what="task" id={id} />;
  const agent = cluster.now.agents.get(task.agent);
  const ports = detail?.discovery?.ports?.ports;
  const run = `/frameworks/${task.framework}/executors/${task.executor || task.id}/runs/latest`;
  // A member of a group has a sandbox of its own in that of its executor.
  const nested = detail?.statuses.some((status) => status.container_status?.container_id?.parent) ?? false;
  const folder = nested ? `${run}/tasks/${task.id}` : run;
  return (
    <>
      <Head title={<span class="mono break">{task.id}</span>} above={["Tasks", link("tasks")]} note={<><State state={task.state} healthy={task.healthy} /> <Copy text={task.id} /></>}>
        {task.list === "active" && <button type="button" class="danger" onClick={() => setKilling(true)}>Kill</button>}
      </Head>
      {task.message && task.state !== "TASK_RUNNING" && <p class={task.state === "TASK_FAILED" || task.state === "TASK_ERROR" ? "problem" : "notice"}>{task.message}{task.reason ? <span class="dim"> {task.reason}</span> : null}</p>}
      <div class="columns">
        <section class="card">
          <h2>About</h2>
          <Facts facts={[
            app && (["App", <a href={appLink(app.id)}>{app.id}</a>] as const),
            pod && (["Pod", <a href={podLink(pod.id)}>{pod.id}</a>] as const),
            ["Name", task.name],
            ["Framework", <a href={link("frameworks", task.framework)}>{cluster.now.frameworks.get(task.framework)?.name ?? task.framework}</a>],
            ["Agent", agent ? <a href={link("agents", task.agent)}>{agent.hostname}:{agent.port}</a> : <Id id={task.agent} />],
            ["Resources", amountsText(task.resources)],
            task.role !== undefined && (["Role", <code>{task.role}</code>] as const),
            ["Ports", !task.ports?.length ? "none" : task.ports.map((port, at) => {
              const name = ports?.[at]?.name;
              return <a key={port} class="listed" href={`http://${agent?.hostname ?? location.hostname}:${port}/`} target="_blank" rel="noreferrer">{port}{name && name !== "default" ? ` (${name})` : ""}</a>;
            })],
            detail?.user !== undefined && (["User", detail.user] as const),
            task.started !== undefined && (["Running since", <Ago at={task.started} />] as const),
            !!detail?.labels?.length && (["Labels", <span class="labels">{detail.labels.map((label) => <code key={label.key}>{label.key}={label.value}</code>)}</span>] as const),
          ]} />
        </section>
        <section class="card">
          <h2>Status history</h2>
          <ol class="history">
            {(detail?.statuses ?? []).map((status, at) => (
              <li key={at}>
                <State state={status.state} healthy={status.healthy} />
                <Ago at={status.timestamp} />
                <span class="dim">{[status.message, status.reason?.replace(/^REASON_/, "").toLowerCase().replaceAll("_", " ")].filter(Boolean).join(" · ")}</span>
              </li>
            ))}
          </ol>
          {!detail?.statuses.length && <Empty>No status update has come yet.</Empty>}
        </section>
      </div>
      {agent ? detail && <LogView key={folder} agent={task.agent} folder={folder} /> : <Empty>The agent is gone, and the logs with it.</Empty>}
      {killing && <Kill task={task} managed={app?.id ?? pod?.id} onClose={() => setKilling(false)} />}
    </>
  );
}

/** The app or pod whose instance a task is: Marathon names tasks after them. */
function ownerOf<T extends { id: string }>(task: string, all: Iterable<T>): T | undefined {
  for (const one of all) if (task.startsWith(`${one.id.slice(1).replaceAll("/", "_")}.`)) return one;
  return undefined;
}

function find(framework: string, id: string): Task | undefined {
  // A task id can be used again after its end: the newest counts.
  let found: Task | undefined;
  for (const task of cluster.now.tasks.values()) if (task.id === id && task.framework === framework && (!found || task.key > found.key)) found = task;
  return found;
}

function Kill({ task, managed, onClose }: { task: Task; managed: string | undefined; onClose: () => void }) {
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const kill = async (): Promise<void> => {
    setBusy(true);
    try {
      await send("POST", `tepui/v1/tasks/${encodeURIComponent(task.framework)}/${encodeURIComponent(task.id)}/kill`);
      onClose();
    } catch (error) {
      setProblem((error as Error).message);
      setBusy(false);
    }
  };
  return (
    <Dialog title="Kill this task?" onClose={onClose}>
      <p class="mono break">{task.id}</p>
      <p>It gets SIGTERM, and SIGKILL when its grace period is over.{managed ? ` Marathon will start another instance of ${managed} in its place.` : ""}</p>
      {problem && <p class="problem" role="alert">{problem}</p>}
      <div class="dialog-actions">
        <button type="button" onClick={onClose}>Cancel</button>
        <button type="button" class="danger" disabled={busy} onClick={() => void kill()}>Kill</button>
      </div>
    </Dialog>
  );
}
