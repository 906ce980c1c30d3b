// One app: its instances, its configuration, its versions, what happens to it, and what can be done with it.

import { useEffect, useState } from "preact/hooks";
import { appPath, ask, Refused, send } from "../api";
import { duration, mebibytes, number, plural, seconds } from "../format";
import { cluster, clusterTopic, marathon, marathonTopic } from "../live";
import { aboutApp, type App, type AppTask } from "../live/marathon";
import { useTopics } from "../live/store";
import { Ago, Badge, Copy, Dialog, Empty, Facts, Head, State } from "../parts/small";
import { Table } from "../parts/table";
import { taskLink } from "../parts/tasklist";
import { go, link, setQuery, useRoute } from "../router";
import { AppBadge, HealthBar, NoMarathon } from "./apps";
import { AppEditor, definition } from "./appeditor";

type Action = "scale" | "restart" | "destroy" | "edit";
const TABS = ["instances", "configuration", "versions", "events"] as const;

export function AppPage({ id }: { id: string }) {
  useTopics(marathonTopic, clusterTopic);
  const { query } = useRoute();
  const [action, setAction] = useState<Action | null>(null);
  if (!marathon) return <NoMarathon />;
  const app = marathon.apps.get(id);
  if (!app)
    return (
      <>
        <Head title={id} above={["Apps", link("apps")]} />
        <Empty>{marathon.ready ? `There is no app ${id}.` : "Reading…"}</Empty>
      </>
    );
  const tab = TABS.find((name) => name === query.get("tab")) ?? "instances";
  const close = (): void => setAction(null);
  return (
    <>
      <Head title={<span class="break">{app.id}</span>} above={["Apps", link("apps")]} note={<AppBadge app={app} />}>
        <button type="button" onClick={() => setAction("scale")}>Scale</button>
        <button type="button" onClick={() => setAction("restart")}>Restart</button>
        <button type="button" onClick={() => setAction("edit")}>Edit</button>
        <button type="button" class="danger" onClick={() => setAction("destroy")}>Destroy</button>
      </Head>
      <Progress app={app} />
      <div class="columns">
        <section class="card">
          <h2>Instances</h2>
          <p class="big"><b>{app.tasksRunning}</b> of {app.instances} running</p>
          <HealthBar app={app} />
          <p class="dim">
            {app.healthChecks?.length ? `${app.tasksHealthy} healthy, ${app.tasksUnhealthy} unhealthy` : "without a health check"}
            {app.tasksStaged > 0 && `, ${app.tasksStaged} staged`}
          </p>
        </section>
        <section class="card">
          <h2>About</h2>
          <Facts facts={[
            ["Each instance", `${number(app.cpus)} CPU, ${mebibytes(app.mem)}${app.disk ? `, ${mebibytes(app.disk)} disk` : ""}`],
            !!app.cmd && (["Command", <code class="command" title={app.cmd}>{app.cmd}</code>] as const),
            ["Role", <code>{app.role ?? "*"}</code>],
            ["Changed", <Ago at={seconds(app.versionInfo?.lastConfigChangeAt ?? app.version)} />],
            ["Scaled", <Ago at={seconds(app.versionInfo?.lastScalingAt ?? app.version)} />],
            Object.keys(app.labels ?? {}).length > 0 && (["Labels", <span class="labels">{Object.entries(app.labels ?? {}).map(([key, value]) => <code key={key}>{key}={value}</code>)}</span>] as const),
          ]} />
        </section>
      </div>
      {app.lastTaskFailure && (
        <section class="card failed">
          <h2>Last failure <span class="dim"><Ago at={seconds(app.lastTaskFailure.timestamp)} /></span></h2>
          <p>{app.lastTaskFailure.message || app.lastTaskFailure.state}</p>
          <p class="dim">
            on {app.lastTaskFailure.host}: <a class="mono break" href={link("tasks", frameworkId(), app.lastTaskFailure.taskId)}>{app.lastTaskFailure.taskId}</a>
          </p>
        </section>
      )}
      <div class="tabs" role="tablist" aria-label="About this app">
        {TABS.map((name) => (
          <button key={name} type="button" role="tab" aria-selected={tab === name} onClick={() => setQuery({ tab: name === "instances" ? "" : name })}>
            {name.charAt(0).toUpperCase() + name.slice(1)}
          </button>
        ))}
      </div>
      {tab === "instances" && <Instances app={app} />}
      {tab === "configuration" && <Json value={definition(app)} />}
      {tab === "versions" && <Versions app={app} />}
      {tab === "events" && <Events id={id} />}
      {action === "scale" && <Scale app={app} onClose={close} />}
      {action === "restart" && <Restart app={app} onClose={close} />}
      {action === "destroy" && <Destroy app={app} onClose={close} />}
      {action === "edit" && <AppEditor app={app} onClose={close} />}
    </>
  );
}

