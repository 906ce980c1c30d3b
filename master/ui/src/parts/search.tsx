// The search over everything that is known: apps, pods, tasks, agents, frameworks.

import { useEffect, useState } from "preact/hooks";
import { cluster, clusterTopic, marathon } from "../live";
import { subjectOfPod } from "../live/marathon";
import { useTopics } from "../live/store";
import { appLink, go, link, podLink } from "../router";
import { Dialog } from "./small";
import { taskLink } from "./tasklist";

interface Hit {
  kind: string;
  name: string;
  note: string;
  href: string;
}

const EACH = 7;

/** At most `EACH` of each kind; the whole of what was typed must occur. */
export function hits(text: string): Hit[] {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  const found: Hit[] = [];
  const some = <T,>(all: Iterable<T>, matches: (one: T) => boolean, hit: (one: T) => Hit): void => {
    let count = 0;
    for (const one of all) {
      if (!matches(one)) continue;
      found.push(hit(one));
      if (++count === EACH) return;
    }
  };
  const has = (...values: string[]): boolean => values.some((value) => value.toLowerCase().includes(wanted));
  const picture = cluster.now;
  some(marathon?.apps.values() ?? [], (app) => has(app.id), (app) => ({ kind: "App", name: app.id, note: `${app.tasksRunning} of ${app.instances}`, href: appLink(app.id) }));
  some(marathon?.pods.values() ?? [], (pod) => has(pod.id), (pod) => ({ kind: "Pod", name: pod.id, note: `${subjectOfPod(pod).running} of ${subjectOfPod(pod).wanted}`, href: podLink(pod.id) }));
  some(picture.agents.values(), (agent) => has(agent.hostname, agent.id), (agent) => ({ kind: "Agent", name: `${agent.hostname}:${agent.port}`, note: agent.id, href: link("agents", agent.id) }));
  some(picture.frameworks.values(), (framework) => has(framework.name, framework.id), (framework) => ({ kind: "Framework", name: framework.name, note: framework.id, href: link("frameworks", framework.id) }));
  some(picture.tasks.values(), (task) => has(task.id, task.name), (task) => ({ kind: "Task", name: task.id, note: task.state.replace("TASK_", "").toLowerCase(), href: taskLink(task) }));
  return found;
}

export function Search({ onClose }: { onClose: () => void }) {
  useTopics(clusterTopic);
  const [text, setText] = useState("");
  const [chosen, choose] = useState(0);
  const found = hits(text);
  const at = Math.min(chosen, Math.max(0, found.length - 1));
  useEffect(() => {
    document.getElementById(`hit-${at}`)?.scrollIntoView({ block: "nearest" });
  }, [at]);
  const open = (hit: Hit | undefined): void => {
    if (!hit) return;
    onClose();
    go(hit.href);
  };
  const key = (event: KeyboardEvent): void => {
    if (event.key === "ArrowDown") choose(Math.min(found.length - 1, at + 1));
    else if (event.key === "ArrowUp") choose(Math.max(0, at - 1));
    else if (event.key === "Enter") open(found[at]);
    else return;
    event.preventDefault();
  };
  return (
    <Dialog title="Search" onClose={onClose}>
      <input type="search" class="search-input" placeholder="App, pod, task, agent, framework…" aria-label="Search for anything" aria-controls="hits"
        aria-activedescendant={found.length ? `hit-${at}` : undefined} autofocus value={text} onInput={(event) => (setText(event.currentTarget.value), choose(0))} onKeyDown={key} />
      <ul class="hits" id="hits" role="listbox" aria-label="Found">
        {found.map((hit, index) => (
          <li key={hit.href} id={`hit-${index}`} role="option" aria-selected={index === at}>
            <a href={hit.href} tabIndex={-1} onClick={onClose}>
              <span class="hit-kind">{hit.kind}</span> <span class="cut">{hit.name}</span> <span class="dim cut">{hit.note}</span>
            </a>
          </li>
        ))}
      </ul>
      {text && found.length === 0 && <p class="empty">Nothing is named like that.</p>}
    </Dialog>
  );
}
