// What happens to an app or a pod now: deployments under way, trials of a new version, and why it waits.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ask, send } from "../api";
import { differences, inline, type Difference } from "../diff";
import { duration, number, percent, plural, seconds } from "../format";
import { clock, cluster, marathon } from "../live";
import type { Subject, Trial } from "../live/marathon";
import { useReading } from "../live/reading";
import { useTopics } from "../live/store";
import type { GoingDown } from "../maintenance";
import { link } from "../router";
import { Confirm, moreUrlOf, urlOf } from "./change";
import { Ago, Badge, Facts } from "./small";
import { Table } from "./table";

export interface Lack {
  what: string;
  missing: number | null;
}

export interface LookedAt {
  agentId: string;
  host: string;
  at: string;
  lacks: Lack[];
}

export interface Scaled {
  told: string;
  at?: string;
  wants?: number;
  why?: string;
  held?: string | null;
}

export interface Explanation {
  id: string;
  daemon?: boolean;
  instances: number;
  waiting: number;
  launching: number;
  running: number;
  ready: number;
  since: string | null;
  delayedUntil: string | null;
  offersSeen: number;
  autoscaling?: Scaled | null;
  /** Absent: of a Marathon that cannot tell. */
  machines?: GoingDown[];
  reasons: string[];
  agents: LookedAt[];
  /** Of a daemon app: agents that its constraints do not admit, and those that wait after a failure. */
  leftOut?: LookedAt[];
  delayedAgents?: { agentId: string; until: string }[];
}

const EXPLAIN_EVERY_MS = 3_000;

/** Why it waits; null while that is not known, or from a Marathon that cannot tell. */
export const useExplanation = (subject: Subject | undefined, seen: unknown): Explanation | null =>
  useReading<Explanation>(subject ? moreUrlOf(subject, "explain") : null, seen, EXPLAIN_EVERY_MS).value;

export const lackText = (lack: Lack): string => `${lack.what}${lack.missing === null ? "" : ` short by ${number(lack.missing)}`}`;

/** A time that is to come, counted down. */
export function Until({ at }: { at: number | undefined }) {
  useTopics(clock);
  if (at === undefined) return null;
  const left = at - Date.now() / 1000;
  return <time dateTime={new Date(at * 1000).toISOString()} title={new Date(at * 1000).toLocaleString()}>{left < 1 ? "now" : `in ${duration(left)}`}</time>;
}

const TIMESTAMP = /(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)/;

/** A sentence of the server, with its timestamps as times that one can read. */
export function Told({ words }: { words: string }) {
  return (
    <>
      {words.split(TIMESTAMP).map((part, at) => {
        const time = at % 2 ? seconds(part) : undefined;
        if (time === undefined) return part;
        const clockTime = new Date(time * 1000).toLocaleTimeString(undefined, { hourCycle: "h23" });
        return <span key={at}>{clockTime}{time > Date.now() / 1000 && <> (<Until at={time} />)</>}</span>;
      })}
    </>
  );
}

export function Progress({ subject, explanation }: { subject: Subject; explanation: Explanation | null }) {
  const trial = marathon?.trials.get(subject.id);
  const deployments = marathon?.deployments.filter((one) => one.affectedApps.includes(subject.id) || one.affectedPods?.includes(subject.id)) ?? [];
  return (
    <>
      {trial && <TrialPanel subject={subject} trial={trial} />}
      {deployments.filter((one) => one.id !== trial?.deployment).map((one) => (
        <p key={one.id} class="notice deployment">
          <Badge tone="busy">Deployment</Badge> step {one.currentStep} of {one.totalSteps}: {(one.currentActions ?? []).map((step) => `${step.action} ${step.app ?? step.pod ?? ""}`).join(", ")}
          <progress max={Math.max(1, subject.wanted)} value={subject.ready} aria-label="Instances ready" />
        </p>
      ))}
      {explanation ? <Why explanation={explanation} trial={trial} /> : <Queued subject={subject} />}
    </>
  );
}