const frameworkId = (): string => [...cluster.now.frameworks.values()].find((one) => one.name === marathon?.framework && one.connected)?.id ?? "";

/** Deployments under way, and why instances wait. */
function Progress({ app }: { app: App }) {
  const deployments = marathon?.deployments.filter((one) => one.affectedApps.includes(app.id)) ?? [];
  const queued = marathon?.queue.get(app.id);
  const reasons = (queued?.processedOffersSummary?.rejectSummaryLastOffers ?? []).filter((reason) => reason.declined > 0);
  return (
    <>
      {deployments.map((one) => (
        <p key={one.id} class="notice deployment">
          <Badge tone="busy">Deployment</Badge> step {one.currentStep} of {one.totalSteps}: {(one.currentActions ?? []).map((step) => `${step.action} ${step.app ?? ""}`).join(", ")}
          <progress max={Math.max(1, app.instances)} value={app.healthChecks?.length ? app.tasksHealthy : app.tasksRunning} aria-label="Instances ready" />
        </p>
      ))}
      {queued && queued.count > 0 && (
        <p class="notice">
          {plural(queued.count, "instance")} to be launched{" "}
          {queued.delay.overdue ? <>since <Ago at={seconds(queued.since)} /></> : <>in {duration(queued.delay.timeLeftSeconds)}: the last ones failed, so the next is held back</>}
          {reasons.length > 0 && <>. Offers did not fit: {reasons.map((one) => `${one.reason} ${one.declined} of ${one.processed}`).join(", ")}</>}
        </p>
      )}
    </>
  );
}

/** What tells instances of one app apart: the instance, and how often it was started. */
const instanceName = (task: string): string => task.replace(/^[^.]*\.instance-/, "").replace(/\._app\./, " #");

function Instances({ app }: { app: App }) {
  const framework = frameworkId();
  const health = (task: AppTask): boolean | undefined => (task.healthCheckResults?.length ? task.healthCheckResults.every((result) => result.alive) : undefined);
  return (
    <Table label="Instances" rows={app.tasks ?? []} keyOf={(task) => task.id} first="-Started" empty="No instance runs."
      columns={[
        { name: "Instance", by: (task) => task.id, cell: (task) => <a class="mono cut instance" title={task.id} href={taskLink({ framework, id: task.id })}>{instanceName(task.id)}</a> },
        { name: "State", by: (task) => task.state, cell: (task) => <State state={task.state} healthy={health(task)} /> },
        { name: "Health", wide: true, cell: (task) => {
          const alive = health(task);
          return alive === undefined ? <span class="dim">not checked</span> : alive ? <Badge tone="good">Healthy</Badge> : <Badge tone="bad" title={task.healthCheckResults?.[0]?.lastFailureCause}>Unhealthy</Badge>;
        } },
        { name: "Address", by: (task) => task.host, cell: (task) => task.ports?.length ? task.ports.map((port) => <a key={port} class="listed" href={`http://${task.host}:${port}/`} target="_blank" rel="noreferrer">{task.host}:{port}</a>) : task.host },
        { name: "Version", wide: true, by: (task) => task.version ?? "", cell: (task) => <>{!task.version ? "–" : task.version === app.version ? "current" : <Badge tone="warn">older</Badge>}</> },
        { name: "Started", wide: true, align: "end", by: (task) => task.startedAt ?? task.stagedAt ?? "", cell: (task) => <Ago at={seconds(task.startedAt ?? task.stagedAt)} /> },
      ]} />
  );
}

