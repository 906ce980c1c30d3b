// Marathon's pods, and one of them: its instances, and in each of those its containers.

import { useState } from "preact/hooks";
import { send } from "../api";
import { duration, mebibytes, number, plural, seconds, type Tone } from "../format";
import { cluster, clusterTopic, marathon, marathonTopic } from "../live";
import { podState, subjectOfPod, type Instance, type Pod, type PodContainer, type PodInstance } from "../live/marathon";
import { useTopics } from "../live/store";
import { Confirm, urlOf } from "../parts/change";
import { frameworkId } from "../parts/instances";
import { Ago, Badge, Copy, Empty, Head, State } from "../parts/small";
import { Table } from "../parts/table";
import { taskLink } from "../parts/tasklist";
import { AgentName } from "../parts/waiting";
import { appLink, podLink, setQuery, useRoute } from "../router";
import { AppEditor } from "./appeditor";
import { NoMarathon, TONES, Traits, TrialBadge } from "./apps";
import { Absent, SubjectPage } from "./subject";

const deploying = (id: string): boolean => marathon?.deployments.some((one) => one.affectedPods?.includes(id)) ?? false;

export function PodBadge({ pod }: { pod: Pod }) {
  const queued = marathon?.queue.get(pod.id);
  const state = podState(pod, queued, deploying(pod.id));
  const trial = marathon?.trials.get(pod.id);
  if (trial) return <TrialBadge trial={trial} />;
  const words = state.charAt(0).toUpperCase() + state.slice(1);
  const left = state === "delayed" && queued ? ` ${duration(queued.delay.timeLeftSeconds)}` : "";
  return <Badge tone={state === "degraded" ? "bad" : TONES[state]}>{words}{left}</Badge>;
}

/** How many instances are as they should be, run, are under way, and are missing. */
export function PodBar({ pod }: { pod: Pod }) {
  const { wanted, running, ready } = subjectOfPod(pod);
  const started = pod.instances.filter((one) => one.status === "STAGING" || one.status === "PENDING").length;
  const parts = [["healthy", ready, "stable"], ["unhealthy", running - ready, "degraded"], ["staged", started, "starting"], ["missing", Math.max(0, wanted - running - started), "missing"]] as const;
  const words = parts.filter(([, count]) => count > 0).map(([, count, name]) => `${count} ${name}`).join(", ") || "nothing runs";
  return <span class="health" role="img" aria-label={words} title={words}>{parts.map(([name, count]) => count > 0 && <span key={name} class={name} style={{ flexGrow: count }} />)}</span>;
}

export function Pods() {
  useTopics(marathonTopic);
  const { query } = useRoute();
  const text = query.get("text") ?? "";
  const [making, setMaking] = useState(false);
  if (!marathon) return <NoMarathon title="Pods" />;
  const all = [...marathon.pods.values()];
  const pods = all.filter((pod) => pod.id.toLowerCase().includes(text.toLowerCase()));
  const sum = (pod: Pod, name: "cpus" | "mem"): number => subjectOfPod(pod)[name] * subjectOfPod(pod).wanted;
  return (
    <>
      <Head title="Pods" note={pods.length === all.length ? plural(all.length, "pod") : `${pods.length} of ${plural(all.length, "pod")}`}>
        <input type="search" placeholder="Filter by id" aria-label="Filter pods by id" value={text} onInput={(event) => setQuery({ text: event.currentTarget.value })} />
        <button type="button" class="primary" onClick={() => setMaking(true)}>New pod</button>
      </Head>
      {marathon.problem && <p class="problem">Marathon: {marathon.problem}</p>}
      <Table label="Pods" rows={pods} keyOf={(pod) => pod.id} first="Pod"
        empty={!marathon.ready ? "Reading…" : all.length === 0 ? "No pod yet. ‘New pod’ makes one from JSON." : "No pod is named like that."}
        columns={[
          { name: "Pod", by: (pod) => pod.id, cell: (pod) => <><a class="strong break" href={podLink(pod.id)}>{pod.id}</a> <Traits labels={pod.spec.labels ?? {}} /></> },
          { name: "State", by: (pod) => podState(pod, marathon?.queue.get(pod.id), deploying(pod.id)), cell: (pod) => <PodBadge pod={pod} /> },
          { name: "Instances", align: "end", by: (pod) => subjectOfPod(pod).wanted, cell: (pod) => <>{subjectOfPod(pod).running} <span class="dim">of {subjectOfPod(pod).wanted}</span></> },
          { name: "Health", wide: true, by: (pod) => -subjectOfPod(pod).ready, cell: (pod) => <PodBar pod={pod} /> },
          { name: "Containers", wide: true, cell: (pod) => <span class="dim">{pod.spec.containers.map((one) => one.name).join(", ")}</span> },
          { name: "CPUs", align: "end", wide: true, by: (pod) => sum(pod, "cpus"), cell: (pod) => number(sum(pod, "cpus")) },
          { name: "Memory", align: "end", wide: true, by: (pod) => sum(pod, "mem"), cell: (pod) => mebibytes(sum(pod, "mem")) },
        ]} />
      {making && <AppEditor pod onClose={() => setMaking(false)} />}
    </>
  );
}

