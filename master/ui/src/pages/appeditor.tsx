// An app or a pod as JSON, made or changed; what Marathon objects to is shown at its line. A change of what is there may be tried first.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Refused, send } from "../api";
import { lineOf, lines } from "../json-lines";
import { marathon } from "../live";
import { urlOf } from "../parts/change";
import { Dialog } from "../parts/small";
import { appLink, go, podLink } from "../router";

const EXAMPLE = `{
  "id": "/my-app",
  "cmd": "while true; do date; sleep 5; done",
  "cpus": 0.1,
  "mem": 32,
  "instances": 1
}`;

const POD_EXAMPLE = `{
  "id": "/my-pod",
  "containers": [
    {
      "name": "main",
      "resources": { "cpus": 0.1, "mem": 32 },
      "exec": { "command": { "shell": "while true; do date; sleep 5; done" } }
    }
  ],
  "scaling": { "kind": "fixed", "instances": 1 }
}`;

/** What Marathon adds when it shows an app, and does not take back. */
const SHOWN_ONLY = [
  "version", "versionInfo", "tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy", "deployments", "tasks", "lastTaskFailure", "readinessCheckResults", "taskStats",
];

export function definition(shown: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(shown).filter(([key]) => !SHOWN_ONLY.includes(key)));
}

interface Fault {
  path: string;
  line: number | undefined;
  words: string;
}

/** How a change is made: at once, or tried beside what is there. */
type Rollout = "once" | "canary" | "blueGreen";

