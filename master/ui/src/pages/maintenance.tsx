// Maintenance: which machines will be taken away, when, what frameworks say to that, and which are down.

import { useEffect, useState } from "preact/hooks";
import { ask, send } from "../api";
import { absolute, duration, plural } from "../format";
import { cluster, clusterTopic } from "../live";
import { useTopics } from "../live/store";
import { keyOf, nameOf, rows, times, without, withWindow, type Machine, type Row, type Status, type Window } from "../maintenance";
import { Ago, Badge, Dialog, Empty, Head } from "../parts/small";
import { Table } from "../parts/table";
import { link } from "../router";

/** The stream tells nothing of maintenance; it is read again so often while the page is open. */
const AGAIN_MS = 2_000;

interface Known {
  windows: Window[];
  status: Status;
}

async function read(): Promise<Known> {
  const [schedule, status] = await Promise.all([ask<{ windows?: Window[] }>("maintenance/schedule"), ask<Status>("maintenance/status")]);
  return { windows: schedule.windows ?? [], status };
}

const post = (path: string, body: unknown): Promise<void> => send("POST", path, JSON.stringify(body));

/** Changes the windows as they are now, not as they were when the page was drawn. */
async function reschedule(change: (windows: Window[]) => Window[]): Promise<void> {
  const { windows } = await read();
  await post("maintenance/schedule", { windows: change(windows) });
}

type Asking = { what: "schedule" } | { what: "down" | "up" | "cancel"; machine: Machine };

export function Maintenance() {
  useTopics(clusterTopic);
  const [known, setKnown] = useState<Known | null>(null);
  const [problem, setProblem] = useState("");
  const [asking, setAsking] = useState<Asking | null>(null);
  const [round, setRound] = useState(0);
  useEffect(() => {
    let here = true;
    const look = (): void => {
      read().then(
        (found) => here && (setKnown(found), setProblem("")),
        (error: Error) => here && setProblem(error.message),
      );
    };
    look();
    const timer = setInterval(look, AGAIN_MS);
    return () => {
      here = false;
      clearInterval(timer);
    };
  }, [round]);
  const all = known ? rows(known.windows, known.status) : [];
  const done = (): void => {
    setAsking(null);
    setRound(round + 1);
  };
  return (
    <>
      <Head title="Maintenance" note={known ? plural(all.length, "machine") : ""}>
        <button type="button" class="primary" onClick={() => setAsking({ what: "schedule" })}>Schedule</button>
      </Head>
      {problem && <p class="problem" role="alert">{problem}</p>}
      {!known ? <Empty>Reading…</Empty> : (
        <Table label="Machines" rows={all} keyOf={(row) => keyOf(row.machine)} first="From"
          empty="No machine is scheduled for maintenance. Frameworks are asked to leave machines that are, before they are taken down."
          columns={[
            { name: "Machine", by: (row) => nameOf(row.machine), cell: (row) => <Name machine={row.machine} /> },
            { name: "State", by: (row) => row.state, cell: (row) => <State row={row} /> },
            { name: "From", by: (row) => times(row.window).start, cell: (row) => <From row={row} /> },
            { name: "For", align: "end", wide: true, by: (row) => (times(row.window).end ?? Number.MAX_VALUE) - times(row.window).start, cell: (row) => <For row={row} /> },
            { name: "Frameworks", wide: true, cell: (row) => <Answers row={row} /> },
            { name: "", align: "end", cell: (row) => (
              <span class="row-actions">
                {row.state === "DOWN" ? (
                  <button type="button" onClick={() => setAsking({ what: "up", machine: row.machine })}>Bring up</button>
                ) : (
                  <>
                    <button type="button" onClick={() => setAsking({ what: "cancel", machine: row.machine })}>Cancel</button>
                    <button type="button" class="danger" onClick={() => setAsking({ what: "down", machine: row.machine })}>Take down</button>
                  </>
                )}
              </span>
            ) },
          ]} />
      )}
      {asking?.what === "schedule" && <Schedule onDone={done} onClose={() => setAsking(null)} />}
      {asking && asking.what !== "schedule" && <Order what={asking.what} machine={asking.machine} onDone={done} onClose={() => setAsking(null)} />}
    </>
  );
}

function Name({ machine }: { machine: Machine }) {
  const agents = [...cluster.now.agents.values()].filter((agent) => agent.hostname === machine.hostname);
  const name = nameOf(machine);
  const more = machine.hostname && machine.ip ? <span class="dim"> {machine.ip}</span> : null;
  const [only] = agents;
  return <>{agents.length === 1 && only ? <a class="strong" href={link("agents", only.id)}>{name}</a> : <b>{name}</b>}{more}</>;
}

function State({ row }: { row: Row }) {
  if (row.state === "DOWN") return <Badge tone="idle">Down</Badge>;
  if (row.state === "DRAINING") return <Badge tone="warn">Draining</Badge>;
  return <Badge tone="good">Up</Badge>;
}

function From({ row }: { row: Row }) {
  const { start } = times(row.window);
  if (start * 1000 <= Date.now()) return <Ago at={start} />;
  return <time dateTime={new Date(start * 1000).toISOString()}>{absolute(start)}</time>;
}