export function PodPage({ id }: { id: string }) {
  useTopics(marathonTopic, clusterTopic);
  if (!marathon) return <NoMarathon title="Pods" />;
  const pod = marathon.pods.get(id);
  return pod ? <Known pod={pod} /> : <Absent id={id} pod other={marathon.apps.has(id) ? appLink(id) : null} />;
}

function Known({ pod }: { pod: Pod }) {
  const subject = subjectOfPod(pod);
  const { spec } = pod;
  const failure = pod.terminationHistory?.[0];
  const last = failure?.containers?.[0];
  return (
    <SubjectPage subject={subject} now={spec} badge={<PodBadge pod={pod} />}
      summary={() => (
        <>
          <p class="big"><b>{subject.running}</b> of {subject.wanted} running</p>
          <PodBar pod={pod} />
          <p class="dim">{subject.ready} stable{subject.running > subject.ready && `, ${subject.running - subject.ready} degraded`}{!subject.checked && ", without a health check"}</p>
        </>
      )}
      facts={[
        ["Each instance", `${plural(spec.containers.length, "container")}, ${number(subject.cpus)} CPU, ${mebibytes(subject.mem)}`],
        ["Role", <code>{spec.role ?? "*"}</code>],
        !!spec.user && (["User", spec.user] as const),
        ["Changed", <Ago at={seconds(spec.version)} />],
      ]}
      failure={failure && { at: failure.terminatedAt, words: failure.message || (last?.lastKnownState ?? ""), task: last?.containerId }}
      list={(instances) => <PodInstances pod={pod} instances={instances} />} />
  );
}

/** So many are drawn at first, and more each time one asks. */
const SOME = 50;
/** Up to so many are shown with their containers at once. */
const FEW = 6;

const STATES: Record<string, [Tone, string]> = {
  STABLE: ["good", "Stable"], DEGRADED: ["bad", "Degraded"], STAGING: ["busy", "Staging"], PENDING: ["busy", "Pending"], TERMINAL: ["idle", "Ended"],
};

function PodInstances({ pod, instances }: { pod: Pod; instances: Instance[] | null }) {
  const [most, setMost] = useState(SOME);
  const [killing, setKilling] = useState<PodInstance | null>(null);
  const of = new Map((instances ?? []).map((one) => [one.id, one]));
  const ordinal = (one: PodInstance): number => of.get(one.id)?.ordinal ?? Number.MAX_SAFE_INTEGER;
  const shown = [...pod.instances].sort((one, other) => ordinal(one) - ordinal(other) || (one.id < other.id ? -1 : 1));
  const known = new Set(shown.map((one) => one.id));
  const waiting = (instances ?? []).filter((one) => !known.has(one.id));
  if (shown.length + waiting.length === 0) return <Empty>No instance runs.</Empty>;
  return (
    <div class="pods">
      {shown.slice(0, most).map((one) => <PodInstanceCard key={one.id} pod={pod} instance={one} more={of.get(one.id)} open={shown.length <= FEW} onKill={() => setKilling(one)} />)}
      {shown.length > most && <button type="button" onClick={() => setMost(most + SOME)}>Show {Math.min(SOME, shown.length - most)} more of {shown.length - most}</button>}
      {waiting.slice(0, SOME).map((one) => (
        <section key={one.id} class="card pod-instance">
          <p class="pod-head"><Badge tone="warn">{one.condition === "Scheduled" ? "Waiting" : one.condition}</Badge> <span class="mono break">{name(one.id)}</span> <span class="dim">{one.condition === "Scheduled" ? "no offer has been taken for it yet" : ""}</span></p>
        </section>
      ))}
      {killing && (
        <Confirm title="Kill this instance?" yes="Kill" danger change={() => send("DELETE", `${urlOf(subjectOfPod(pod))}::instances/${encodeURIComponent(killing.id)}`)} onClose={() => setKilling(null)}>
          <p class="mono break">{killing.id}</p>
          <p>All its containers end, and Marathon starts it again.</p>
        </Confirm>
      )}
    </div>
  );
}

/** What tells instances of one pod apart. */
const name = (id: string): string => id.replace(/^[^.]*\.instance-/, "");

