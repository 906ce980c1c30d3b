// Autoscaling: the bounds, what was measured last and what came of it, and the form that changes it.

import { useState } from "preact/hooks";
import { send } from "../api";
import { duration, number, plural, seconds } from "../format";
import type { Subject } from "../live/marathon";
import { useReading } from "../live/reading";
import { Confirm, moreUrlOf, Problem, useChange } from "./change";
import { Ago, Badge, Dialog, Facts } from "./small";
import { Told, type Scaled } from "./waiting";

interface Settings {
  minInstances: number;
  maxInstances: number;
  metric: { type: "cpu" | "memory" | "prometheus"; url?: string; sample?: string };
  target: number;
  intervalSeconds: number;
  scaleUpCooldownSeconds: number;
  scaleDownCooldownSeconds: number;
}

export interface Autoscaling {
  autoscaling: Settings | null;
  status: Scaled | null;
}

const EVERY_MS = 3_000;

/** How an app is scaled by itself. Pods have that too, and a Marathon of others has nothing. */
export const useAutoscaling = (subject: Subject | undefined, seen: unknown) => useReading<Autoscaling>(subject ? moreUrlOf(subject, "autoscaling") : null, seen, EVERY_MS);

const NAMES = { cpu: "CPU", memory: "Memory", prometheus: "Prometheus" } as const;

function targetText({ metric, target }: Settings): string {
  if (metric.type === "cpu") return `CPU at ${number(target)} % of what an instance asks for`;
  if (metric.type === "memory") return `memory at ${number(target)} % of what an instance asks for`;
  return `${number(target)} for each instance`;
}

export function AutoscalingCard({ subject, reading }: { subject: Subject; reading: ReturnType<typeof useAutoscaling> }) {
  const [asking, setAsking] = useState<"edit" | "off" | null>(null);
  const settings = reading.value?.autoscaling;
  const status = reading.value?.status;
  if (!settings) return null;
  const close = (): void => (setAsking(null), reading.again());
  const { minInstances: least, maxInstances: most, metric } = settings;
  const place = (count: number): string => `${most > least ? Math.max(0, Math.min(100, (100 * (count - least)) / (most - least))) : 100}%`;
  const wants = status?.wants;
  const settled = wants === undefined || wants === subject.wanted;
  return (
    <section class="card" aria-label="Autoscaling">
      <h2>
        <span>Autoscaling</span>
        <span class="row-actions">
          <button type="button" onClick={() => setAsking("edit")}>Change</button>
          <button type="button" onClick={() => setAsking("off")}>Turn off</button>
        </span>
      </h2>
      <div class="range">
        <span>{least}</span>
        <span class="bar" role="img" aria-label={`${subject.wanted} instances, between ${least} and ${most}`}><span class="bar-used" style={{ width: place(subject.wanted) }} />
          {!settled && wants !== undefined && <i style={{ left: place(wants) }} title={`wants ${wants}`} />}
        </span>
        <span>{most}</span>
      </div>
      <Facts facts={[
        ["Wants", wants === undefined ? <span class="dim">nothing yet</span> : settled ? <Badge tone="good">{plural(wants, "instance")}, as there are</Badge> : <Badge tone={status?.held ? "warn" : "busy"}>{plural(wants, "instance")}</Badge>],
        ["Measured", status?.why ? <>{status.why} <span class="dim"><Ago at={seconds(status.at)} /></span></> : <span class={status?.told.startsWith("cannot") ? "failing" : "dim"}>{status?.told ?? "nothing is measured yet"}</span>],
        !!status?.held && (["Held back", <Told words={status.held} />] as const),
        ["Keeps", targetText(settings)],
        metric.type === "prometheus" && (["Query", <code class="break">{metric.url}</code>] as const),
        !!metric.sample && (["Sample", <code class="break">{metric.sample}</code>] as const),
        ["Cool-down", `${duration(settings.scaleUpCooldownSeconds)} before more, ${duration(settings.scaleDownCooldownSeconds)} before fewer`],
        ["Every", duration(settings.intervalSeconds)],
      ]} />
      {asking === "edit" && <AutoscalingForm subject={subject} settings={settings} onClose={close} />}
      {asking === "off" && (
        <Confirm title={`Turn autoscaling of ${subject.id} off?`} yes="Turn off" change={() => send("DELETE", moreUrlOf(subject, "autoscaling"))} onClose={close}>
          <p>It stays at {plural(subject.wanted, "instance")} until somebody scales it.</p>
        </Confirm>
      )}
    </section>
  );
}