export function Json({ value }: { value: unknown }) {
  const text = JSON.stringify(value, null, 2);
  return (
    <div class="json">
      <Copy text={text} label="Copy the JSON" />
      <pre tabIndex={0}>{text}</pre>
    </div>
  );
}

function Versions({ app }: { app: App }) {
  const [versions, setVersions] = useState<string[]>([]);
  const [shown, setShown] = useState<{ version: string; definition: Record<string, unknown> } | null>(null);
  const [problem, setProblem] = useState("");
  const base = `${marathon?.base}/v2/apps/${appPath(app.id)}`;
  useEffect(() => {
    let here = true;
    ask<{ versions: string[] }>(`${base}/versions`).then(
      (answer) => here && setVersions(answer.versions),
      (error: Error) => here && setProblem(error.message),
    );
    return () => {
      here = false;
    };
  }, [base, app.version]);
  const show = (version: string): void => {
    ask<App>(`${base}/versions/${encodeURIComponent(version)}`).then((one) => setShown({ version, definition: definition(one) }), (error: Error) => setProblem(error.message));
  };
  const back = async (): Promise<void> => {
    if (!shown) return;
    try {
      await send("PUT", `${base}?partialUpdate=false`, JSON.stringify(shown.definition));
      setShown(null);
      marathon?.refresh();
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  return (
    <>
      {problem && <p class="problem">{problem}</p>}
      <Table label="Versions" rows={versions} keyOf={(version) => version} empty="Reading…"
        columns={[
          { name: "Version", cell: (version) => <button type="button" class="link mono" onClick={() => show(version)}>{version}</button> },
          { name: "", cell: (version) => (version === app.version ? <Badge tone="good">current</Badge> : "") },
          { name: "Made", align: "end", cell: (version) => <Ago at={seconds(version)} /> },
        ]} />
      {shown && (
        <Dialog title={`${app.id} as of ${shown.version}`} onClose={() => setShown(null)} wide>
          <Json value={shown.definition} />
          <div class="dialog-actions">
            <button type="button" onClick={() => setShown(null)}>Close</button>
            {shown.version !== app.version && <button type="button" class="primary" onClick={() => void back()}>Deploy this version again</button>}
          </div>
        </Dialog>
      )}
    </>
  );
}

function Events({ id }: { id: string }) {
  const events = (marathon?.events ?? []).filter((event) => aboutApp(event) === id || JSON.stringify(event.plan ?? "").includes(`"${id}"`)).slice(0, 200);
  if (events.length === 0) return <Empty>Nothing has happened to it since this page was opened.</Empty>;
  return (
    <ul class="events">
      {events.map((event, at) => {
        const words = [event.taskStatus, event.condition, event.host, event.message].filter((word): word is string => typeof word === "string" && word !== "");
        return (
          <li key={`${event.timestamp} ${event.eventType} ${events.length - at}`}>
            <span class="dim"><Ago at={seconds(event.timestamp)} /></span>
            <details>
              <summary><b>{event.eventType.replace(/_event$/, "").replaceAll("_", " ")}</b> <span class="dim">{words.join(" · ")}</span></summary>
              <Json value={event} />
            </details>
          </li>
        );
      })}
    </ul>
  );
}

/** A change that a running deployment may lock out; then it can be forced. */
function useChange(onClose: () => void) {
  const [problem, setProblem] = useState<Refused | null>(null);
  const [busy, setBusy] = useState(false);
  const run = async (change: () => Promise<unknown>, after?: () => void): Promise<void> => {
    setBusy(true);
    try {
      await change();
      marathon?.refresh();
      onClose();
      after?.();
    } catch (error) {
      setProblem(error instanceof Refused ? error : new Refused(0, String(error)));
      setBusy(false);
    }
  };
  return { problem, busy, run, locked: problem?.status === 409 };
}

function Problem({ problem }: { problem: Refused | null }) {
  if (!problem) return null;
  return (
    <div class="problem" role="alert">
      {problem.message}
      {problem.details.map((detail) => <div key={detail.path}><code>{detail.path}</code> {detail.errors.join(", ")}</div>)}
    </div>
  );
}

const urlOf = (app: App): string => `${marathon?.base}/v2/apps/${appPath(app.id)}`;

function Scale({ app, onClose }: { app: App; onClose: () => void }) {
  const [count, setCount] = useState(String(app.instances));
  const { problem, busy, run, locked } = useChange(onClose);
  const wanted = /^\d{1,6}$/.test(count) ? Number(count) : null;
  const scale = (force: boolean): void => {
    if (wanted !== null) void run(() => send("PUT", `${urlOf(app)}${force ? "?force=true" : ""}`, JSON.stringify({ instances: wanted })));
  };
  return (
    <Dialog title={`Scale ${app.id}`} onClose={onClose}>
      <form onSubmit={(event) => (event.preventDefault(), scale(false))}>
        <label class="field">
          Instances
          <input type="number" min={0} max={999999} step={1} name="instances" value={count} autofocus onInput={(event) => setCount(event.currentTarget.value)} />
        </label>
        <p class="dim">{wanted === null ? "A whole number, please." : wanted === 0 ? "Suspends the app: every instance is stopped." : `${number(wanted * app.cpus)} CPU and ${mebibytes(wanted * app.mem)} in all.`}</p>
        <Problem problem={problem} />
        <div class="dialog-actions">
          <button type="button" onClick={onClose}>Cancel</button>
          {locked && <button type="button" class="danger" onClick={() => scale(true)}>Force</button>}
          <button type="submit" class="primary" disabled={busy || wanted === null}>{wanted !== null && wanted !== app.instances ? `Scale from ${app.instances} to ${wanted}` : "Scale"}</button>
        </div>
      </form>
    </Dialog>
  );
}

function Restart({ app, onClose }: { app: App; onClose: () => void }) {
  const { problem, busy, run, locked } = useChange(onClose);
  const restart = (force: boolean): Promise<void> => run(() => send("POST", `${urlOf(app)}/restart${force ? "?force=true" : ""}`));
  return (
    <Dialog title={`Restart ${app.id}?`} onClose={onClose}>
      <p>Every instance is replaced by a new one, as the app's upgrade strategy allows.</p>
      <Problem problem={problem} />
      <div class="dialog-actions">
        <button type="button" onClick={onClose}>Cancel</button>
        {locked && <button type="button" class="danger" onClick={() => void restart(true)}>Force</button>}
        <button type="button" class="primary" disabled={busy} onClick={() => void restart(false)}>Restart</button>
      </div>
    </Dialog>
  );
}

function Destroy({ app, onClose }: { app: App; onClose: () => void }) {
  const [typed, setTyped] = useState("");
  const { problem, busy, run, locked } = useChange(onClose);
  const destroy = (force: boolean): Promise<void> => run(() => send("DELETE", `${urlOf(app)}${force ? "?force=true" : ""}`), () => go(link("apps")));
  return (
    <Dialog title={`Destroy ${app.id}?`} onClose={onClose}>
      <form onSubmit={(event) => (event.preventDefault(), typed === app.id && void destroy(false))}>
        <p>{plural(app.tasksRunning + app.tasksStaged, "instance")} will be killed, and the app and its versions forgotten. There is no way back.</p>
        <label class="field">
          Type <code>{app.id}</code> to confirm
          <input type="text" autocomplete="off" spellcheck={false} autofocus value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
        </label>
        <Problem problem={problem} />
        <div class="dialog-actions">
          <button type="button" onClick={onClose}>Cancel</button>
          {locked && <button type="button" class="danger" disabled={typed !== app.id} onClick={() => void destroy(true)}>Force</button>}
          <button type="submit" class="danger" disabled={busy || typed !== app.id}>Destroy</button>
        </div>
      </form>
    </Dialog>
  );
}
