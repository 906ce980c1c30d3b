// Marathon's apps.

import { useState } from "preact/hooks";
import { duration, mebibytes, number, plural } from "../format";
import { cluster, connection, marathon, marathonTopic } from "../live";
import { appState, type App, type AppState, type Trial } from "../live/marathon";
import { useTopics } from "../live/store";
import type { Tone } from "../format";
import { Badge, Empty, Head } from "../parts/small";
import { Table } from "../parts/table";
import { appLink, setQuery, useRoute } from "../router";
import { AppEditor } from "./appeditor";

export const TONES: Record<AppState, Tone> = { running: "good", deploying: "busy", delayed: "bad", waiting: "warn", suspended: "idle" };

export function TrialBadge({ trial }: { trial: Trial }) {
  return <Badge tone={trial.ready < trial.instances ? "warn" : "busy"} title={`${trial.ready} of ${trial.instances} tried instances are ready`}>{trial.kind === "canary" ? "Canary" : "Blue/green"}</Badge>;
}

/** What an app or pod is beside the usual. */
export function Traits({ labels }: { labels: Record<string, string> }) {
  const traits = [
    labels.TEPUI_DAEMON === "true" && (["daemon", "One instance on every agent that matches"] as const),
    labels.TEPUI_ORDINALS === "true" && (["numbered", "Its instances are numbered from 0 on"] as const),
  ];
  return <>{traits.map((trait) => trait && <span key={trait[0]} class="trait" title={trait[1]}>{trait[0]}</span>)}</>;
}

export function AppBadge({ app }: { app: App }) {
  const queued = marathon?.queue.get(app.id);
  const state = appState(app, queued);
  const words = state.charAt(0).toUpperCase() + state.slice(1);
  const trial = marathon?.trials.get(app.id);
  if (trial) return <TrialBadge trial={trial} />;
  const left = state === "delayed" && queued ? ` ${duration(queued.delay.timeLeftSeconds)}` : "";
  return <Badge tone={TONES[state]} title={state === "delayed" ? "Its last instances failed; the next start is held back" : undefined}>{words}{left}</Badge>;
}

/** How many instances are healthy, unhealthy, of unknown health, staged, and missing. */
export function HealthBar({ app }: { app: App }) {
  const unknown = Math.max(0, app.tasksRunning - app.tasksHealthy - app.tasksUnhealthy);
  const missing = Math.max(0, app.instances - app.tasksRunning - app.tasksStaged);
  const parts = [
    ["healthy", app.tasksHealthy],
    ["unhealthy", app.tasksUnhealthy],
    [app.healthChecks?.length ? "not checked yet" : "running", unknown],
    ["staged", app.tasksStaged],
    ["missing", missing],
  ] as const;
  const words = parts.filter(([, count]) => count > 0).map(([name, count]) => `${count} ${name}`).join(", ") || "nothing runs";
  const classes = ["healthy", "unhealthy", "unknown", "staged", "missing"];
  return (
    <span class="health" role="img" aria-label={words} title={words}>
      {parts.map(([name, count], at) => count > 0 && <span key={name} class={classes[at]} style={{ flexGrow: count }} />)}
    </span>
  );
}

export function NoMarathon({ title = "Apps" }: { title?: string }) {
  return (
    <>
      <Head title={title} />
      <Empty>{cluster.ready ? "No Marathon is registered with this master. Start one with: tepui marathon --master …" : connection.standing === "open" ? "Reading…" : "Waiting for the master…"}</Empty>
    </>
  );
}

export function Apps() {
  useTopics(marathonTopic);
  const { query } = useRoute();
  const text = query.get("text") ?? "";
  const [making, setMaking] = useState(false);
  if (!marathon) return <NoMarathon />;
  const all = [...marathon.apps.values()];
  const apps = all.filter((app) => app.id.toLowerCase().includes(text.toLowerCase()));
  return (
    <>
      <Head title="Apps" note={apps.length === all.length ? plural(all.length, "app") : `${apps.length} of ${plural(all.length, "app")}`}>
        <input type="search" placeholder="Filter by id" aria-label="Filter apps by id" value={text} onInput={(event) => setQuery({ text: event.currentTarget.value })} />
        <button type="button" class="primary" onClick={() => setMaking(true)}>New app</button>
      </Head>
      {marathon.problem && <p class="problem">Marathon: {marathon.problem}</p>}
      <Table label="Apps" rows={apps} keyOf={(app) => app.id} first="App"
        empty={!marathon.ready ? "Reading…" : all.length === 0 ? "No app yet. ‘New app’ makes one from JSON." : "No app is named like that."}
        columns={[
          { name: "App", by: (app) => app.id, cell: (app) => <><a class="strong break" href={appLink(app.id)}>{app.id}</a> <Traits labels={app.labels ?? {}} /></> },
          { name: "State", by: (app) => appState(app, marathon?.queue.get(app.id)), cell: (app) => <AppBadge app={app} /> },
          { name: "Instances", align: "end", by: (app) => app.instances, cell: (app) => <>{app.tasksRunning} <span class="dim">of {app.instances}</span></> },
          { name: "Health", wide: true, by: (app) => app.tasksUnhealthy - app.tasksHealthy / 1e6, cell: (app) => <HealthBar app={app} /> },
          { name: "CPUs", align: "end", wide: true, by: (app) => app.cpus * app.instances, cell: (app) => number(app.cpus * app.instances) },
          { name: "Memory", align: "end", wide: true, by: (app) => app.mem * app.instances, cell: (app) => mebibytes(app.mem * app.instances) },
          { name: "Last failure", wide: true, cell: (app) => <span class="dim cut failure" title={app.lastTaskFailure?.message}>{app.lastTaskFailure?.message ?? ""}</span> },
        ]} />
      {making && <AppEditor onClose={() => setMaking(false)} />}
    </>
  );
}
