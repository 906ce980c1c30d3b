// Windows of maintenance, as /maintenance/schedule and /maintenance/status have them, and as Marathon explains them. Pure.

/** A machine: at least one of the two is there. */
export interface Machine {
  hostname?: string;
  ip?: string;
}

interface Nanoseconds {
  nanoseconds: number;
}

export interface Window {
  machine_ids: Machine[];
  unavailability: { start: Nanoseconds; duration?: Nanoseconds };
}

/** What a framework answered to an inverse offer. */
export interface Answer {
  status: "UNKNOWN" | "ACCEPT" | "DECLINE";
  framework_id: { value: string };
}

export interface Status {
  draining_machines?: { id: Machine; statuses?: Answer[] }[];
  down_machines?: Machine[];
}

/** A machine of a window, and how it stands. */
export interface Row {
  machine: Machine;
  window: Window;
  state: "UP" | "DRAINING" | "DOWN";
  answers: Answer[];
}

export const keyOf = (machine: Machine): string => `${machine.hostname ?? ""}/${machine.ip ?? ""}`.toLowerCase();
export const nameOf = (machine: Machine): string => machine.hostname || machine.ip || "?";

const SECOND = 1e9;

/** A row for each machine of each window. */
export function rows(windows: Window[], status: Status): Row[] {
  const down = new Set((status.down_machines ?? []).map(keyOf));
  const draining = new Map((status.draining_machines ?? []).map((one) => [keyOf(one.id), one.statuses ?? []]));
  return windows.flatMap((window) =>
    window.machine_ids.map((machine): Row => {
      const key = keyOf(machine);
      const answers = draining.get(key) ?? [];
      return { machine, window, answers, state: down.has(key) ? "DOWN" : draining.has(key) ? "DRAINING" : "UP" };
    }),
  );
}

/** When a window begins and ends, in seconds since the epoch; without an end it is open. */
export function times(window: Window): { start: number; end?: number } {
  const { start, duration } = window.unavailability;
  const begins = start.nanoseconds / SECOND;
  return duration ? { start: begins, end: begins + duration.nanoseconds / SECOND } : { start: begins };
}

/** The windows with one more. A machine is in one window only, so it leaves the one that it was in. */
export function withWindow(windows: Window[], machines: Machine[], startSeconds: number, hours: number | undefined): Window[] {
  const start = { nanoseconds: Math.round(startSeconds) * SECOND };
  const unavailability = hours === undefined ? { start } : { start, duration: { nanoseconds: Math.round(hours * 3600) * SECOND } };
  return [...without(windows, machines), { machine_ids: machines, unavailability }];
}

/** The windows without these machines; a window of none is none. */
export function without(windows: Window[], machines: Machine[]): Window[] {
  const gone = new Set(machines.map(keyOf));
  return windows
    .map((window) => ({ ...window, machine_ids: window.machine_ids.filter((machine) => !gone.has(keyOf(machine))) }))
    .filter((window) => window.machine_ids.length > 0);
}

/** A machine that goes down for maintenance and has instances of an app. */
export interface GoingDown {
  agentId: string;
  host: string | null;
  begins: string;
  ends: string | null;
  /** From when on instances leave; null: they stay. */
  leavesAt: string | null;
  instances: string[];
  why: string | null;
}

export type Stage = "stays" | "later" | "leaving";

/** How far it is with a machine at a time, in milliseconds since the epoch. */
export function stageOf({ leavesAt }: GoingDown, now: number): Stage {
  if (leavesAt === null) return "stays";
  return Date.parse(leavesAt) > now ? "later" : "leaving";
}

/** The machine that goes down under an instance, if one does. */
export const machineOf = (machines: GoingDown[] | undefined, instance: string): GoingDown | undefined => machines?.find((one) => one.instances.includes(instance));
