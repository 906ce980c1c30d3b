// Changing an app or a pod: scale, restart, destroy, and whatever else wants a yes first.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { appPath, ask, Refused, send } from "../api";
import { mebibytes, number, plural } from "../format";
import { marathon } from "../live";
import type { PodSpec, Subject } from "../live/marathon";
import { go } from "../router";
import { Dialog } from "./small";

/** A change that a running deployment may lock out; then it can be forced. */
export function useChange(onClose: () => void) {
  const [problem, setProblem] = useState<Refused | null>(null);
  const [busy, setBusy] = useState(false);
  const run = async (change: () => Promise<unknown>, after?: () => void): Promise<void> => {
    setBusy(true);
    setProblem(null);
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

export function Problem({ problem }: { problem: Refused | null }) {
  if (!problem) return null;
  return (
    <div class="problem" role="alert">
      {problem.message}
      {problem.details.map((detail) => <div key={detail.path}><code>{detail.path}</code> {detail.errors.join(", ")}</div>)}
    </div>
  );
}

/** Asks before something is done; `again` is offered when the first try was refused because of how things stand. */
export function Confirm({ title, children, yes, danger, change, again, onClose }: {
  title: string;
  children: ComponentChildren;
  yes: string;
  danger?: boolean;
  change: () => Promise<unknown>;
  again?: { yes: string; change: () => Promise<unknown> };
  onClose: () => void;
}) {
  const { problem, busy, run, locked } = useChange(onClose);
  return (
    <Dialog title={title} onClose={onClose}>
      {children}
      <Problem problem={problem} />
      <div class="dialog-actions">
        <button type="button" onClick={onClose}>Cancel</button>
        {locked && again && <button type="button" class="danger" disabled={busy} onClick={() => void run(again.change)}>{again.yes}</button>}
        <button type="button" class={danger ? "danger" : "primary"} disabled={busy} onClick={() => void run(change)}>{yes}</button>
      </div>
    </Dialog>
  );
}

export const urlOf = ({ id, pod }: { id: string; pod: boolean }): string => `${marathon?.base}/v2/${pod ? "pods" : "apps"}/${appPath(id)}`;
/** Of Tepui's own additions, for apps and pods alike. */
export const moreUrlOf = ({ id }: { id: string }, part: string): string => `${marathon?.base}/v3/apps/${appPath(id)}/${part}`;

const forced = (url: string, force: boolean): string => (force ? `${url}?force=true` : url);

export function Scale({ subject, onClose }: { subject: Subject; onClose: () => void }) {
  const [count, setCount] = useState(String(subject.wanted));
  const { problem, busy, run, locked } = useChange(onClose);
  const wanted = /^\d{1,6}$/.test(count) ? Number(count) : null;
  const change = async (instances: number, force: boolean): Promise<unknown> => {
    const url = urlOf(subject);
    if (!subject.pod) return send("PUT", forced(url, force), JSON.stringify({ instances }));
    // A pod is sent whole.
    const spec = await ask<PodSpec>(url);
    return send("PUT", forced(url, force), JSON.stringify({ ...spec, scaling: { ...spec.scaling, kind: "fixed", instances } }));
  };
  const scale = (force: boolean): void => {
    if (wanted !== null) void run(() => change(wanted, force));
  };
  return (
    <Dialog title={`Scale ${subject.id}`} onClose={onClose}>
      <form onSubmit={(event) => (event.preventDefault(), scale(false))}>
        <label class="field">
          Instances
          <input type="number" min={0} max={999999} step={1} name="instances" value={count} autofocus onInput={(event) => setCount(event.currentTarget.value)} />
        </label>
        <p class="dim">{wanted === null ? "A whole number, please." : wanted === 0 ? "Suspends it: every instance is stopped." : `${number(wanted * subject.cpus)} CPU and ${mebibytes(wanted * subject.mem)} in all.`}</p>
        <Problem problem={problem} />
        <div class="dialog-actions">
          <button type="button" onClick={onClose}>Cancel</button>
          {locked && <button type="button" class="danger" onClick={() => scale(true)}>Force</button>}
          <button type="submit" class="primary" disabled={busy || wanted === null}>{wanted !== null && wanted !== subject.wanted ? `Scale from ${subject.wanted} to ${wanted}` : "Scale"}</button>
        </div>
      </form>
    </Dialog>
  );
}

/** Of apps only: Marathon has no such call for pods. */
export function Restart({ subject, onClose }: { subject: Subject; onClose: () => void }) {
  const restart = (force: boolean) => (): Promise<unknown> => send("POST", forced(`${urlOf(subject)}/restart`, force));
  return (
    <Confirm title={`Restart ${subject.id}?`} yes="Restart" change={restart(false)} again={{ yes: "Force", change: restart(true) }} onClose={onClose}>
      <p>Every instance is replaced by a new one, as the app's upgrade strategy allows.</p>
    </Confirm>
  );
}

export function Destroy({ subject, then, onClose }: { subject: Subject; /** Where to go when it is gone. */ then: string; onClose: () => void }) {
  const [typed, setTyped] = useState("");
  const { problem, busy, run, locked } = useChange(onClose);
  const destroy = (force: boolean): Promise<void> => run(() => send("DELETE", forced(urlOf(subject), force)), () => go(then));
  return (
    <Dialog title={`Destroy ${subject.id}?`} onClose={onClose}>
      <form onSubmit={(event) => (event.preventDefault(), typed === subject.id && void destroy(false))}>
        <p>{subject.running > 0 && `${plural(subject.running, "instance")} will be killed. `}The {subject.pod ? "pod" : "app"} and its versions are forgotten. There is no way back.</p>
        <label class="field">
          Type <code>{subject.id}</code> to confirm
          <input type="text" autocomplete="off" spellcheck={false} autofocus value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
        </label>
        <Problem problem={problem} />
        <div class="dialog-actions">
          <button type="button" onClick={onClose}>Cancel</button>
          {locked && <button type="button" class="danger" disabled={typed !== subject.id} onClick={() => void destroy(true)}>Force</button>}
          <button type="submit" class="danger" disabled={busy || typed !== subject.id}>Destroy</button>
        </div>
      </form>
    </Dialog>
  );
}