/** What the launch queue tells: of a Marathon that cannot explain. */
function Queued({ subject }: { subject: Subject }) {
  const queued = marathon?.queue.get(subject.id);
  if (!queued || queued.count === 0) return null;
  const reasons = (queued.processedOffersSummary?.rejectSummaryLastOffers ?? []).filter((reason) => reason.declined > 0);
  return (
    <p class="notice">
      {plural(queued.count, "instance")} to be launched{" "}
      {queued.delay.overdue ? <>since <Ago at={seconds(queued.since)} /></> : <>in {duration(queued.delay.timeLeftSeconds)}: the last ones failed, so the next is held back</>}
      {reasons.length > 0 && <>. Offers did not fit: {reasons.map((one) => `${one.reason} ${one.declined} of ${one.processed}`).join(", ")}</>}
    </p>
  );
}

/** Said elsewhere on the page. */
const elsewhere = (reason: string, trial: Trial | undefined): boolean =>
  reason.startsWith("autoscaler ") || / on agents that go down for maintenance waits?: /.test(reason) || (trial !== undefined && /^(waits for|tries the new version before) promotion/.test(reason));

function Why({ explanation, trial }: { explanation: Explanation; trial: Trial | undefined }) {
  const reasons = explanation.reasons.filter((reason) => !elsewhere(reason, trial));
  // Instances of a daemon app do not wait, and its agents have a list of their own.
  const agents = explanation.daemon ? [] : explanation.agents;
  if (reasons.length === 0) return null;
  const since = seconds(explanation.since ?? undefined);
  return (
    <section class="card waiting" aria-label="Why it waits">
      <h2>
        Why it waits{" "}
        <span class="dim">
          {explanation.waiting > 0 && plural(explanation.waiting, explanation.daemon ? "agent" : "instance")}
          {explanation.waiting > 0 && since !== undefined && <>, since <Ago at={since} /></>}
        </span>
      </h2>
      <ul class="reasons">
        {reasons.map((reason) => <li key={reason}><Told words={reason} /></li>)}
      </ul>
      {agents.length > 0 && (
        <details>
          <summary>What each agent's last offer lacked <span class="dim">{plural(agents.length, "agent")}</span></summary>
          <Table label="What offers lacked" rows={agents} keyOf={(agent) => agent.agentId} first="Agent" empty=""
            columns={[
              { name: "Agent", by: (agent) => agent.host, cell: (agent) => <AgentName id={agent.agentId} host={agent.host} /> },
              { name: "Lacks", cell: (agent) => agent.lacks.length ? agent.lacks.map(lackText).join(", ") : "nothing" },
              { name: "Offered", wide: true, align: "end", by: (agent) => agent.at, cell: (agent) => <Ago at={seconds(agent.at)} /> },
            ]} />
        </details>
      )}
    </section>
  );
}

export function AgentName({ id, host }: { id: string; host: string }) {
  return cluster.now.agents.has(id) ? <a href={link("agents", id)}>{host}</a> : <>{host}</>;
}

/** The definition before the newest, and what differs. */
function useTried(subject: Subject): Difference[] | null {
  const [found, setFound] = useState<Difference[] | null>(null);
  const { id, pod, version } = subject;
  useEffect(() => {
    let here = true;
    const url = urlOf({ id, pod });
    const read = async (): Promise<void> => {
      const all = pod ? await ask<string[]>(`${url}::versions`) : (await ask<{ versions: string[] }>(`${url}/versions`)).versions;
      const [now, before] = [...all].sort().reverse();
      if (now === undefined || before === undefined) return;
      const at = (one: string): Promise<Record<string, unknown>> => ask(`${url}${pod ? "::versions" : "/versions"}/${encodeURIComponent(one)}`);
      const [one, other] = await Promise.all([at(before), at(now)]);
      const plain = ({ version: _, versionInfo: __, ...rest }: Record<string, unknown>): unknown => rest;
      if (here) setFound(differences(plain(one), plain(other)));
    };
    read().catch(() => here && setFound(null));
    return () => {
      here = false;
    };
  }, [id, pod, version]);
  return found;
}

const MOST_DIFFERENCES = 12;

