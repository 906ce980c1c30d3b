// An app as JSON, made or changed; what Marathon objects to is shown at its line.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { appPath, Refused, send } from "../api";
import { lineOf, lines } from "../json-lines";
import { marathon } from "../live";
import type { App } from "../live/marathon";
import { Dialog } from "../parts/small";
import { appLink, go } from "../router";

const EXAMPLE = `{
  "id": "/my-app",
  "cmd": "while true; do date; sleep 5; done",
  "cpus": 0.1,
  "mem": 32,
  "instances": 1
}`;

/** What Marathon adds when it shows an app, and does not take back. */
const SHOWN_ONLY = [
  "version", "versionInfo", "tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy", "deployments", "tasks", "lastTaskFailure", "readinessCheckResults", "taskStats",
];

export function definition(app: App): Record<string, unknown> {
  return Object.fromEntries(Object.entries(app).filter(([key]) => !SHOWN_ONLY.includes(key)));
}

interface Fault {
  path: string;
  line: number | undefined;
  words: string;
}

export function AppEditor({ app, onClose }: { app?: App; onClose: () => void }) {
  const [text, setText] = useState(() => (app ? JSON.stringify(definition(app), null, 2) : EXAMPLE));
  const [faults, setFaults] = useState<Fault[]>([]);
  const [problem, setProblem] = useState<Refused | null>(null);
  const [busy, setBusy] = useState(false);
  const area = useRef<HTMLTextAreaElement>(null);
  const gutter = useRef<HTMLDivElement>(null);
  const count = useMemo(() => text.split("\n").length, [text]);
  useEffect(() => area.current?.focus(), []);

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
      const query = force ? "?force=true" : "";
      if (app) await send("PUT", `${marathon.base}/v2/apps/${appPath(app.id)}?partialUpdate=false${force ? "&force=true" : ""}`, text);
      else {
        const made = await send<App>("POST", `${marathon.base}/v2/apps${query}`, text);
        go(appLink(made.id));
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
    <Dialog title={app ? `Change ${app.id}` : "New app"} onClose={onClose} wide>
      <div class="editor">
        <div class="gutter" ref={gutter} aria-hidden="true">
          {Array.from({ length: count }, (_, at) => (
            <span key={at} class={faulty.has(at + 1) ? "faulty" : ""}>{at + 1}</span>
          ))}
        </div>
        <textarea ref={area} aria-label="The app as JSON" spellcheck={false} autocapitalize="off" value={text}
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
      <div class="dialog-actions">
        <span class="dim hint">Ctrl+Enter deploys</span>
        <button type="button" onClick={onClose}>Cancel</button>
        {problem?.status === 409 && app && <button type="button" class="danger" disabled={busy} onClick={() => void submit(true)}>Force</button>}
        <button type="button" class="primary" disabled={busy} onClick={() => void submit(false)}>{app ? "Deploy the change" : "Deploy"}</button>
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
