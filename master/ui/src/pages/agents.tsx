// Agents: who they are, how full they are, what runs on them.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ask, send } from "../api";
import { mebibytes } from "../format";
import { cluster, clusterTopic } from "../live";
import type { Agent } from "../live/cluster";
import { useTopics } from "../live/store";
import { Ago, amountsText, Badge, Dialog, Empty, Facts, Head, Id, MiniBar, ResourceBars } from "../parts/small";
import { Table } from "../parts/table";
import { TaskList, compareTasks } from "../parts/tasklist";
import { link } from "../router";
import { OfferTable } from "./offers";

export function AgentState({ agent }: { agent: Agent }) {
  if (agent.drain?.state === "DRAINING") return <Badge tone="warn">Draining</Badge>;
  if (agent.drain) return <Badge tone="idle">Drained</Badge>;
  if (agent.deactivated) return <Badge tone="idle">Deactivated</Badge>;
  if (!agent.connected) return <Badge tone="warn">Disconnected</Badge>;
  return agent.active ? <Badge tone="good">Active</Badge> : <Badge tone="warn">Inactive</Badge>;
}

export function Agents() {
  useTopics(clusterTopic);
  const agents = [...cluster.now.agents.values()];
  return (
    <>
      <Head title="Agents" note={`${agents.length}`} />
      <Table label="Agents" rows={agents} keyOf={(agent) => agent.id} first="Host" empty="No agent has registered with this master."
        columns={[
          { name: "Host", by: (agent) => agent.hostname, cell: (agent) => <a class="strong" href={link("agents", agent.id)}>{agent.hostname}:{agent.port}</a> },
          { name: "State", by: (agent) => Number(agent.active), cell: (agent) => <AgentState agent={agent} /> },
          { name: "Tasks", align: "end", by: (agent) => cluster.now.loadOf(agent.id).active, cell: (agent) => cluster.now.loadOf(agent.id).active },
          { name: "CPUs", by: (agent) => agent.used[0] / (agent.total[0] || 1), cell: (agent) => <MiniBar label="CPUs" used={agent.used[0]} offered={agent.offered[0]} total={agent.total[0]} /> },
          { name: "Memory", wide: true, by: (agent) => agent.used[2] / (agent.total[2] || 1), cell: (agent) => <MiniBar label="Memory" used={agent.used[2]} offered={agent.offered[2]} total={agent.total[2]} text={mebibytes} /> },
          { name: "Disk", wide: true, by: (agent) => agent.used[3] / (agent.total[3] || 1), cell: (agent) => <MiniBar label="Disk" used={agent.used[3]} offered={agent.offered[3]} total={agent.total[3]} text={mebibytes} /> },
          { name: "Registered", wide: true, align: "end", by: (agent) => -agent.registered, cell: (agent) => <Ago at={agent.registered} /> },
          { name: "Id", wide: true, cell: (agent) => <Id id={agent.id} /> },
        ]} />
    </>
  );
}

interface Reserved {
  reserved_resources?: Record<string, Record<string, number | string>>;
  unreserved_resources?: Record<string, number | string>;
  capabilities?: string[];
  pid?: string;
}

