// Tasks that have ended, as Marathon remembers them: when, why and how, with their logs for as long as their agent keeps them.

import { useState } from "preact/hooks";
import { appPath } from "../api";
import { absolute, duration, plural, seconds, stateName } from "../format";
import { cluster, marathon } from "../live";
import { CAUSES } from "../live/causes";
import { useReading } from "../live/reading";
import { instanceName } from "./instances";
import { LogView } from "./logview";
import { Ago, Badge, Dialog, Empty } from "./small";
import { Table } from "./table";
import { taskLink } from "./tasklist";
import { AgentName } from "./waiting";

interface EndedContainer {
  name: string;
  taskId: string;
  state: string;
  message: string;
}

interface EndedTask {
  taskId: string;
  instanceId: string;
  ordinal: number | null;
  version: string;
  host: string;
  agentId: string;
  stagedAt: string;
  startedAt: string | null;
  endedAt: string;
  cause: string;
  state: string;
  message: string;
  exitCode: number | null;
  signal: string | null;
  sandbox: { frameworkId: string; path: string } | null;
  containers?: EndedContainer[];
}

interface History {
  kept: number;
  dropped: number;
  matching: number;
  tasks: EndedTask[];
}

const EVERY_MS = 10_000;
const SOME = 50;

/** Of an app or a pod, also of one that is there no longer. */
export function Ended({ id, pod, seen, quiet }: { id: string; pod: boolean; seen: unknown; /** Nothing is said if nothing is known. */ quiet?: boolean }) {
  const [limit, setLimit] = useState(SOME);
  const [cause, setCause] = useState("");
  const [shown, setShown] = useState<EndedTask | null>(null);
  const query = new URLSearchParams({ limit: String(limit), ...(cause ? { cause } : {}) });
  const { value, problem } = useReading<History>(`${marathon?.base}/v3/${pod ? "pods" : "apps"}/${appPath(id)}/history?${query}`, seen, EVERY_MS);
  if (!value && quiet) return null;
  if (problem && !value) return <Empty>{problem.status === 404 ? "This Marathon remembers no tasks that have ended." : problem.message}</Empty>;
  if (!value) return <Empty>Reading…</Empty>;
  const { tasks, kept, dropped, matching } = value;
  const numbered = tasks.some((task) => task.ordinal !== null);
  const causes = cause && !(cause in CAUSES) ? [cause] : Object.keys(CAUSES);
  return (
    <section class="ended" aria-label="Ended tasks">
      <div class="filters">
        <select aria-label="Why it ended" value={cause} onChange={(event) => setCause(event.currentTarget.value)}>
          <option value="">Ended for any reason</option>
          {causes.map((name) => <option key={name} value={name}>{CAUSES[name]?.[1] ?? name}</option>)}
        </select>
        <span class="dim">{plural(kept, "ended task")} remembered{dropped > 0 && `, ${plural(dropped, "older one")} forgotten`}</span>
      </div>
      <Table label="Ended tasks" rows={tasks} keyOf={(task) => task.taskId} empty={cause ? "None of them ended like that." : "No task of it has ended yet."}
        columns={[
          { name: "Ended", by: (task) => task.endedAt, cell: (task) => <Ago at={seconds(task.endedAt)} /> },
          { name: "Why", by: (task) => task.cause, cell: (task) => <How task={task} /> },
          ...(numbered ? [{ name: "Ordinal", wide: true, cell: (task: EndedTask) => task.ordinal ?? "–" }] : []),
          { name: pod ? "Instance" : "Task", wide: true, cell: (task) => <TaskName task={task} pod={pod} /> },
          { name: "Agent", wide: true, by: (task) => task.host, cell: (task) => <AgentName id={task.agentId} host={task.host} /> },
          { name: "Ran for", align: "end", wide: true, by: ran, cell: (task) => (task.startedAt === null ? <span class="dim">never ran</span> : <span title={`from ${absolute(seconds(task.startedAt) ?? 0)}`}>{duration(ran(task))}</span>) },
          { name: "", align: "end", cell: (task) => task.sandbox && <button type="button" class="link" onClick={() => setShown(task)}>Logs</button> },
        ]} />
      {matching > tasks.length && <button type="button" onClick={() => setLimit(limit + SOME)}>Show more of {(matching - tasks.length).toLocaleString("en")}</button>}
      {shown && <Logs task={shown} onClose={() => setShown(null)} />}
    </section>
  );
}

const ran = (task: EndedTask): number => (task.startedAt === null ? 0 : Math.max(0, (seconds(task.endedAt) ?? 0) - (seconds(task.startedAt) ?? 0)));

function How({ task }: { task: EndedTask }) {
  const [tone, words] = CAUSES[task.cause] ?? ["idle", task.cause];
  const end = task.exitCode !== null ? `exit code ${task.exitCode}` : task.signal !== null ? `signal ${task.signal}` : "";
  return (
    <>
      <Badge tone={tone} title={stateName(task.state)}>{words}</Badge>
      <div class={`said ${tone === "bad" ? "failing" : "dim"}`}>{task.message || stateName(task.state)}{end && !/\d|signal/.test(task.message) && ` (${end})`}</div>
    </>
  );
}

/** With its page, as long as the master remembers it too. */
function TaskName({ task, pod }: { task: EndedTask; pod: boolean }) {
  const name = <span class="mono cut instance" title={task.taskId}>{instanceName(pod ? task.instanceId : task.taskId)}</span>;
  return task.sandbox ? <a href={taskLink({ framework: task.sandbox.frameworkId, id: task.taskId })}>{name}</a> : name;
}

function Logs({ task, onClose }: { task: EndedTask; onClose: () => void }) {
  const containers = task.containers ?? [];
  const first = containers.find((one) => one.taskId === task.taskId) ?? containers[0];
  const [chosen, choose] = useState(first);
  if (!task.sandbox) return null;
  const { path } = task.sandbox;
  return (
    <Dialog title={`Logs of ${instanceName(containers.length > 0 ? task.instanceId : task.taskId)}`} onClose={onClose} wide>
      {containers.length > 1 && (
        <div class="filters" role="group" aria-label="Containers">
          {containers.map((one) => <button key={one.taskId} type="button" aria-pressed={one === chosen} onClick={() => choose(one)}>{one.name}</button>)}
        </div>
      )}
      {chosen && <p class="dim break">{stateName(chosen.state)}{chosen.message && `: ${chosen.message}`}</p>}
      {cluster.now.agents.has(task.agentId)
        ? <LogView key={chosen?.taskId} agent={task.agentId} folder={chosen ? `${path}/tasks/${chosen.taskId}` : path} />
        : <Empty>The agent is gone, and the logs with it.</Empty>}
    </Dialog>
  );
}
