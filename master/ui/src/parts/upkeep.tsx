// The rest of an app's policy: scheduled restarts, rebalancing and the disruption budget, what comes next, and the JSON of it all.

import { useState } from "preact/hooks";
import { send } from "../api";
import { duration, plural, seconds } from "../format";
import type { Subject } from "../live/marathon";
import { useReading } from "../live/reading";
import { Confirm, moreUrlOf, Problem, useChange } from "./change";
import { Ago, Dialog, Facts } from "./small";
import { Told, Until } from "./waiting";

type Amount = number | string;

interface Window {
  days?: string[];
  from: string;
  to: string;
  utcOffset?: string;
}

export interface Policy {
  restarts?: { schedule?: string; utcOffset?: string; startingDeadlineSeconds?: number; maxAgeSeconds?: number };
  rebalance?: { over: string[]; maxSkew: number; intervalSeconds: number };
  disruptionBudget?: { maxUnavailable?: Amount; minAvailable?: Amount; minIntervalSeconds: number; windows?: Window[] };
  [part: string]: unknown;
}

interface Upkeep {
  nextRestart: string | null;
  restarting: string | null;
  lastRestart: string | null;
  missedRestart: string | null;
  nextExpiry: string | null;
  due: number;
  available: number;
  minAvailable: number;
  lastDisruption: string | null;
  told: string[];
}

interface AppPolicy {
  policy: Policy;
  /** Absent: of a Marathon that has autoscaling only. */
  upkeep?: Upkeep | null;
}

interface Move {
  instance: string;
  fromHost: string;
  toHost: string;
}

interface Rebalancing {
  asked: "once" | "plan" | null;
  looking: boolean;
  move: Move | null;
  held: string | null;
  plan: { at: string; moves: Move[]; told: string } | null;
}

const EVERY_MS = 5_000;

export const usePolicy = (subject: Subject, seen: unknown) => useReading<AppPolicy>(moreUrlOf(subject, "policy"), seen, EVERY_MS);

/** Whether something beside autoscaling could be set, and nothing is. */
export const lacksUpkeep = ({ value }: ReturnType<typeof usePolicy>): boolean => value?.upkeep !== undefined && !isKept(value.policy);

const isKept = (policy: Policy): boolean => !!(policy.restarts || policy.rebalance || policy.disruptionBudget);

const amount = (value: Amount): string => (typeof value === "number" ? plural(value, "instance") : `${value} of the instances`);
const windowText = ({ days, from, to, utcOffset }: Window): string => `${days?.length ? `${days.join(", ")} ` : ""}${from}–${to}${utcOffset && utcOffset !== "Z" ? ` (UTC${utcOffset})` : " UTC"}`;