export function AppEditor({ now, pod = false, onClose }: { /** What is there and shall be changed. */ now?: { id: string; [key: string]: unknown }; pod?: boolean; onClose: () => void }) {
  const [text, setText] = useState(() => (now ? JSON.stringify(definition(now), null, 2) : pod ? POD_EXAMPLE : EXAMPLE));
  const [rollout, setRollout] = useState<Rollout>("once");
  const [share, setShare] = useState("10%");
  const [after, setAfter] = useState("");
  const [faults, setFaults] = useState<Fault[]>([]);
  const [problem, setProblem] = useState<Refused | null>(null);
  const [busy, setBusy] = useState(false);
  const area = useRef<HTMLTextAreaElement>(null);
  const gutter = useRef<HTMLDivElement>(null);
  const count = useMemo(() => text.split("\n").length, [text]);
  useEffect(() => {
    area.current?.setSelectionRange(0, 0);
    area.current?.focus();
  }, []);

  const edit = (value: string): void => {
    setText(value);
    // A complaint about another text would mislead.
    setFaults([]);
    setProblem(null);
  };
  const jump = (line: number | undefined): void => {
    const element = area.current;
    if (!element || line === undefined) return;
    const begin = text.split("\n").slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    const end = text.indexOf("\n", begin);
    element.focus();
    element.setSelectionRange(begin, end < 0 ? text.length : end);
    element.scrollTop = Math.max(0, (line - 4) * 19);
  };
  const submit = async (force: boolean): Promise<void> => {
    if (!marathon) return;
    setBusy(true);
    setProblem(null);
    setFaults([]);
    try {
      const query = new URLSearchParams(force ? { force: "true" } : {});
      if (now && rollout !== "once") {
        query.set("partialUpdate", "false");
        if (rollout === "canary") query.set("canary", share.trim());
        else query.set("blueGreen", "true");
        if (after.trim()) query.set("promoteAfterSeconds", after.trim());
        await send("POST", `${marathon.base}/v3/apply?${query}`, text);
      } else if (now) {
        if (!pod) query.set("partialUpdate", "false");
        await send("PUT", `${urlOf({ id: now.id, pod })}?${query}`, text);
      } else {
        const made = await send<{ id: string }>("POST", `${marathon.base}/v2/${pod ? "pods" : "apps"}?${query}`, text);
        go(pod ? podLink(made.id) : appLink(made.id));
      }
      marathon.refresh();
      onClose();
    } catch (error) {
      const refused = error instanceof Refused ? error : new Refused(0, String(error));
      const found = lines(text);
      const where = refused.details.flatMap((detail) => detail.errors.map((words) => ({ path: detail.path, line: lineOf(found, detail.path), words: plain(words) })));
      const place = /line (\d+) column/.exec(refused.message);
      if (place) where.push({ path: "", line: Number(place[1]), words: refused.message });
      setFaults(where);
      setProblem(refused);
      setBusy(false);
      if (where[0]) jump(where[0].line);
    }
  };
  const faulty = new Set(faults.map((fault) => fault.line));
  return (
    <Dialog title={now ? `Change ${now.id}` : pod ? "New pod" : "New app"} onClose={onClose} wide>
      <div class="editor">
        <div class="gutter" ref={gutter} aria-hidden="true">
          {Array.from({ length: count }, (_, at) => (
            <span key={at} class={faulty.has(at + 1) ? "faulty" : ""}>{at + 1}</span>
          ))}
        </div>
        <textarea ref={area} aria-label={`The ${pod ? "pod" : "app"} as JSON`} spellcheck={false} autocapitalize="off" value={text}
          onInput={(event) => edit(event.currentTarget.value)}
          onScroll={(event) => gutter.current && (gutter.current.scrollTop = event.currentTarget.scrollTop)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void submit(false);
          }} />
      </div>
      {problem && (
        <div class="problem" role="alert">
          <b>{problem.message}</b>
          {faults.length > 0 && (
            <ul class="faults">
              {faults.map((fault) => (
                <li key={`${fault.path} ${fault.words}`}>
                  <button type="button" class="quiet" onClick={() => jump(fault.line)}>
                    {fault.line !== undefined && `line ${fault.line}`} {fault.path && <code>{fault.path}</code>}
                  </button>{" "}
                  {fault.words}
                </li>
              ))}
            </ul>
          )}
        </div>
      )}
      {now && (
        <div class="rollout">
          <label class="check">
            Roll out
            <select value={rollout} onChange={(event) => setRollout(event.currentTarget.value as Rollout)}>
              <option value="once">at once</option>
              <option value="canary">as a canary first</option>
              <option value="blueGreen">blue/green</option>
            </select>
          </label>
          {rollout === "canary" && <label class="check">of <input type="text" class="narrow" value={share} onInput={(event) => setShare(event.currentTarget.value)} /> instances</label>}
          {rollout !== "once" && <label class="check">promoted by itself after <input type="number" class="narrow" min={1} placeholder="never" value={after} onInput={(event) => setAfter(event.currentTarget.value)} /> s</label>}
        </div>
      )}
      <div class="dialog-actions">
        <span class="dim hint">Ctrl+Enter deploys</span>
        <button type="button" onClick={onClose}>Cancel</button>
        {problem?.status === 409 && now && <button type="button" class="danger" disabled={busy} onClick={() => void submit(true)}>Force</button>}
        <button type="button" class="primary" disabled={busy} onClick={() => void submit(false)}>{!now ? "Deploy" : rollout === "once" ? "Deploy the change" : "Try the change"}</button>
      </div>
    </Dialog>
  );
}

const WORDS: Record<string, string> = {
  "error.path.missing": "is missing",
  "error.expected.jsstring": "must be a string",
  "error.expected.jsnumber": "must be a number",
  "error.expected.jsarray": "must be an array",
  "error.expected.jsobject": "must be an object",
  "error.expected.jsboolean": "must be true or false",
  "error.min": "is too small",
  "error.max": "is too large",
  "error.minLength": "is too short",
  "error.maxLength": "is too long",
  "error.pattern": "has a form that is not allowed",
  "error.unknown.enum.literal": "is none of the values that are allowed",
};

/** Marathon's codes as sentences, with the code for those who search for it. */
function plain(error: string): string {
  const words = WORDS[error];
  return words ? `${words} (${error})` : error;
}