function PodInstanceCard({ pod, instance, more, open, onKill }: { pod: Pod; instance: PodInstance; more: Instance | undefined; open: boolean; onKill: () => void }) {
  const [tone, words] = STATES[instance.status] ?? ["idle", instance.status];
  const addresses = (instance.networks ?? []).flatMap((one) => (one.addresses ?? []).map((address) => (one.name ? `${address} (${one.name})` : address)));
  const current = more ? more.current : instance.specReference === undefined ? null : instance.specReference.endsWith(pod.spec.version ?? "");
  return (
    <details class="card pod-instance" open={open}>
      <summary>
        <span class="pod-head">
          <Badge tone={tone}>{words}</Badge>
          {more && more.ordinal !== null && <b class="ordinal" title="Ordinal">{more.ordinal}</b>}
          <span class="mono break">{name(instance.id)}</span> <Copy text={instance.id} />
          {current === false && <Badge tone="warn">older version</Badge>}
          {marathon?.trials.has(pod.id) && current && <Badge tone="busy">new, tried</Badge>}
          <span class="dim">on <AgentName id={instance.agentId ?? ""} host={instance.agentHostname ?? "–"} />, <Ago at={seconds(instance.statusSince)} /></span>
        </span>
        <button type="button" class="danger" onClick={(event) => (event.preventDefault(), onKill())}>Kill</button>
      </summary>
      {instance.message && <p class="problem">{instance.message}</p>}
      <Containers instance={instance} />
      <p class="dim">
        {addresses.length > 0 && `${addresses.length === 1 ? "Address" : "Addresses"} ${addresses.join(", ")}`}
        {instance.resources && `${addresses.length ? " · " : ""}${number(instance.resources.cpus)} CPU, ${mebibytes(instance.resources.mem)} with its executor`}
      </p>
    </details>
  );
}

const healthOf = (container: PodContainer): boolean | undefined => {
  const told = container.conditions?.find((one) => one.name === "healthy");
  return told ? told.value === "true" : undefined;
};

/** The state, and what was said when it came to that: how it ended, if it has. */
function ContainerState({ container }: { container: PodContainer }) {
  const { status, termination, message } = container;
  const words = termination?.message || message;
  const exit = termination?.exitCode;
  return (
    <>
      <State state={status} healthy={healthOf(container)} />
      {(words || exit !== undefined) && <div class={`said ${status === "TASK_FAILED" || status === "TASK_ERROR" ? "failing" : "dim"}`}>{words}{exit !== undefined && ` (exit code ${exit})`}</div>}
    </>
  );
}

function Containers({ instance }: { instance: PodInstance }) {
  const framework = frameworkId();
  return (
    <Table label={`Containers of ${instance.id}`} rows={instance.containers ?? []} keyOf={(one) => one.containerId} empty="Its containers are not known yet."
      columns={[
        { name: "Container", cell: (one) => <a class="strong" href={taskLink({ framework, id: one.containerId })}>{one.name}</a> },
        { name: "State", cell: (one) => <ContainerState container={one} /> },
        { name: "Health", wide: true, cell: (one) => {
          const healthy = healthOf(one);
          return healthy === undefined ? <span class="dim">not checked</span> : <Badge tone={healthy ? "good" : "bad"}>{healthy ? "Healthy" : "Unhealthy"}</Badge>;
        } },
        { name: "Endpoints", cell: (one) => one.endpoints?.length ? one.endpoints.map((endpoint) => <Endpoint key={endpoint.name} host={instance.agentHostname} endpoint={endpoint} />) : <span class="dim">–</span> },
        { name: "CPUs", wide: true, align: "end", cell: (one) => number(one.resources?.cpus ?? 0) },
        { name: "Memory", wide: true, align: "end", cell: (one) => mebibytes(one.resources?.mem ?? 0) },
        { name: "Since", wide: true, align: "end", cell: (one) => <Ago at={seconds(one.statusSince)} /> },
        { name: "", align: "end", wide: true, cell: (one) => cluster.now.agents.has(instance.agentId ?? "") ? <a href={taskLink({ framework, id: one.containerId })}>Logs</a> : "" },
      ]} />
  );
}

function Endpoint({ host, endpoint }: { host: string | undefined; endpoint: { name: string; allocatedHostPort?: number; healthy?: boolean } }) {
  const { allocatedHostPort: port, healthy } = endpoint;
  const words = `${endpoint.name}${healthy === false ? ", unhealthy" : ""}`;
  return <span class="listed">{port !== undefined && host ? <a href={`http://${host}:${port}/`} target="_blank" rel="noreferrer">{host}:{port}</a> : ""} <span class="dim">{words}</span></span>;
}