function For({ row }: { row: Row }) {
  const { start, end } = times(row.window);
  return <>{end === undefined ? "open" : duration(end - start)}</>;
}

/** What frameworks answered to the inverse offers of a machine. */
function Answers({ row }: { row: Row }) {
  if (row.answers.length === 0) return <span class="dim">–</span>;
  return (
    <span class="labels">
      {row.answers.map(({ status, framework_id: { value: id } }) => (
        <a key={id} href={link("frameworks", id)}>
          <code>{cluster.now.frameworks.get(id)?.name ?? id}: {status === "ACCEPT" ? "leaves" : status === "DECLINE" ? "stays" : "no answer"}</code>
        </a>
      ))}
    </span>
  );
}

const ORDERS = {
  down: { title: "Take this machine down?", what: "Its agents are told to end, with all tasks on them, and none may register until it is brought up again.", button: "Take down" },
  up: { title: "Bring this machine up?", what: "Its agents may register again. Its window of maintenance is over.", button: "Bring up" },
  cancel: { title: "Cancel the maintenance of this machine?", what: "It leaves the schedule, and frameworks are told that it stays.", button: "Cancel it" },
} as const;

/** Does something with its own way of saying what went wrong. */
function useAct(onDone: () => void): { problem: string; busy: boolean; act: (what: () => Promise<void>) => void } {
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const act = (what: () => Promise<void>): void => {
    setBusy(true);
    what().then(onDone, (error: Error) => {
      setProblem(error.message);
      setBusy(false);
    });
  };
  return { problem, busy, act };
}

function Order({ what, machine, onDone, onClose }: { what: keyof typeof ORDERS; machine: Machine; onDone: () => void; onClose: () => void }) {
  const { problem, busy, act } = useAct(onDone);
  const order = ORDERS[what];
  const give = (): Promise<void> => (what === "cancel" ? reschedule((windows) => without(windows, [machine])) : post(`machine/${what}`, [machine]));
  return (
    <Dialog title={order.title} onClose={onClose}>
      <p><b>{nameOf(machine)}</b></p>
      <p>{order.what}</p>
      {problem && <p class="problem" role="alert">{problem}</p>}
      <div class="dialog-actions">
        <button type="button" onClick={onClose}>Back</button>
        <button type="button" class={what === "down" ? "danger" : "primary"} disabled={busy} onClick={() => act(give)}>{order.button}</button>
      </div>
    </Dialog>
  );
}

/** Machines that have agents now, as the master names them. */
async function machines(): Promise<Machine[]> {
  const { slaves } = await ask<{ slaves: { hostname: string; pid: string }[] }>("slaves");
  const found = slaves.map(({ hostname, pid }): Machine => ({ hostname, ip: pid.replace(/^.*@/, "").replace(/:\d+$/, "") }));
  return [...new Map(found.map((machine) => [keyOf(machine), machine])).values()];
}

/** A date and a time as the input of that kind wants them, in the browser's own zone. */
function local(date: Date): string {
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function Schedule({ onDone, onClose }: { onDone: () => void; onClose: () => void }) {
  const { problem, busy, act } = useAct(onDone);
  const [there, setThere] = useState<Machine[] | null>(null);
  const [chosen, setChosen] = useState<Set<string>>(new Set());
  const [start, setStart] = useState(() => local(new Date()));
  const [hours, setHours] = useState("2");
  useEffect(() => void machines().then(setThere, () => setThere([])), []);
  const toggle = (key: string): void => {
    const next = new Set(chosen);
    if (!next.delete(key)) next.add(key);
    setChosen(next);
  };
  const picked = (there ?? []).filter((machine) => chosen.has(keyOf(machine)));
  const begins = Date.parse(start) / 1000;
  const open = hours.trim() === "";
  const bad = picked.length === 0 || Number.isNaN(begins) || (!open && !(Number(hours) > 0));
  return (
    <Dialog title="Schedule maintenance" onClose={onClose}>
      <p>Frameworks get inverse offers for these machines: they are asked to leave before the window begins.</p>
      <fieldset class="field choices">
        <legend>Machines</legend>
        {there?.length === 0 && <span class="dim">No machine has an agent now.</span>}
        {(there ?? []).map((machine) => (
          <label key={keyOf(machine)}>
            <input type="checkbox" checked={chosen.has(keyOf(machine))} onChange={() => toggle(keyOf(machine))} /> {nameOf(machine)} <span class="dim">{machine.ip}</span>
          </label>
        ))}
      </fieldset>
      <label class="field">
        From
        <input type="datetime-local" value={start} onInput={(event) => setStart(event.currentTarget.value)} />
      </label>
      <label class="field">
        For so many hours (empty: no end is known)
        <input type="number" min="0" step="any" value={hours} onInput={(event) => setHours(event.currentTarget.value)} />
      </label>
      {problem && <p class="problem" role="alert">{problem}</p>}
      <div class="dialog-actions">
        <button type="button" onClick={onClose}>Back</button>
        <button type="button" class="primary" disabled={busy || bad} onClick={() => act(() => reschedule((windows) => withWindow(windows, picked, begins, open ? undefined : Number(hours))))}>Schedule</button>
      </div>
    </Dialog>
  );
}