export function AgentPage({ id }: { id: string }) {
  useTopics(clusterTopic);
  const agent = cluster.now.agents.get(id);
  const [more, setMore] = useState<Reserved | null>(null);
  const [ordering, setOrdering] = useState<Order | null>(null);
  const there = agent !== undefined;
  const total = agent?.total.join();
  useEffect(() => {
    if (!there) return;
    let here = true;
    ask<{ slaves: Reserved[] }>(`slaves?slave_id=${encodeURIComponent(id)}`).then(
      ({ slaves }) => here && setMore(slaves[0] ?? null),
      () => here && setMore(null),
    );
    return () => {
      here = false;
    };
  }, [id, there, total]);
  if (!agent) return <Gone what="agent" id={id} />;
  const tasks = [...cluster.now.tasks.values()].filter((task) => task.agent === id).sort(compareTasks.newest);
  const offers = [...cluster.now.offers.values()].filter((offer) => offer.agent === id);
  const attributes = Object.entries(agent.attributes);
  const reservations = Object.entries(more?.reserved_resources ?? {});
  return (
    <>
      <Head title={`${agent.hostname}:${agent.port}`} above={["Agents", link("agents")]} note={<AgentState agent={agent} />}>
        {agent.deactivated ? (
          <button type="button" onClick={() => setOrdering("reactivate")}>Reactivate</button>
        ) : (
          <>
            <button type="button" onClick={() => setOrdering("deactivate")}>Deactivate</button>
            <button type="button" class="danger" onClick={() => setOrdering("drain")}>Drain</button>
          </>
        )}
      </Head>
      {agent.drain && <p class="notice">{drainText(agent.drain)}</p>}
      <div class="columns">
        <section class="card">
          <h2>Resources</h2>
          <ResourceBars used={agent.used} offered={agent.offered} total={agent.total} />
        </section>
        <section class="card">
          <h2>About</h2>
          <Facts facts={[
            ["Id", <Id id={agent.id} most={80} />],
            ["Version", agent.version],
            ["Registered", <Ago at={agent.registered} />],
            ["Ports", more?.unreserved_resources?.ports ? String(more.unreserved_resources.ports) : "–"],
            ["Attributes", attributes.length === 0 ? "none" : <span class="labels">{attributes.map(([name, value]) => <code key={name}>{name}={String(value)}</code>)}</span>],
            ["Reservations", reservations.length === 0 ? "none" : (
              <span class="labels">{reservations.map(([role, values]) => <code key={role}>{role}: {amountsText([Number(values.cpus ?? 0), Number(values.gpus ?? 0), Number(values.mem ?? 0), Number(values.disk ?? 0)])}</code>)}</span>
            )],
          ]} />
        </section>
      </div>
      {offers.length > 0 && (
        <section>
          <h2>Offers out</h2>
          <OfferTable offers={offers} />
        </section>
      )}
      <section class="fill">
        <h2>Tasks <span class="dim">{tasks.length.toLocaleString("en")}</span></h2>
        {tasks.length === 0 ? <Empty>No task runs here or has run here lately.</Empty> : <TaskList tasks={tasks} order="newest" brief="agent" />}
      </section>
      {ordering && <Orders agent={agent} order={ordering} onClose={() => setOrdering(null)} />}
    </>
  );
}

type Order = "drain" | "deactivate" | "reactivate";

function drainText(drain: NonNullable<Agent["drain"]>): ComponentChildren {
  const then = drain.mark_gone ? " Then it is marked gone for ever." : "";
  if (drain.state === "DRAINED") return <>Nothing runs here any more: the agent has drained. It gets no offers until it is reactivated.</>;
  if (drain.grace === undefined || drain.since === undefined) {
    return <>Its tasks are being killed with the grace that each of them asks for; it gets no offers.{then}</>;
  }
  const until = new Date((drain.since + drain.grace) * 1000).toLocaleTimeString();
  return <>Its tasks are being killed; the grace of the last of them ends about {until}. It gets no offers.{then}</>;
}

const ORDERS = {
  drain: { title: "Drain this agent?", what: "It gets no offers any more, and its tasks are killed. Frameworks may start them again on other agents.", call: "DRAIN_AGENT" },
  deactivate: { title: "Deactivate this agent?", what: "It gets no offers any more; what runs on it goes on.", call: "DEACTIVATE_AGENT" },
  reactivate: { title: "Reactivate this agent?", what: "Its resources are offered again.", call: "REACTIVATE_AGENT" },
} as const;

function Orders({ agent, order, onClose }: { agent: Agent; order: Order; onClose: () => void }) {
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const [minutes, setMinutes] = useState("");
  const { title, what, call } = ORDERS[order];
  const give = async (): Promise<void> => {
    setBusy(true);
    const body: Record<string, unknown> = { agent_id: { value: agent.id } };
    if (order === "drain" && minutes.trim() !== "") body.max_grace_period = { seconds: Math.round(Number(minutes) * 60) };
    try {
      await send("POST", "api/v1", JSON.stringify({ type: call, [call.toLowerCase()]: body }));
      onClose();
    } catch (error) {
      setProblem((error as Error).message);
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <p><b>{agent.hostname}:{agent.port}</b></p>
      <p>{what}</p>
      {order === "drain" && (
        <label class="field">
          At most so many minutes of grace for a task (empty: as long as it asks for)
          <input type="number" min="0" step="any" value={minutes} onInput={(event) => setMinutes(event.currentTarget.value)} />
        </label>
      )}
      {problem && <p class="problem" role="alert">{problem}</p>}
      <div class="dialog-actions">
        <button type="button" onClick={onClose}>Cancel</button>
        <button type="button" class={order === "drain" ? "danger" : "primary"} disabled={busy} onClick={() => void give()}>{order === "drain" ? "Drain" : order === "deactivate" ? "Deactivate" : "Reactivate"}</button>
      </div>
    </Dialog>
  );
}

export function Gone({ what, id }: { what: string; id: string }) {
  return (
    <>
      <Head title={`This ${what} is not here`} />
      <Empty>
        {cluster.ready ? <>There is no {what} <code>{id}</code> now. It may have gone since the link was made.</> : "Waiting for the master…"}
      </Empty>
    </>
  );
}