export function UpkeepCard({ subject, reading }: { subject: Subject; reading: ReturnType<typeof usePolicy> }) {
  const [asking, setAsking] = useState<"edit" | "rebalance" | null>(null);
  const { policy, upkeep } = reading.value ?? {};
  const { restarts, rebalance, disruptionBudget: budget } = policy ?? {};
  const rebalancing = useReading<Rebalancing>(rebalance ? moreUrlOf(subject, "rebalance") : null, upkeep?.lastDisruption, EVERY_MS);
  if (!policy || !isKept(policy)) return null;
  const close = (): void => (setAsking(null), reading.again(), rebalancing.again());
  // What the facts say already.
  const told = (upkeep?.told ?? []).filter((words) => !/^(next restart at|the next instance is replaced for its age|spread:) /.test(words));
  const times = (iso: string | null | undefined) => seconds(iso ?? undefined);
  const move = rebalancing.value?.move;
  const plan = rebalancing.value?.plan;
  return (
    <section class="card" aria-label="Upkeep">
      <h2>
        <span>Upkeep</span>
        <span class="row-actions">
          {rebalance && <button type="button" onClick={() => setAsking("rebalance")}>Rebalance now</button>}
          <button type="button" onClick={() => setAsking("edit")}>Change</button>
        </span>
      </h2>
      <Facts facts={[
        !!restarts?.schedule && (["Restarts", <><code>{restarts.schedule}</code> <span class="dim">UTC{restarts.utcOffset && restarts.utcOffset !== "Z" ? restarts.utcOffset : ""}</span></>] as const),
        restarts?.maxAgeSeconds !== undefined && (["At most", `${duration(restarts.maxAgeSeconds)} old`] as const),
        !!upkeep?.restarting && (["Restarting", <>for <Ago at={times(upkeep.restarting)} />, {plural(upkeep.due, "instance")} to go</>] as const),
        !!upkeep?.nextRestart && (["Next restart", <Until at={times(upkeep.nextRestart)} />] as const),
        !!upkeep?.nextExpiry && (["Next expiry", <Until at={times(upkeep.nextExpiry)} />] as const),
        !!upkeep?.lastRestart && (["Last restart", <Ago at={times(upkeep.lastRestart)} />] as const),
        !!upkeep?.missedRestart && (["Left out", <Ago at={times(upkeep.missedRestart)} />] as const),
        rebalance && (["Rebalances", `over ${rebalance.over.join(", ")}, at most ${rebalance.maxSkew} apart, every ${duration(rebalance.intervalSeconds)}`] as const),
        move && (["Moving", <span class="break">{move.instance} from {move.fromHost} to {move.toHost}</span>] as const),
        !!rebalancing.value?.held && (["Held back", <Told words={rebalancing.value.held} />] as const),
        plan && (["Plan", <><Told words={plan.told} /> <span class="dim"><Ago at={times(plan.at)} /></span></>] as const),
        budget && (["Budget", [
          budget.maxUnavailable !== undefined && `at most ${amount(budget.maxUnavailable)} unavailable`,
          budget.minAvailable !== undefined && `at least ${amount(budget.minAvailable)} available`,
          budget.minIntervalSeconds > 0 && `${duration(budget.minIntervalSeconds)} from one disruption to the next`,
        ].filter(Boolean).join(", ") || "none beside the windows"] as const),
        !!budget?.windows?.length && (["Only in", budget.windows.map(windowText).join("; ")] as const),
        !!upkeep && (["Available", `${upkeep.available} now, ${upkeep.minAvailable} have to stay`] as const),
        !!upkeep?.lastDisruption && (["Last disruption", <Ago at={times(upkeep.lastDisruption)} />] as const),
      ]} />
      {told.length > 0 && <ul class="reasons">{told.map((words) => <li key={words}><Told words={words} /></li>)}</ul>}
      {asking === "edit" && <PolicyEditor subject={subject} policy={policy} onClose={close} />}
      {asking === "rebalance" && (
        <Confirm title={`Rebalance ${subject.id}?`} yes="Rebalance" change={() => send("POST", moreUrlOf(subject, "rebalance"))} onClose={close}>
          <p>Offers are looked at for some seconds, then instances move one after another until no move gains anything, within the disruption budget.</p>
        </Confirm>
      )}
    </section>
  );
}

const EXAMPLE: Policy = { restarts: { schedule: "0 3 * * sun" }, rebalance: { over: ["@hostname"], maxSkew: 1, intervalSeconds: 600 }, disruptionBudget: { maxUnavailable: 1, minIntervalSeconds: 60 } };

export function PolicyEditor({ subject, policy, onClose }: { subject: Subject; policy: Policy; onClose: () => void }) {
  const begin = isKept(policy) ? policy : { ...policy, ...EXAMPLE };
  const [text, setText] = useState(() => JSON.stringify(begin, null, 2));
  const { problem, busy, run } = useChange(onClose);
  return (
    <Dialog title={`Policy of ${subject.id}`} onClose={onClose} wide>
      <form onSubmit={(event) => (event.preventDefault(), void run(() => send("PUT", moreUrlOf(subject, "policy"), text)))}>
        <p class="dim">What goes on with it over time: autoscaling, restarts, rebalancing, and what they may take away at once. What is not named is off.</p>
        <textarea class="policy mono" rows={18} spellcheck={false} autocapitalize="off" aria-label="The policy as JSON" value={text} onInput={(event) => setText(event.currentTarget.value)} />
        <Problem problem={problem} />
        <div class="dialog-actions">
          <button type="button" onClick={onClose}>Cancel</button>
          <button type="submit" class="primary" disabled={busy}>Save</button>
        </div>
      </form>
    </Dialog>
  );
}