const FIELDS = ["minInstances", "maxInstances", "target", "intervalSeconds", "scaleUpCooldownSeconds", "scaleDownCooldownSeconds"] as const;
const LABELS: Record<(typeof FIELDS)[number], string> = {
  minInstances: "At least", maxInstances: "At most", target: "Target", intervalSeconds: "Measured every (s)", scaleUpCooldownSeconds: "Cool-down before more (s)", scaleDownCooldownSeconds: "Cool-down before fewer (s)",
};

export function AutoscalingForm({ subject, settings, onClose }: { subject: Subject; settings?: Settings; onClose: () => void }) {
  const begin = settings ?? { minInstances: 1, maxInstances: Math.max(2, subject.wanted * 2), metric: { type: "cpu" as const }, target: 70, intervalSeconds: 15, scaleUpCooldownSeconds: 60, scaleDownCooldownSeconds: 300 };
  const [metric, setMetric] = useState<Settings["metric"]>(begin.metric);
  const [values, setValues] = useState(() => Object.fromEntries(FIELDS.map((name) => [name, String(begin[name])])) as Record<(typeof FIELDS)[number], string>);
  const { problem, busy, run } = useChange(onClose);
  const numbers = FIELDS.map((name) => [name, values[name].trim() === "" ? Number.NaN : Number(values[name])] as const);
  const valid = numbers.every(([, value]) => Number.isFinite(value)) && (metric.type !== "prometheus" || !!metric.url);
  const save = (): void => {
    const kept: Settings["metric"] = metric.type === "prometheus" ? { type: metric.type, url: metric.url ?? "", ...(metric.sample ? { sample: metric.sample } : {}) } : { type: metric.type };
    if (valid) void run(() => send("PUT", moreUrlOf(subject, "autoscaling"), JSON.stringify({ ...Object.fromEntries(numbers), metric: kept })));
  };
  const field = (name: (typeof FIELDS)[number], unit = "") => (
    <label class="field" key={name}>
      {LABELS[name]}{unit}
      <input type="number" min={name === "target" ? undefined : 0} step={name === "target" ? "any" : 1} name={name} value={values[name]} onInput={(event) => setValues({ ...values, [name]: event.currentTarget.value })} />
    </label>
  );
  return (
    <Dialog title={`Autoscaling of ${subject.id}`} onClose={onClose}>
      <form onSubmit={(event) => (event.preventDefault(), save())}>
        <div class="pair">{field("minInstances")}{field("maxInstances")}</div>
        <div class="pair">
          <label class="field">
            Metric
            <select name="metric" value={metric.type} onChange={(event) => setMetric({ ...metric, type: event.currentTarget.value as Settings["metric"]["type"] })}>
              {(Object.keys(NAMES) as (keyof typeof NAMES)[]).map((name) => <option key={name} value={name}>{NAMES[name]}</option>)}
            </select>
          </label>
          {field("target", metric.type === "prometheus" ? " for each instance" : " (% of what an instance asks for)")}
        </div>
        {metric.type === "prometheus" && (
          <>
            <label class="field">
              URL of the query, or of a page in Prometheus' text format
              <input type="url" name="url" spellcheck={false} value={metric.url ?? ""} onInput={(event) => setMetric({ ...metric, url: event.currentTarget.value })} />
            </label>
            <label class="field">
              Sample, if it is a page
              <input type="text" name="sample" spellcheck={false} placeholder={'name{label="value"}'} value={metric.sample ?? ""} onInput={(event) => setMetric({ ...metric, sample: event.currentTarget.value })} />
            </label>
          </>
        )}
        <div class="pair">{field("scaleUpCooldownSeconds")}{field("scaleDownCooldownSeconds")}</div>
        {field("intervalSeconds")}
        <Problem problem={problem} />
        <div class="dialog-actions">
          <button type="button" onClick={onClose}>Cancel</button>
          <button type="submit" class="primary" disabled={busy || !valid}>Save</button>
        </div>
      </form>
    </Dialog>
  );
}
