// What is written down of an app or a pod: its definition, its versions, its events.

import { useEffect, useState } from "preact/hooks";
import { ask, send } from "../api";
import { seconds } from "../format";
import { marathon } from "../live";
import { aboutApp, type Subject } from "../live/marathon";
import { definition } from "../pages/appeditor";
import { urlOf } from "./change";
import { Ago, Badge, Copy, Dialog, Empty } from "./small";
import { Table } from "./table";

export function Json({ value }: { value: unknown }) {
  const text = JSON.stringify(value, null, 2);
  return (
    <div class="json">
      <Copy text={text} label="Copy the JSON" />
      <pre tabIndex={0}>{text}</pre>
    </div>
  );
}

export function Versions({ subject }: { subject: Subject }) {
  const [versions, setVersions] = useState<string[]>([]);
  const [shown, setShown] = useState<{ version: string; definition: Record<string, unknown> } | null>(null);
  const [problem, setProblem] = useState("");
  const { id, pod, version: current } = subject;
  const base = urlOf(subject);
  const all = `${base}${pod ? "::versions" : "/versions"}`;
  useEffect(() => {
    let here = true;
    ask<string[] | { versions: string[] }>(all).then(
      (answer) => here && setVersions([...(Array.isArray(answer) ? answer : answer.versions)].sort().reverse()),
      (error: Error) => here && setProblem(error.message),
    );
    return () => {
      here = false;
    };
  }, [all, current]);
  const show = (version: string): void => {
    ask<Record<string, unknown>>(`${all}/${encodeURIComponent(version)}`).then((one) => setShown({ version, definition: definition(one) }), (error: Error) => setProblem(error.message));
  };
  const back = async (): Promise<void> => {
    if (!shown) return;
    try {
      await send("PUT", pod ? base : `${base}?partialUpdate=false`, JSON.stringify(shown.definition));
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
          { name: "", cell: (version) => (version === current ? <Badge tone="good">current</Badge> : "") },
          { name: "Made", align: "end", cell: (version) => <Ago at={seconds(version)} /> },
        ]} />
      {shown && (
        <Dialog title={`${id} as of ${shown.version}`} onClose={() => setShown(null)} wide>
          <Json value={shown.definition} />
          <div class="dialog-actions">
            <button type="button" onClick={() => setShown(null)}>Close</button>
            {shown.version !== current && <button type="button" class="primary" onClick={() => void back()}>Deploy this version again</button>}
          </div>
        </Dialog>
      )}
    </>
  );
}

export function Events({ id }: { id: string }) {
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
