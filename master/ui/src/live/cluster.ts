// What the master told: agents, frameworks, tasks and offers, kept up to date by the events of /tepui/v1/events.
//
// Pure: `take` folds one event in; sums and counts are kept incrementally, so that a page costs the same with 10 tasks and with 100,000.
// A snapshot after a reconnect is gathered aside and swapped in when it is whole: pages never see half a cluster.

/** cpus, gpus, mem in MiB, disk in MiB. */
export type Amounts = [number, number, number, number];

export interface Agent {
  id: string;
  hostname: string;
  port: number;
  active: boolean;
  connected: boolean;
  deactivated: boolean;
  /** By an operator's order; `since` and `grace`, the bound on grace periods, in seconds. */
  drain?: { state: "DRAINING" | "DRAINED"; since?: number; grace?: number; mark_gone: boolean };
  version: string;
  registered: number;
  total: Amounts;
  used: Amounts;
  offered: Amounts;
  attributes: Record<string, unknown>;
}

export interface Framework {
  id: string;
  name: string;
  user: string;
  roles: string[];
  active: boolean;
  connected: boolean;
  hostname: string;
  webui_url: string;
  principal?: string;
  registered: number;
  unregistered?: number;
}

export interface Task {
  key: number;
  id: string;
  name: string;
  framework: string;
  agent: string;
  executor?: string;
  list: "active" | "unreachable" | "completed";
  state: string;
  role?: string;
  resources: Amounts;
  ports?: number[];
  started?: number;
  updated?: number;
  healthy?: boolean;
  message?: string;
  reason?: string;
}

export interface Offer {
  key: number;
  id: string;
  framework: string;
  agent: string;
  role: string;
  resources: Amounts;
  made: number;
}

/** One event of the stream. */
export interface StateEvent {
  reset?: boolean;
  ready?: boolean;
  number?: number;
  agents?: Agent[];
  frameworks?: Framework[];
  tasks?: Task[];
  offers?: Offer[];
  agents_gone?: string[];
  frameworks_gone?: string[];
  tasks_gone?: number[];
  offers_gone?: number[];
}

/** What the active tasks of an agent or of a framework amount to. */
export interface Load {
  active: number;
  running: number;
  amounts: Amounts;
}

const nothing = (): Load => ({ active: 0, running: 0, amounts: [0, 0, 0, 0] });
const NO_LOAD: Readonly<Load> = nothing();

/** One consistent picture. */
export class Picture {
  readonly agents = new Map<string, Agent>();
  readonly frameworks = new Map<string, Framework>();
  readonly tasks = new Map<number, Task>();
  readonly offers = new Map<number, Offer>();
  readonly byState = new Map<string, number>();
  private readonly loads = new Map<string, Load>();
  /** State changes seen since the snapshot was whole. */
  changes = 0;

  loadOf(id: string): Readonly<Load> {
    return this.loads.get(id) ?? NO_LOAD;
  }

  count(state: string): number {
    return this.byState.get(state) ?? 0;
  }

  fold(event: StateEvent): void {
    for (const agent of event.agents ?? []) this.agents.set(agent.id, agent);
    for (const framework of event.frameworks ?? []) this.frameworks.set(framework.id, framework);
    for (const offer of event.offers ?? []) this.offers.set(offer.key, offer);
    for (const task of event.tasks ?? []) this.put(task);
    for (const id of event.agents_gone ?? []) this.agents.delete(id);
    for (const id of event.frameworks_gone ?? []) this.frameworks.delete(id);
    for (const key of event.offers_gone ?? []) this.offers.delete(key);
    for (const key of event.tasks_gone ?? []) {
      const task = this.tasks.get(key);
      if (task) this.weigh(task, -1);
      this.tasks.delete(key);
    }
  }

  private put(task: Task): void {
    const before = this.tasks.get(task.key);
    if (before) this.weigh(before, -1);
    if (before?.state !== task.state) this.changes += 1;
    this.tasks.set(task.key, task);
    this.weigh(task, 1);
  }

  private weigh(task: Task, sign: 1 | -1): void {
    this.byState.set(task.state, this.count(task.state) + sign);
    if (task.list !== "active") return;
    for (const id of [task.agent, task.framework]) {
      const load = this.loads.get(id) ?? nothing();
      load.active += sign;
      if (task.state === "TASK_RUNNING") load.running += sign;
      // Sums of floats drift; nothing weighs exactly nothing.
      load.amounts = load.active === 0 ? [0, 0, 0, 0] : (load.amounts.map((sum, at) => sum + sign * (task.resources[at] ?? 0)) as Amounts);
      if (load.active === 0) this.loads.delete(id);
      else this.loads.set(id, load);
    }
  }
}

/** The newest whole picture, and the one that is being gathered. */
export class Cluster {
  now = new Picture();
  ready = false;
  private gathering: Picture | null = null;

  /** Folds an event in; tells whether pages have something new to show. */
  take(event: StateEvent): boolean {
    if (event.reset) this.gathering = new Picture();
    (this.gathering ?? this.now).fold(event);
    if (event.ready && this.gathering) {
      this.now = this.gathering;
      this.now.changes = 0;
      this.gathering = null;
      this.ready = true;
      return true;
    }
    return this.gathering === null;
  }
}

export interface Totals {
  total: Amounts;
  used: Amounts;
  offered: Amounts;
  active: number;
}

/** The sum of all agents that take part. */
export function totals(agents: Iterable<Agent>): Totals {
  const sum: Totals = { total: [0, 0, 0, 0], used: [0, 0, 0, 0], offered: [0, 0, 0, 0], active: 0 };
  for (const agent of agents) {
    if (!agent.active) continue;
    sum.active += 1;
    for (let at = 0; at < 4; at++) {
      sum.total[at]! += agent.total[at] ?? 0;
      sum.used[at]! += agent.used[at] ?? 0;
      sum.offered[at]! += agent.offered[at] ?? 0;
    }
  }
  return sum;
}
