// What the pages of an app and of a pod have in common: what happens to it now, what it is, its tabs, and what can be done with it.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { seconds } from "../format";
import { marathon } from "../live";
import type { Instance, Subject } from "../live/marathon";
import { Destroy, Restart, Scale } from "../parts/change";
import { Ended } from "../parts/ended";
import { frameworkId, useInstances } from "../parts/instances";
import { isDaemon, Nodes } from "../parts/nodes";
import { Events, Json, Versions } from "../parts/records";
import { AutoscalingCard, AutoscalingForm, useAutoscaling } from "../parts/scaling";
import { Ago, Empty, Facts, Head, Labels, Tabs, useTab } from "../parts/small";
import { taskLink } from "../parts/tasklist";
import { Machines } from "../parts/machines";
import { lacksUpkeep, PolicyEditor, UpkeepCard, usePolicy } from "../parts/upkeep";
import { Progress, useExplanation, type Explanation } from "../parts/waiting";
import { link } from "../router";
import { AppEditor, definition } from "./appeditor";
import { Traits } from "./apps";

type Action = "scale" | "autoscale" | "policy" | "restart" | "destroy" | "edit";
const TABS = ["instances", "ended", "configuration", "versions", "events"] as const;
/** Of a daemon app: where it runs is what one wants to know first. */
const DAEMON_TABS = ["agents", ...TABS] as const;

export interface Failure {
  at: string;
  words: string;
  host?: string | undefined;
  task?: string | undefined;
}

const listOf = (pod: boolean): readonly [string, string] => (pod ? ["Pods", link("pods")] : ["Apps", link("apps")]);

/** Of what is not there, or not any more; `other` is where the other kind of that name is. */
export function Absent({ id, pod, other }: { id: string; pod: boolean; other: string | null }) {
  const words = other ? <a href={other}>{id} is {pod ? "an app" : "a pod"}.</a> : `There is no ${pod ? "pod" : "app"} ${id}.`;
  return (
    <>
      <Head title={id} above={listOf(pod)} />
      <Empty>{marathon?.ready ? words : "Reading…"}</Empty>
      {marathon?.ready && <Ended id={id} pod={pod} seen={null} quiet />}
    </>
  );
}

export function SubjectPage({ subject, now, badge, summary, facts, failure, list }: {
  subject: Subject;
  /** Its definition as it was read: another object when something has changed. */
  now: { id: string; [key: string]: unknown };
  badge: ComponentChildren;
  /** How its instances are, in short. */
  summary: (instances: Instance[], daemon: boolean) => ComponentChildren;
  facts: Parameters<typeof Facts>[0]["facts"];
  failure: Failure | undefined;
  /** Its instances, one by one. */
  list: (instances: Instance[] | null, explanation: Explanation | null) => ComponentChildren;
}) {
  const [action, setAction] = useState<Action | null>(null);
  const daemon = isDaemon(subject.labels);
  const tabs: readonly (typeof DAEMON_TABS)[number][] = daemon ? DAEMON_TABS : TABS;
  const [tab, choose] = useTab(tabs);
  const explanation = useExplanation(subject, now);
  const autoscaling = useAutoscaling(daemon ? undefined : subject, now);
  const policy = usePolicy(subject, now);
  const instances = useInstances(subject, now);
  const { id, pod, labels } = subject;
  const close = (): void => setAction(null);
  const button = (to: Action, words: string) => <button type="button" class={to === "destroy" ? "danger" : ""} onClick={() => setAction(to)}>{words}</button>;
  return (
    <>
      <Head title={<span class="break">{id}</span>} above={listOf(pod)} note={<>{badge} <Traits labels={labels} /></>}>
        {!daemon && button("scale", "Scale")}
        {autoscaling.value?.autoscaling === null && button("autoscale", "Autoscale")}
        {lacksUpkeep(policy) && button("policy", "Policy")}
        {!pod && button("restart", "Restart")}
        {button("edit", "Edit")}
        {button("destroy", "Destroy")}
      </Head>
      <Progress subject={subject} explanation={explanation} />
      <Machines explanation={explanation} />
      <div class="columns">
        <section class="card">
          <h2>Instances</h2>
          {summary(instances ?? [], daemon)}
        </section>
        <section class="card">
          <h2>About</h2>
          <Facts facts={[...facts, Object.keys(labels).length > 0 && (["Labels", <Labels labels={labels} />] as const)]} />
        </section>
        <AutoscalingCard subject={subject} reading={autoscaling} />
        <UpkeepCard subject={subject} reading={policy} />
      </div>
      {failure && (
        <section class="card failed">
          <h2>Last failure <span class="dim"><Ago at={seconds(failure.at)} /></span></h2>
          <p>{failure.words}</p>
          {failure.task && (
            <p class="dim">{failure.host && `on ${failure.host}: `}<a class="mono break" href={taskLink({ framework: frameworkId(), id: failure.task })}>{failure.task}</a></p>
          )}
        </section>
      )}
      <Tabs label={`About this ${pod ? "pod" : "app"}`} tabs={tabs} chosen={tab} onChoose={choose} />
      {tab === "agents" && <Nodes instances={instances ?? []} explanation={explanation} />}
      {tab === "instances" && list(instances, explanation)}
      {tab === "ended" && <Ended id={id} pod={pod} seen={now} />}
      {tab === "configuration" && <Json value={definition(now)} />}
      {tab === "versions" && <Versions subject={subject} />}
      {tab === "events" && <Events id={id} />}
      {action === "scale" && <Scale subject={subject} onClose={close} />}
      {action === "autoscale" && <AutoscalingForm subject={subject} onClose={() => (close(), autoscaling.again())} />}
      {action === "policy" && <PolicyEditor subject={subject} policy={policy.value?.policy ?? {}} onClose={() => (close(), policy.again())} />}
      {action === "restart" && <Restart subject={subject} onClose={close} />}
      {action === "destroy" && <Destroy subject={subject} then={listOf(pod)[1]} onClose={close} />}
      {action === "edit" && <AppEditor now={now} pod={pod} onClose={close} />}
    </>
  );
}
