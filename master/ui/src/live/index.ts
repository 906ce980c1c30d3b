// The one live connection of this page: the cluster's stream, Marathon's when it is there, and who leads.

import { ask } from "../api";
import { Cluster, type StateEvent } from "./cluster";
import { History } from "./history";
import { Marathon } from "./marathon";
import { Topic } from "./store";
import { Stream, type Standing } from "./stream";

export interface Info {
  version: string;
  id: string;
  hostname: string;
  address: string;
  cluster?: string;
  started: number;
  standing: "leading" | "following" | "no_leader" | "recovering";
  leader?: string;
  epoch?: number;
  elected?: number;
}

export interface Connection {
  standing: Standing;
  retryAt: number | null;
  /** Since when it has not been open, in ms. */
  since: number;
  /** Why, in a sentence. */
  why: string;
}

export const cluster = new Cluster();
export const history = new History();
/** Agents, frameworks, tasks, offers. */
export const clusterTopic = new Topic();
/** Connection and leader. */
export const connectionTopic = new Topic();
/** Once a second, for relative times. */
export const clock = new Topic();

export let info: Info | null = null;
export let marathon: Marathon | null = null;
export const marathonTopic = new Topic();
export const connection: Connection = { standing: "connecting", retryAt: null, since: Date.now(), why: "" };

/** Reads who leads; goes to the leader's own page if that is another master. */
async function whoLeads(): Promise<boolean> {
  try {
    info = await ask<Info>("tepui/v1/info", { signal: AbortSignal.timeout(5_000) });
  } catch {
    connection.why = "The master does not answer.";
    connectionTopic.changed();
    return false;
  }
  connectionTopic.changed();
  switch (info.standing) {
    case "leading":
      connection.why = "";
      return true;
    case "following":
      if (info.leader) {
        const leader = new URL(location.href);
        leader.host = info.leader;
        if (leader.host !== location.host) location.replace(leader);
      }
      connection.why = info.leader ? `Another master leads: ${info.leader}.` : "This master follows, and nobody leads yet.";
      return false;
    case "recovering":
      connection.why = "The master has just been elected and is reading its registry.";
      return false;
    default:
      connection.why = "No master leads at the moment.";
      return false;
  }
}

/** Marathon is where a framework of that name is; its stream follows its coming and going. */
function findMarathon(): void {
  let found: string | null = null;
  for (const framework of cluster.now.frameworks.values()) {
    if (framework.unregistered !== undefined || !framework.webui_url) continue;
    if (framework.name === "marathon") found = "marathon";
    else if (framework.name.startsWith("marathon")) found ??= framework.name;
  }
  if (found === (marathon?.framework ?? null)) return;
  marathon?.end();
  marathon = found === null ? null : new Marathon(found);
  marathon?.topic.subscribe(() => marathonTopic.changed());
  marathonTopic.changed();
}

let stream: Stream | null = null;

export const retry = (): void => stream?.retry();

export function start(): void {
  void whoLeads();
  stream = new Stream("tepui/v1/events", {
    events: {
      state: (event) => {
        const change = event as StateEvent;
        if (!cluster.take(change)) return;
        clusterTopic.changed();
        if (change.ready || change.frameworks || change.frameworks_gone) findMarathon();
      },
    },
    standing: (standing, retryAt) => {
      if (standing === "open") {
        connection.why = "";
        if (connection.standing !== "open") void whoLeads();
      } else if (connection.standing === "open") connection.since = Date.now();
      connection.standing = standing;
      connection.retryAt = retryAt;
      connectionTopic.changed();
    },
    before: whoLeads,
  });
  setInterval(() => {
    clock.changed();
    if (cluster.ready && connection.standing === "open") history.sample(cluster.now);
  }, 1_000);
}
