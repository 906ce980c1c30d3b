// Marathon's apps, deployments and launch queue, read through the master's proxy and kept up to date by /v2/events.
//
// An event names what changed and not always how it is now, so the app it names is read again: one app at a time when few changed, all of
// them when many did. The queue's delays run by the clock without any event; it is read again every few seconds while it is not empty.

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

export interface Deployment {
  id: string;
  version: string;
  affectedApps: string[];
  currentStep: number;
  totalSteps: number;
  currentActions?: { action: string; app?: string; pod?: string }[];
}

export interface Queued {
  app?: { id: string };
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

/** Which app an event is about; `null` when it may be any. */
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
const QUEUE_EVERY_MS = 3_000;

const EVENT_TYPES = [
  "api_post_event", "app_terminated_event", "status_update_event", "instance_changed_event", "instance_health_changed_event",
  "health_status_changed_event", "failed_health_check_event", "add_health_check_event", "remove_health_check_event",
  "unhealthy_task_kill_event", "unhealthy_instance_kill_event", "unknown_instance_terminated_event", "framework_message_event",
  "group_change_success", "group_change_failed", "deployment_info", "deployment_success", "deployment_failed",
  "deployment_step_success", "deployment_step_failure", "scheduler_disconnected_event", "scheduler_registered_event",
  "scheduler_reregistered_event",
];

export class Marathon {
  readonly topic = new Topic();
  apps = new Map<string, App>();
  deployments: Deployment[] = [];
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
  private queueTimer: ReturnType<typeof setTimeout> | undefined;
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
    clearTimeout(this.queueTimer);
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
      const plan = event.plan as { steps?: { actions: { app?: string }[] }[] } | undefined;
      const named = (plan?.steps ?? []).flatMap((step) => step.actions.flatMap((action) => action.app ?? []));
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
    this.topic.changed();
    if (this.problem && !this.ended) this.timer = setTimeout(() => ((this.timer = undefined), void this.read()), 2_000);
    else if (this.everything || this.dirty.size > 0) this.soon();
  }

  private async readAll(): Promise<void> {
    const { apps } = await ask<{ apps: App[] }>(`${this.base}/v2/apps?${EMBED}`);
    apps.sort((one, other) => (one.id < other.id ? -1 : 1));
    this.apps = new Map(apps.map((app) => [app.id, app]));
  }

  private async readOne(id: string): Promise<void> {
    try {
      const { app } = await ask<{ app: App }>(`${this.base}/v2/apps/${appPath(id)}?${EMBED_ONE}`);
      const known = this.apps.has(id);
      this.apps.set(id, app);
      if (!known) this.apps = new Map([...this.apps].sort(([one], [other]) => (one < other ? -1 : 1)));
    } catch (error) {
      if ((error as { status?: number }).status !== 404) throw error;
      this.apps.delete(id);
    }
  }

  private async readDeployments(): Promise<void> {
    this.deployments = await ask<Deployment[]>(`${this.base}/v2/deployments`);
  }

  private async readQueue(): Promise<void> {
    const { queue } = await ask<{ queue: Queued[] }>(`${this.base}/v2/queue`);
    this.queue = new Map(queue.flatMap((entry) => (entry.app ? [[entry.app.id, entry] as const] : [])));
    clearTimeout(this.queueTimer);
    if (this.queue.size > 0 && !this.ended)
      this.queueTimer = setTimeout(() => {
        if (document.hidden) return;
        this.readQueue().then(() => this.topic.changed(), () => this.refresh());
      }, QUEUE_EVERY_MS);
  }
}
