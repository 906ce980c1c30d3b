// The list of tasks: only the rows in sight are drawn, so that 100,000 scroll like 100. Rows have one height.
//
// Up, Down, Page Up, Page Down, Home and End move, Enter opens.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { mebibytes, number } from "../format";
import { cluster } from "../live";
import type { Task } from "../live/cluster";
import { go, link } from "../router";
import { Ago, Middle, State } from "./small";

const ROW_PX = 34;
const BEYOND = 8;

export const taskLink = (task: { framework: string; id: string }): string => link("tasks", task.framework, task.id);

export type Order = "newest" | "updated" | "name" | "cpus" | "mem" | "state";

export const compareTasks: Record<Order, (one: Task, other: Task) => number> = {
  newest: (one, other) => other.key - one.key,
  updated: (one, other) => (other.updated ?? 0) - (one.updated ?? 0) || other.key - one.key,
  name: (one, other) => (one.id < other.id ? -1 : one.id > other.id ? 1 : 0),
  cpus: (one, other) => other.resources[0] - one.resources[0] || other.key - one.key,
  mem: (one, other) => other.resources[2] - one.resources[2] || other.key - one.key,
  state: (one, other) => (one.state < other.state ? -1 : one.state > other.state ? 1 : other.key - one.key),
};

export function TaskList({ tasks, order, onOrder, brief }: { tasks: Task[]; order: Order; onOrder?: (order: Order) => void; brief?: "agent" | "framework" }) {
  const room = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const [chosen, choose] = useState<number | null>(null);
  useLayoutEffect(() => {
    const element = room.current;
    if (!element) return;
    const measure = (): void => setView({ top: element.scrollTop, height: element.clientHeight });
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const first = Math.max(0, Math.floor(view.top / ROW_PX) - BEYOND);
  const last = Math.min(tasks.length, Math.ceil((view.top + view.height) / ROW_PX) + BEYOND);
  const at = chosen === null ? -1 : tasks.findIndex((task) => task.key === chosen);
  const move = (to: number): void => {
    const index = Math.max(0, Math.min(tasks.length - 1, to));
    const task = tasks[index];
    const element = room.current;
    if (!task || !element) return;
    choose(task.key);
    const head = element.querySelector<HTMLElement>(".vhead")?.offsetHeight ?? 0;
    if (index * ROW_PX < element.scrollTop) element.scrollTop = index * ROW_PX;
    else if ((index + 1) * ROW_PX + head > element.scrollTop + element.clientHeight) element.scrollTop = (index + 1) * ROW_PX + head - element.clientHeight;
  };
  const page = Math.max(1, Math.floor(view.height / ROW_PX) - 2);
  const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
  const key = (event: KeyboardEvent): void => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const step = steps[event.key];
    if (step !== undefined) move(at < 0 ? first : at + step);
    else if (event.key === "Home") move(0);
    else if (event.key === "End") move(tasks.length - 1);
    else if (event.key === "Enter" && event.target === room.current && tasks[at]) go(taskLink(tasks[at]));
    else return;
    event.preventDefault();
  };
  useEffect(() => {
    if (room.current) room.current.scrollTop = 0;
  }, [order]);
  const heading = (name: string, by: Order | null, extra = "") => (
    <span role="columnheader" class={extra} aria-sort={by === order ? "other" : undefined}>
      {by && onOrder ? (
        <button type="button" class={by === order ? "chosen" : ""} onClick={() => onOrder(by)}>
          {name}
        </button>
      ) : (
        name
      )}
    </span>
  );
  return (
    <div ref={room} class="vlist" role="table" aria-label="Tasks" aria-rowcount={tasks.length + 1} tabIndex={0} onKeyDown={key}
      onScroll={(event) => setView({ top: event.currentTarget.scrollTop, height: event.currentTarget.clientHeight })}>
      <div class="vrow vhead" role="row" aria-rowindex={1}>
        {heading("Task", "name")}
        {heading("State", "state")}
        {heading("Framework", null, "wide-only")}
        {heading("Agent", null, "wide-only")}
        {heading("CPUs", "cpus", "end wide-only")}
        {heading("Memory", "mem", "end wide-only")}
        {heading("Updated", "updated", "end")}
      </div>
      <div role="rowgroup" style={{ height: `${tasks.length * ROW_PX}px`, position: "relative" }}>
        {tasks.slice(first, last).map((task, index) => (
          <div key={task.key} role="row" aria-rowindex={first + index + 2} class={`vrow ${task.key === chosen ? "chosen" : ""}`} style={{ top: `${(first + index) * ROW_PX}px` }}>
            <span role="cell" class="mono cut">
              <a href={taskLink(task)} title={task.id} tabIndex={-1}>
                <Middle text={task.id} />
              </a>
            </span>
            <span role="cell">
              <State state={task.state} healthy={task.healthy} />
            </span>
            <span role="cell" class="cut wide-only">
              {brief === "framework" ? "" : (cluster.now.frameworks.get(task.framework)?.name ?? "–")}
            </span>
            <span role="cell" class="cut wide-only">
              {brief === "agent" ? "" : (cluster.now.agents.get(task.agent)?.hostname ?? "–")}
            </span>
            <span role="cell" class="end wide-only">{number(task.resources[0])}</span>
            <span role="cell" class="end wide-only">{mebibytes(task.resources[2])}</span>
            <span role="cell" class="end">
              <Ago at={task.updated} />
            </span>
          </div>
        ))}
      </div>
    </div>
  );
}
