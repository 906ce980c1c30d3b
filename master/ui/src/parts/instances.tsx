// The instances of an app, as `/v3/apps/{id}/instances` tells them with their numbers, and as `/v2` does with their health.

import { seconds } from "../format";
import { cluster, marathon } from "../live";
import { instancesAt, type App, type AppTask, type Instance, type InstanceList, type Subject } from "../live/marathon";
import { useReading } from "../live/reading";
import { machineOf } from "../maintenance";
import { link } from "../router";
import { moreUrlOf } from "./change";
import { StageBadge } from "./machines";
import { Ago, Badge, State } from "./small";
import { Table, type Column } from "./table";
import { taskLink } from "./tasklist";
import type { Explanation } from "./waiting";

/** Also those that wait; null while it is not known, or from a Marathon that cannot tell. */
export const useInstances = (subject: Subject | undefined, seen: unknown): Instance[] | null =>
  instancesAt(useReading<InstanceList>(subject ? moreUrlOf(subject, "instances") : null, seen).value, subject?.version);

export const frameworkId = (): string => [...cluster.now.frameworks.values()].find((one) => one.name === marathon?.framework && one.connected)?.id ?? "";

/** What tells instances of one app apart: the instance, and how often it was started. */
export const instanceName = (task: string): string => task.replace(/^[^.]*\.instance-/, "").replace(/\._app\./, " #").replace(/\.(\d+)$/, " #$1");

export function InstanceLink({ instance }: { instance: Instance }) {
  const name = instanceName(instance.taskId ?? instance.id);
  const text = <span class="mono cut instance" title={instance.taskId ?? instance.id}>{name}</span>;
  return instance.taskId && instance.condition !== "Scheduled" ? <a href={taskLink({ framework: frameworkId(), id: instance.taskId })}>{text}</a> : text;
}

/** An instance, its task, or both. */
interface Row {
  id: string;
  instance: Instance | undefined;
  task: AppTask | undefined;
}

export function rowsOf(instances: Instance[] | null, tasks: AppTask[]): Row[] {
  const left = new Map(tasks.map((task) => [task.id, task]));
  const rows: Row[] = (instances ?? []).map((instance) => {
    const task = instance.taskId === null ? undefined : left.get(instance.taskId);
    if (task) left.delete(task.id);
    return { id: instance.id, instance, task };
  });
  // The two were not read in the same moment; what only one of them knows is shown too.
  return [...rows, ...[...left.values()].map((task) => ({ id: task.id, instance: undefined, task }))];
}

const healthOf = (task: AppTask | undefined): boolean | undefined => (task?.healthCheckResults?.length ? task.healthCheckResults.every((result) => result.alive) : undefined);

function RowState({ row }: { row: Row }) {
  const { instance, task } = row;
  if (instance?.condition === "Scheduled") return <Badge tone="warn">Waiting</Badge>;
  const ending = instance && instance.goal !== "Running" && instance.condition === "Running";
  if (ending) return <Badge tone="warn">Ending</Badge>;
  return <State state={task?.state ?? `TASK_${(instance?.condition ?? "unknown").toUpperCase()}`} healthy={healthOf(task)} />;
}

export function Instances({ app, instances, explanation }: { app: App; instances: Instance[] | null; explanation: Explanation | null }) {
  const framework = frameworkId();
  const rows = rowsOf(instances, app.tasks ?? []);
  const numbered = rows.some((row) => row.instance && row.instance.ordinal !== null);
  const trial = marathon?.trials.has(app.id) ?? false;
  const started = ({ task, instance }: Row): string => task?.startedAt ?? task?.stagedAt ?? instance?.since ?? "";
  const ordinal: Column<Row>[] = numbered
    ? [{ name: "Ordinal", by: (row) => row.instance?.ordinal ?? Number.MAX_SAFE_INTEGER, cell: (row) => <b>{row.instance?.ordinal ?? "–"}</b> }]
    : [];
  const version = (row: Row) => {
    const current = row.instance ? row.instance.current : row.task?.version === undefined ? null : row.task.version === app.version;
    if (current === null) return "–";
    if (trial) return current ? <Badge tone="busy">new, tried</Badge> : "old";
    return current ? "current" : <Badge tone="warn">older</Badge>;
  };
  return (
    <Table label="Instances" rows={rows} keyOf={(row) => row.id} first={numbered ? "Ordinal" : "-Started"} empty="No instance runs."
      columns={[
        ...ordinal,
        { name: "Instance", by: (row) => row.id, cell: ({ task, instance }) => (task ? <a class="mono cut instance" title={task.id} href={taskLink({ framework, id: task.id })}>{instanceName(task.id)}</a> : instance && <InstanceLink instance={instance} />) },
        { name: "State", by: (row) => row.task?.state ?? row.instance?.condition ?? "", cell: (row) => {
          const machine = machineOf(explanation?.machines, row.instance?.id ?? "");
          return <><RowState row={row} />{machine && <> <StageBadge machine={machine} /></>}</>;
        } },
        { name: "Health", wide: true, cell: ({ task }) => {
          const alive = healthOf(task);
          return alive === undefined ? <span class="dim">not checked</span> : alive ? <Badge tone="good">Healthy</Badge> : <Badge tone="bad" title={task?.healthCheckResults?.[0]?.lastFailureCause}>Unhealthy</Badge>;
        } },
        { name: "Address", wide: trial, by: (row) => row.task?.host ?? row.instance?.host ?? "", cell: ({ task, instance }) => task?.ports?.length ? task.ports.map((port) => <a key={port} class="listed" href={`http://${task.host}:${port}/`} target="_blank" rel="noreferrer">{task.host}:{port}</a>) : task?.host ?? instance?.host ?? <span class="dim">none yet</span> },
        { name: "Agent", wide: true, cell: ({ task, instance }) => {
          const agent = cluster.now.agents.get(task?.slaveId ?? instance?.agentId ?? "");
          return agent ? <a href={link("agents", agent.id)}>{agent.hostname}:{agent.port}</a> : "–";
        } },
        { name: "Version", wide: !trial, by: (row) => row.task?.version ?? row.instance?.version ?? "", cell: (row) => <>{version(row)}</> },
        { name: "Started", wide: true, align: "end", by: started, cell: (row) => <Ago at={seconds(started(row))} /> },
      ]} />
  );
}
