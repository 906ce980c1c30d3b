// Marathon's apps, pods, deployments and launch queue, read through the master's proxy and kept up to date by /v2/events.
//
// An event names what changed and not always how it is now, so the app or pod it names is read again: one at a time when few changed, all of
// them when many did. The queue's delays, and the time until a trial is promoted, run by the clock without any event; they are read again
// every few seconds while there are some.

import { appPath, ask } from "../api";
import { Topic } from "./store";
import { Stream, type Standing } from "./stream";

export interface AppTask {
  id: string;
  host: string;
  ports?: number[];
  slaveId?: string;
  state: string;
  stagedAt?: string;
  startedAt?: string;
  version?: string;
  healthCheckResults?: { alive: boolean; consecutiveFailures: number; lastFailureCause?: string }[];
}

export interface TaskFailure {
  appId: string;
  host: string;
  message: string;
  state: string;
  taskId: string;
  timestamp: string;
  version: string;
  slaveId?: string;
}

export interface App {
  id: string;
  cmd?: string;
  args?: string[];
  cpus: number;
  mem: number;
  disk: number;
  gpus: number;
  instances: number;
  labels?: Record<string, string>;
  role?: string;
  healthChecks?: unknown[];
  version: string;
  versionInfo?: { lastScalingAt: string; lastConfigChangeAt: string };
  tasksStaged: number;
  tasksRunning: number;
  tasksHealthy: number;
  tasksUnhealthy: number;
  deployments: { id: string }[];
  tasks?: AppTask[];
  lastTaskFailure?: TaskFailure;
  [key: string]: unknown;
}

export interface PodEndpoint {
  name: string;
  allocatedHostPort?: number;
  healthy?: boolean;
}

export interface PodContainer {
  name: string;
  /** A task state. */
  status: string;
  statusSince: string;
  conditions?: { name: string; value: string }[];
  /** The task's id. */
  containerId: string;
  endpoints?: PodEndpoint[];
  resources?: { cpus: number; mem: number; disk?: number; gpus?: number };
  message?: string;
  termination?: { message?: string; exitCode?: number };
}

export interface PodInstance {
  id: string;
  status: string;
  statusSince: string;
  agentHostname?: string;
  agentId?: string;
  resources?: { cpus: number; mem: number; disk?: number; gpus?: number };
  networks?: { name?: string; addresses?: string[] }[];
  containers?: PodContainer[];
  specReference?: string;
  message?: string;
}

export interface PodSpec {
  id: string;
  version?: string;
  labels?: Record<string, string>;
  user?: string;
  role?: string;
  containers: { name: string; resources: { cpus: number; mem: number; disk?: number; gpus?: number }; image?: { kind?: string; id?: string }; healthCheck?: unknown }[];
  scaling?: { kind?: string; instances?: number };
  executorResources?: { cpus?: number; mem?: number; disk?: number };
  [key: string]: unknown;
}

export interface Termination {
  instanceID: string;
  terminatedAt: string;
  message?: string;
  containers?: { containerId?: string; lastKnownState?: string }[];
}

/** A pod as `::status` tells it. */
export interface Pod {
  id: string;
  spec: PodSpec;
  status: string;
  statusSince: string;
  instances: PodInstance[];
  terminationHistory?: Termination[];
}

/** What an operator wants to know of an app and of a pod alike. */
export interface Subject {
  id: string;
  pod: boolean;
  version: string;
  labels: Record<string, string>;
  wanted: number;
  running: number;
  ready: number;
  /** Health is checked. */
  checked: boolean;
  /** Of one instance. */
  cpus: number;
  mem: number;
}

export interface Deployment {
  id: string;
  version: string;
  affectedApps: string[];
  affectedPods?: string[];
  currentStep: number;
  totalSteps: number;
  currentActions?: { action: string; app?: string; pod?: string }[];
}

