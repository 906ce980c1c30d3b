// Where a daemon app runs: every agent of the cluster, and for those without an instance why.

import type { ComponentChildren } from "preact";
import { seconds, stateName, tone, type Tone } from "../format";
import { cluster } from "../live";
import type { Agent } from "../live/cluster";
import type { Instance } from "../live/marathon";
import { link } from "../router";
import { AgentState } from "../pages/agents";
import { InstanceLink } from "./instances";
import { Ago, Badge } from "./small";
import { Table } from "./table";
import { lackText, Told, type Explanation } from "./waiting";

interface Node {
  agent: Agent;
  instances: Instance[];
  /** Sorts: what wants to be looked at comes first. */
  rank: number;
  state: string;
  tone: Tone;
  why: ComponentChildren;
}

export const isDaemon = (labels: Record<string, string>): boolean => labels.TEPUI_DAEMON === "true";

export function nodesOf(agents: Iterable<Agent>, instances: Instance[], explanation: Explanation | null): Node[] {
  const of = new Map<string, Instance[]>();
  for (const one of instances) if (one.agentId) of.set(one.agentId, [...(of.get(one.agentId) ?? []), one]);
  const find = <T extends { agentId: string }>(all: T[] | undefined, id: string): T | undefined => all?.find((one) => one.agentId === id);
  const node = (agent: Agent): Omit<Node, "agent" | "instances"> => {
    const here = of.get(agent.id) ?? [];
    const best = here.find((one) => one.ready) ?? here[0];
    const delayed = find(explanation?.delayedAgents, agent.id);
    const lacks = find(explanation?.agents, agent.id);
    const leftOut = find(explanation?.leftOut, agent.id);
    if (best) {
      const task = `TASK_${best.condition.toUpperCase()}`;
      const word = best.condition === "Running" && !best.ready ? "Not ready" : stateName(task);
      return { rank: best.ready ? 5 : 1, state: word, tone: best.condition === "Running" && !best.ready ? "warn" : tone(task), why: here.length > 1 ? "two versions, while it is upgraded" : best.current ? "" : "an older version" };
    }
    if (delayed) return { rank: 0, state: "Back-off", tone: "bad", why: <Told words={`its last instance there failed; the next is tried at ${delayed.until}`} /> };
    if (lacks) return { rank: 2, state: "Waiting", tone: "warn", why: lacks.lacks.map(lackText).join(", ") || "its turn comes with the next offer" };
    if (leftOut) return { rank: 4, state: "Left out", tone: "idle", why: leftOut.lacks.map(lackText).join(", ") };
    if (!agent.active) return { rank: 3, state: "Away", tone: "idle", why: <AgentState agent={agent} /> };
    return { rank: 3, state: "No offer", tone: "idle", why: "no offer of it has come lately: nothing of it is free, or others hold what is" };
  };
  return [...agents].map((agent) => ({ agent, instances: of.get(agent.id) ?? [], ...node(agent) }));
}

export function Nodes({ instances, explanation }: { instances: Instance[]; explanation: Explanation | null }) {
  const nodes = nodesOf(cluster.now.agents.values(), instances, explanation);
  return (
    <Table label="Agents" rows={nodes} keyOf={(node) => node.agent.id} first="State" empty="There is no agent."
      columns={[
        { name: "Agent", by: (node) => node.agent.hostname, cell: (node) => <a class="strong" href={link("agents", node.agent.id)}>{node.agent.hostname}:{node.agent.port}</a> },
        { name: "State", by: (node) => node.rank, cell: (node) => <Badge tone={node.tone}>{node.state}</Badge> },
        { name: "Why", cell: (node) => <span class="dim break">{node.why}</span> },
        { name: "Instance", wide: true, cell: (node) => node.instances.map((one) => <div key={one.id}><InstanceLink instance={one} /></div>) },
        { name: "Since", wide: true, align: "end", cell: (node) => <Ago at={seconds(node.instances[0]?.since)} /> },
      ]} />
  );
}
