// Why a task ended, as Marathon sees it, in words for people.

import type { Tone } from "../format";

/** What each cause is called, and whether somebody should look. */
export const CAUSES: Record<string, [Tone, string]> = {
  finished: ["good", "Finished"], crashed: ["bad", "Crashed"], notStarted: ["bad", "Not started"], scaledDown: ["idle", "Scaled down"], replaced: ["idle", "Replaced"],
  restarted: ["idle", "Restarted as scheduled"], moved: ["idle", "Moved"], deleted: ["idle", "Deleted"], unhealthy: ["bad", "Unhealthy"], startTimeout: ["bad", "Start timed out"],
  operator: ["idle", "Killed by request"], unmatched: ["idle", "Agent left out"], unreachable: ["warn", "Agent unreachable"], agentDrained: ["idle", "Agent drained"],
  agentLost: ["warn", "Agent lost"], killed: ["warn", "Killed"],
};