/** Of an app or a pod, also one that waits. */
export interface Instance {
  id: string;
  /** Of an app whose instances are numbered. */
  ordinal: number | null;
  goal: "Running" | "Stopped" | "Decommissioned";
  condition: string;
  since: string;
  ready: boolean;
  version: string;
  /** Whether it is of the definition that the page shows; null while that is not known. */
  current: boolean | null;
  host: string | null;
  agentId: string | null;
  taskId: string | null;
  ports: number[];
}

/** What `/v3/apps/{id}/instances` answers. */
export interface InstanceList {
  /** Of the definition that `current` is about. */
  version: string;
  instances: Instance[];
}

/** A deployment that tries the new version of apps beside the old one. */
export interface Trial {
  deployment: string;
  kind: "canary" | "blueGreen";
  instances: number;
  ready: number;
  promoteAfterSeconds: number | null;
  readySince: string | null;
  promotedAt: string | null;
  /** When the deployment rolls back by itself. */
  deadline: string | null;
}

/** A deployment as `/v3/deployments` tells it. */
export interface WaitingDeployment {
  id: string;
  deadline: string | null;
  trial?: Omit<Trial, "deployment" | "instances" | "ready" | "deadline"> & { apps: { app: string; instances: number; ready: number }[] } | null;
}

export interface Queued {
  app?: { id: string };
  pod?: { id: string };
  count: number;
  delay: { timeLeftSeconds: number; overdue: boolean };
  since: string;
  processedOffersSummary?: { rejectSummaryLastOffers?: { reason: string; declined: number; processed: number }[] };
}

export interface MarathonEvent {
  eventType: string;
  timestamp: string;
  appId?: string;
  runSpecId?: string;
  [key: string]: unknown;
}

export type AppState = "running" | "deploying" | "delayed" | "waiting" | "suspended";

/** How an app stands, in Marathon's words. */
export function appState(app: App, queued: Queued | undefined): AppState {
  if (queued && queued.count > 0 && app.tasksRunning + app.tasksStaged < app.instances) {
    if (!queued.delay.overdue) return "delayed";
    if (app.tasksStaged === 0) return "waiting";
  }
  if (app.deployments.length > 0) return "deploying";
  if (app.instances === 0 && app.tasksRunning === 0) return "suspended";
  return "running";
}

export const subjectOfApp = (app: App): Subject => ({
  id: app.id, pod: false, version: app.version, labels: app.labels ?? {}, wanted: app.instances, running: app.tasksRunning,
  ready: app.healthChecks?.length ? app.tasksHealthy : app.tasksRunning, checked: !!app.healthChecks?.length, cpus: app.cpus, mem: app.mem,
});

export function subjectOfPod(pod: Pod): Subject {
  const { spec } = pod;
  const runs = (one: PodInstance): boolean => one.status === "STABLE" || (one.status === "DEGRADED" && !!one.containers?.some((container) => container.status === "TASK_RUNNING"));
  const sum = (name: "cpus" | "mem"): number => spec.containers.reduce((all, container) => all + container.resources[name], spec.executorResources?.[name] ?? 0);
  return {
    id: pod.id, pod: true, version: spec.version ?? "", labels: spec.labels ?? {}, wanted: wantedOfPod(pod), running: pod.instances.filter(runs).length,
    ready: pod.instances.filter((one) => one.status === "STABLE").length, checked: spec.containers.some((one) => one.healthCheck), cpus: sum("cpus"), mem: sum("mem"),
  };
}

/** The two were not read in the same moment: who was current before a change need not be so after it. */
export function instancesAt(told: InstanceList | null, version: string | undefined): Instance[] | null {
  if (!told) return null;
  return told.version === version ? told.instances : told.instances.map((one) => ({ ...one, current: null }));
}

export const wantedOfPod = (pod: Pod): number => pod.spec.scaling?.instances ?? 1;

/** How a pod stands, in the words that apps have. */
export function podState(pod: Pod, queued: Queued | undefined, deploying: boolean): AppState | "degraded" {
  const { running, ready, wanted } = subjectOfPod(pod);
  if (queued && queued.count > 0 && running < wanted) return queued.delay.overdue ? "waiting" : "delayed";
  if (deploying) return "deploying";
  if (wanted === 0 && pod.instances.length === 0) return "suspended";
  return ready < wanted ? "degraded" : "running";
}