/** A new version beside the old one: what is tried, how it does, and the two ways out. */
function TrialPanel({ subject, trial }: { subject: Subject; trial: Trial }) {
  const [asking, setAsking] = useState<"promote" | "abandon" | null>(null);
  const tried = useTried(subject);
  const { instances, ready } = trial;
  const all = ready >= instances;
  const canary = trial.kind === "canary";
  const name = canary ? "Canary" : "Blue/green";
  const close = (): void => setAsking(null);
  const promote = (force: boolean) => (): Promise<unknown> => send("POST", `${marathon?.base}/v3/deployments/${encodeURIComponent(trial.deployment)}/promote${force ? "?force=true" : ""}`);
  const facts: (readonly [string, ComponentChildren] | false)[] = [
    ["Share", <>{plural(instances, "instance")} of the new version beside {subject.wanted} of the old <span class="dim">({percent(instances, subject.wanted)})</span></>],
    ["Health", all ? <Badge tone="good">{ready} of {instances} ready</Badge> : <Badge tone={ready > 0 ? "busy" : "warn"}>{ready} of {instances} ready</Badge>],
    trial.readySince !== null && (["Ready since", <Ago at={seconds(trial.readySince)} />] as const),
    ["Promotion", trial.promotedAt !== null ? <>by itself <Until at={seconds(trial.promotedAt)} />, unless something that is tried stops being ready</>
      : trial.promoteAfterSeconds !== null ? `by itself when everything was ready for ${duration(trial.promoteAfterSeconds)}` : "when somebody promotes it"],
    trial.deadline !== null && (["Deadline", <>rolls back <Until at={seconds(trial.deadline)} /></>] as const),
  ];
  return (
    <section class="card trial" aria-label="Trial">
      <h2>
        <span>{name} <span class="dim">of a new version</span></span>
        <span class="row-actions">
          <button type="button" class="primary" onClick={() => setAsking("promote")}>Promote</button>
          <button type="button" class="danger" onClick={() => setAsking("abandon")}>Abandon</button>
        </span>
      </h2>
      <span class="health" role="img" aria-label={`${ready} of ${instances} tried instances are ready, beside ${subject.wanted} old ones`}>
        <span class="unknown" style={{ flexGrow: subject.wanted }} />
        {ready > 0 && <span class="tried" style={{ flexGrow: ready }} />}
        {instances > ready && <span class="trying" style={{ flexGrow: instances - ready }} />}
      </span>
      <p class="legend-line"><span><i class="swatch old" /> old version</span> <span><i class="swatch tried" /> new, ready</span> <span><i class="swatch trying" /> new, not ready yet</span></p>
      <Facts facts={facts} />
      {tried && tried.length > 0 && (
        <div class="differences">
          <h2>What is tried</h2>
          <ul aria-label="What is tried">
            {tried.slice(0, MOST_DIFFERENCES).map((one) => (
              <li key={one.path}>
                <code class="break">{one.path}</code>
                {"old" in one && <del class="mono break">{inline(one.old)}</del>}
                {"new" in one && <ins class="mono break">{inline(one.new)}</ins>}
              </li>
            ))}
            {tried.length > MOST_DIFFERENCES && <li class="dim">and {tried.length - MOST_DIFFERENCES} more</li>}
          </ul>
        </div>
      )}
      {asking === "promote" && (
        <Confirm title={`Promote the new version of ${subject.id}?`} yes="Promote" change={promote(false)} again={{ yes: "Promote anyway", change: promote(true) }} onClose={close}>
          <p>{canary ? "The other instances are replaced, as the upgrade strategy allows." : "The old instances all end at once."} It runs {instances} of {subject.wanted} so far, {ready} of them ready.</p>
        </Confirm>
      )}
      {asking === "abandon" && (
        <Confirm title={`Abandon the new version of ${subject.id}?`} yes="Abandon" danger change={() => send("DELETE", `${marathon?.base}/v2/deployments/${encodeURIComponent(trial.deployment)}`)} onClose={close}>
          <p>{plural(instances, "instance")} of the new version {instances === 1 ? "ends" : "end"}. The old ones stay, and the old definition is in force again.</p>
        </Confirm>
      )}
    </section>
  );
}
