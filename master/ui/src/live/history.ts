// The last ten minutes of a few sums, sampled each second while the page is open and kept over a reload.

import type { Picture } from "./cluster";
import { totals } from "./cluster";
import { Topic } from "./store";

export const KEPT_S = 600;
/** Names of the columns; the first is the time in seconds. */
const COLUMNS = ["time", "cpus", "cpusOffered", "cpusTotal", "mem", "memOffered", "memTotal", "running", "changes"] as const;
export type Column = (typeof COLUMNS)[number];
const PLACE = "tepui.history";

export class History {
  readonly topic = new Topic();
  private rows: number[][] = [];
  private lastChanges = 0;
  private lastPicture: Picture | null = null;

  constructor() {
    try {
      const kept: unknown = JSON.parse(sessionStorage.getItem(PLACE) ?? "[]");
      const after = Date.now() / 1000 - KEPT_S;
      if (Array.isArray(kept)) this.rows = kept.filter((row) => Array.isArray(row) && row.length === COLUMNS.length && row[0] > after);
    } catch {
      // Without storage there is no past.
    }
    addEventListener("pagehide", () => {
      try {
        sessionStorage.setItem(PLACE, JSON.stringify(this.rows));
      } catch {
        // Nothing to be done.
      }
    });
  }

  sample(picture: Picture): void {
    const sum = totals(picture.agents.values());
    // A new snapshot begins to count anew.
    const changes = picture === this.lastPicture ? picture.changes - this.lastChanges : 0;
    this.lastPicture = picture;
    this.lastChanges = picture.changes;
    const time = Date.now() / 1000;
    this.rows.push([
      time, sum.used[0], sum.offered[0], sum.total[0], sum.used[2], sum.offered[2], sum.total[2], picture.count("TASK_RUNNING"), changes,
    ]);
    const old = this.rows.findIndex((row) => row[0]! > time - KEPT_S);
    if (old > 0) this.rows.splice(0, old);
    this.topic.changed();
  }

  column(name: Column): number[] {
    const at = COLUMNS.indexOf(name);
    return this.rows.map((row) => row[at]!);
  }
}