/** Trials by what they try. */
export function trialsOf(deployments: WaitingDeployment[]): Map<string, Trial> {
  const found = new Map<string, Trial>();
  for (const { id, deadline, trial } of deployments) {
    if (!trial) continue;
    const { apps, ...rest } = trial;
    for (const { app, instances, ready } of apps) found.set(app, { ...rest, deployment: id, deadline, instances, ready });
  }
  return found;
}

/** Which app or pod an event is about; `null` when it may be any. */
export function aboutApp(event: MarathonEvent): string | null {
  const definition = event.appDefinition as { id?: string } | undefined;
  return event.appId ?? event.runSpecId ?? definition?.id ?? null;
}

const EMBED = "embed=apps.tasks&embed=apps.counts&embed=apps.deployments&embed=apps.lastTaskFailure";
const EMBED_ONE = "embed=app.tasks&embed=app.counts&embed=app.deployments&embed=app.lastTaskFailure";
const EVENTS_KEPT = 500;
const GATHER_MS = 250;
/** More apps than this are not read one by one. */
const FEW = 8;
const CLOCK_EVERY_MS = 3_000;

const EVENT_TYPES = [
  "api_post_event", "app_terminated_event", "status_update_event", "instance_changed_event", "instance_health_changed_event",
  "health_status_changed_event", "failed_health_check_event", "add_health_check_event", "remove_health_check_event",
  "unhealthy_task_kill_event", "unhealthy_instance_kill_event", "unknown_instance_terminated_event", "framework_message_event",
  "pod_created_event", "pod_updated_event", "pod_deleted_event", "group_change_success", "group_change_failed", "deployment_info", "deployment_success", "deployment_failed",
  "deployment_step_success", "deployment_step_failure", "scheduler_disconnected_event", "scheduler_registered_event",
  "scheduler_reregistered_event",
];

export class Marathon {
  readonly topic = new Topic();
  apps = new Map<string, App>();
  pods = new Map<string, Pod>();
  deployments: Deployment[] = [];
  /** By the app or pod that is on trial. */
  trials = new Map<string, Trial>();
  queue = new Map<string, Queued>();
  /** The newest first. */
  events: MarathonEvent[] = [];
  standing: Standing = "connecting";
  /** The first answer is in. */
  ready = false;
  problem: string | null = null;
  readonly base: string;
  private readonly stream: Stream;
  private readonly dirty = new Set<string>();
  private everything = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private clockTimer: ReturnType<typeof setTimeout> | undefined;
  private busy = false;
  private ended = false;

  constructor(readonly framework: string) {
    this.base = `service/${encodeURIComponent(framework)}`;
    const take = (event: unknown): void => this.take(event as MarathonEvent);
    this.stream = new Stream(`${this.base}/v2/events`, {
      events: Object.fromEntries([...EVENT_TYPES.map((type) => [type, take]), ["event_stream_attached", () => this.refresh()]]),
      standing: (standing) => {
        this.standing = standing;
        this.topic.changed();
      },
    });
    this.refresh();
  }

  end(): void {
    this.ended = true;
    this.stream.end();
    clearTimeout(this.timer);
    clearTimeout(this.clockTimer);
  }

  /** Reads all again, soon. */
  refresh = (): void => {
    this.everything = true;
    this.soon();
  };

  private take(event: MarathonEvent): void {
    this.events = [event, ...this.events.slice(0, EVENTS_KEPT - 1)];
    const app = aboutApp(event);
    if (event.eventType.startsWith("deployment_") || event.eventType.startsWith("group_")) {
      const plan = event.plan as { steps?: { actions: { app?: string; pod?: string }[] }[] } | undefined;
      const named = (plan?.steps ?? []).flatMap((step) => step.actions.flatMap((action) => action.app ?? action.pod ?? []));
      named.forEach((id) => this.dirty.add(id));
    } else if (app) this.dirty.add(app);
    else this.everything = true;
    this.topic.changed();
    this.soon();
  }

