// How numbers and times are written.

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Seconds as people say them: "8 s", "3 min", "5 h 12 min", "9 days". */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < MINUTE) return `${s} s`;
  if (s < HOUR) return `${Math.floor(s / MINUTE)} min`;
  if (s < DAY) {
    const minutes = Math.floor((s % HOUR) / MINUTE);
    return minutes ? `${Math.floor(s / HOUR)} h ${minutes} min` : `${Math.floor(s / HOUR)} h`;
  }
  const days = Math.floor(s / DAY);
  return days === 1 ? "1 day" : `${days} days`;
}

/** How long ago, both in seconds since the epoch. */
export function ago(then: number, now: number): string {
  const passed = now - then;
  if (passed < 1.5) return "now";
  return `${duration(passed)} ago`;
}

export function absolute(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** ISO timestamps of Marathon as seconds since the epoch. */
export function seconds(iso: string | undefined): number | undefined {
  const ms = iso ? Date.parse(iso) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms / 1000;
}

/** At most three decimals, none that say nothing. */
export function number(value: number): string {
  const shown = Math.abs(value) >= 100 ? Math.round(value) : Math.round(value * 1000) / 1000;
  return (shown === 0 ? 0 : shown).toLocaleString("en");
}

/** MiB as MiB, GiB or TiB. */
export function mebibytes(value: number): string {
  if (Math.abs(value) >= 1024 * 1024) return `${trim(value / 1024 / 1024)} TiB`;
  if (Math.abs(value) >= 1024) return `${trim(value / 1024)} GiB`;
  return `${trim(value)} MiB`;
}

export function bytes(value: number): string {
  if (value < 1024) return `${value} B`;
  if (value < 1024 * 1024) return `${trim(value / 1024)} KiB`;
  return mebibytes(value / 1024 / 1024);
}

const trim = (value: number): string => (Math.abs(value) >= 100 ? Math.round(value) : Math.round(value * 10) / 10).toLocaleString("en");

export function percent(part: number, whole: number): string {
  if (whole <= 0) return "–";
  const value = (100 * part) / whole;
  return `${value > 0 && value < 1 ? "<1" : Math.round(value)} %`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** An id short enough for a table: what tells it from its neighbours is at both ends. */
export function short(id: string, most = 20): string {
  if (id.length <= most) return id;
  const head = Math.ceil((most - 1) * 0.5);
  return `${id.slice(0, head)}…${id.slice(id.length - (most - 1 - head))}`;
}

/** TASK_RUNNING as "Running", TASK_GONE_BY_OPERATOR as "Gone by operator". */
export function stateName(state: string): string {
  const words = state.replace(/^TASK_/, "").toLowerCase().replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export type Tone = "good" | "busy" | "bad" | "warn" | "idle";

/** The colour family of a task state. */
export function tone(state: string): Tone {
  switch (state) {
    case "TASK_RUNNING":
      return "good";
    case "TASK_STAGING":
    case "TASK_STARTING":
      return "busy";
    case "TASK_KILLING":
      return "warn";
    case "TASK_FAILED":
    case "TASK_ERROR":
      return "bad";
    case "TASK_LOST":
    case "TASK_DROPPED":
    case "TASK_GONE":
    case "TASK_UNREACHABLE":
    case "TASK_UNKNOWN":
      return "warn";
    default:
      return "idle";
  }
}