  private soon(): void {
    if (this.timer !== undefined || this.busy || this.ended) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      void this.read();
    }, this.ready ? GATHER_MS : 0);
  }

  private async read(): Promise<void> {
    const all = this.everything || this.dirty.size > FEW || !this.ready;
    const some = [...this.dirty];
    this.everything = false;
    this.dirty.clear();
    this.busy = true;
    try {
      await Promise.all([all ? this.readAll() : Promise.all(some.map((id) => this.readOne(id))), this.readDeployments(), this.readQueue()]);
      this.problem = null;
      this.ready = true;
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
      this.everything = true;
    }
    this.busy = false;
    this.tick();
    this.topic.changed();
    if (this.problem && !this.ended) this.timer = setTimeout(() => ((this.timer = undefined), void this.read()), 2_000);
    else if (this.everything || this.dirty.size > 0) this.soon();
  }

  private async readAll(): Promise<void> {
    // A Marathon of old may have no pods.
    const none = (error: { status?: number }): Pod[] => {
      if (error.status === 404) return [];
      throw error;
    };
    const [{ apps }, pods] = await Promise.all([ask<{ apps: App[] }>(`${this.base}/v2/apps?${EMBED}`), ask<Pod[]>(`${this.base}/v2/pods/::status`).catch(none)]);
    this.apps = byId(apps);
    this.pods = byId(pods);
  }

  private async readOne(id: string): Promise<void> {
    // What an event names is an app or a pod; one that is new is looked for among both.
    if (!this.pods.has(id) && (await this.readInto("apps", id, async () => (await ask<{ app: App }>(`${this.base}/v2/apps/${appPath(id)}?${EMBED_ONE}`)).app))) return;
    if (await this.readInto("pods", id, () => ask<Pod>(`${this.base}/v2/pods/${appPath(id)}::status`))) return;
    this.apps.delete(id);
    this.pods.delete(id);
  }

  /** False if there is none. */
  private async readInto<Kind extends "apps" | "pods">(kind: Kind, id: string, read: () => Promise<App | Pod>): Promise<boolean> {
    const all = this[kind] as Map<string, App | Pod>;
    let one: App | Pod;
    try {
      one = await read();
    } catch (error) {
      if ((error as { status?: number }).status !== 404) throw error;
      all.delete(id);
      return false;
    }
    const known = all.has(id);
    all.set(id, one);
    if (!known) this[kind] = byId([...all.values()]) as this[Kind];
    return true;
  }

  private async readDeployments(): Promise<void> {
    this.deployments = await ask<Deployment[]>(`${this.base}/v2/deployments`);
    await this.readTrials();
  }

  private async readTrials(): Promise<void> {
    // Marathon itself has none.
    const read = async (): Promise<WaitingDeployment[]> => (await ask<{ deployments: WaitingDeployment[] }>(`${this.base}/v3/deployments`)).deployments;
    this.trials = trialsOf(this.deployments.length === 0 ? [] : await read().catch(() => []));
  }

  private async readQueue(): Promise<void> {
    const { queue } = await ask<{ queue: Queued[] }>(`${this.base}/v2/queue`);
    this.queue = new Map(queue.flatMap((entry) => { const id = entry.app?.id ?? entry.pod?.id; return id ? [[id, entry] as const] : []; }));
  }

  /** Reads what the clock changes, as long as there is some of it. */
  private tick(): void {
    clearTimeout(this.clockTimer);
    if ((this.queue.size === 0 && this.trials.size === 0) || this.ended) return;
    this.clockTimer = setTimeout(() => {
      if (document.hidden) return this.tick();
      Promise.all([this.readQueue(), this.readTrials()]).then(() => (this.topic.changed(), this.tick()), () => this.refresh());
    }, CLOCK_EVERY_MS);
  }
}

/** In the order of their ids. */
function byId<T extends { id: string }>(all: T[]): Map<string, T> {
  return new Map([...all].sort((one, other) => (one.id < other.id ? -1 : 1)).map((one) => [one.id, one]));
}
