// The smallest parts: times, ids, states, bars, and the like.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { absolute, ago, mebibytes, number, percent, short, stateName, tone, type Tone } from "../format";
import type { Amounts } from "../live/cluster";
import { clock } from "../live";
import { useTopics } from "../live/store";
import { setQuery, useRoute } from "../router";

/** A relative time that stays true, with the absolute one on hover. */
export function Ago({ at }: { at: number | undefined }) {
  useTopics(clock);
  if (at === undefined || at <= 0) return <span class="dim">–</span>;
  return (
    <time dateTime={new Date(at * 1000).toISOString()} title={absolute(at)}>
      {ago(at, Date.now() / 1000)}
    </time>
  );
}

/** An id cut to its telling ends, and a button that copies it. */
export function Id({ id, href, most }: { id: string; href?: string | undefined; most?: number }) {
  const text = short(id, most);
  return (
    <span class="id">
      {href ? (
        <a href={href} title={id}>
          {text}
        </a>
      ) : (
        <span title={id}>{text}</span>
      )}
      <Copy text={id} />
    </span>
  );
}

/** A long name that loses its middle, not its end, where there is no room. */
export function Middle({ text, tail = 12 }: { text: string; tail?: number }) {
  const cut = Math.max(0, text.length - tail);
  return (
    <span class="middle">
      <span>{text.slice(0, cut)}</span>
      <span>{text.slice(cut)}</span>
    </span>
  );
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const [done, set] = useState(false);
  useEffect(() => {
    if (!done) return;
    const timer = setTimeout(() => set(false), 1_200);
    return () => clearTimeout(timer);
  }, [done]);
  return (
    <button
      type="button"
      class="copy"
      aria-label={done ? "Copied" : `${label} ${text.length < 80 ? text : ""}`}
      title={done ? "Copied" : label}
      onClick={(event) => {
        event.preventDefault();
        event.stopPropagation();
        void copy(text).then(() => set(true));
      }}
    >
      <svg viewBox="0 0 16 16" aria-hidden="true">
        {done ? <path d="m3 8.500 3.200 3.200L13 5" /> : <path d="M5.500 5.500h7v8h-7zM3.500 10.500v-8h7" />}
      </svg>
    </button>
  );
}

/** The clipboard is closed to pages of plain HTTP; the old way is not. */
async function copy(text: string): Promise<void> {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  area.style.position = "fixed";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

export function Dot({ tone: colour }: { tone: Tone }) {
  return <span class={`dot ${colour}`} aria-hidden="true" />;
}

export function Badge({ tone: colour, children, title }: { tone: Tone; children: ComponentChildren; title?: string | undefined }) {
  return (
    <span class={`badge ${colour}`} title={title}>
      <Dot tone={colour} />
      {children}
    </span>
  );
}

export function State({ state, healthy }: { state: string; healthy?: boolean | undefined }) {
  if (state === "TASK_RUNNING" && healthy === false) return <Badge tone="bad">Unhealthy</Badge>;
  return <Badge tone={tone(state)}>{stateName(state)}</Badge>;
}

/** One resource: what is used, what is offered, and the whole. */
export function ResourceBar({ label, used, offered = 0, total, text = number }: {
  label: string; used: number; offered?: number; total: number; text?: (value: number) => string;
}) {
  const part = (value: number): string => `${total > 0 ? Math.min(100, (100 * value) / total) : 0}%`;
  const words = `${text(used)} of ${text(total)} allocated${offered > 0 ? `, ${text(offered)} offered` : ""}`;
  return (
    <div class="resource" title={`${label}: ${words}`}>
      <span class="resource-label">{label}</span>
      <span class="bar" role="img" aria-label={`${label}: ${words}`}>
        <span class="bar-used" style={{ width: part(used) }} />
        <span class="bar-offered" style={{ width: part(offered) }} />
      </span>
      <span class="resource-text">
        {text(used)} <span class="dim">/ {text(total)}</span> <span class="resource-percent">{percent(used, total)}</span>
      </span>
    </div>
  );
}

export function ResourceBars({ used, offered, total }: { used: Amounts; offered?: Amounts; total: Amounts }) {
  return (
    <div class="resources">
      <ResourceBar label="CPUs" used={used[0]} offered={offered?.[0] ?? 0} total={total[0]} />
      <ResourceBar label="Memory" used={used[2]} offered={offered?.[2] ?? 0} total={total[2]} text={mebibytes} />
      <ResourceBar label="Disk" used={used[3]} offered={offered?.[3] ?? 0} total={total[3]} text={mebibytes} />
      {total[1] > 0 && <ResourceBar label="GPUs" used={used[1]} offered={offered?.[1] ?? 0} total={total[1]} />}
    </div>
  );
}

/** A bar without words, for table rows. */
export function MiniBar({ used, offered = 0, total, label, text = number }: {
  used: number; offered?: number; total: number; label: string; text?: (value: number) => string;
}) {
  const part = (value: number): string => `${total > 0 ? Math.min(100, (100 * value) / total) : 0}%`;
  return (
    <span class="mini" title={`${label}: ${text(used)} of ${text(total)} allocated${offered > 0 ? `, ${text(offered)} offered` : ""}`}>
      <span class="bar" aria-hidden="true">
        <span class="bar-used" style={{ width: part(used) }} />
        <span class="bar-offered" style={{ width: part(offered) }} />
      </span>
      <span class="mini-text">
        {text(used)} <span class="dim">/ {text(total)}</span>
      </span>
    </span>
  );
}

export function amountsText(amounts: Amounts): string {
  const parts = [`${number(amounts[0])} CPU`, mebibytes(amounts[2])];
  if (amounts[3] > 0) parts.push(`${mebibytes(amounts[3])} disk`);
  if (amounts[1] > 0) parts.push(`${number(amounts[1])} GPU`);
  return parts.join(", ");
}

export function Labels({ labels }: { labels: Record<string, string> }) {
  return <span class="labels">{Object.entries(labels).map(([key, value]) => <code key={key}>{key}={value}</code>)}</span>;
}

/** The tab that the address names, and how to go to another; the first is the one of no name. */
export function useTab<T extends string>(tabs: readonly T[]): [T, (tab: T) => void] {
  const { query } = useRoute();
  const first = tabs[0] as T;
  return [tabs.find((name) => name === query.get("tab")) ?? first, (tab) => setQuery({ tab: tab === first ? "" : tab })];
}

export function Tabs<T extends string>({ label, tabs, chosen, onChoose }: { label: string; tabs: readonly T[]; chosen: T; onChoose: (tab: T) => void }) {
  return (
    <div class="tabs" role="tablist" aria-label={label}>
      {tabs.map((name) => (
        <button key={name} type="button" role="tab" aria-selected={chosen === name} onClick={() => onChoose(name)}>
          {name.charAt(0).toUpperCase() + name.slice(1)}
        </button>
      ))}
    </div>
  );
}

/** A list of terms and what they are. */
export function Facts({ facts }: { facts: (readonly [string, ComponentChildren] | null | false | undefined)[] }) {
  return (
    <dl class="facts">
      {facts.map(
        (fact) =>
          fact && (
            <div key={fact[0]}>
              <dt>{fact[0]}</dt>
              <dd>{fact[1]}</dd>
            </div>
          ),
      )}
    </dl>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** The head of a page: where one is, what it is, and what can be done. */
export function Head({ title, above, children, note }: {
  title: ComponentChildren; above?: readonly [string, string]; children?: ComponentChildren; note?: ComponentChildren;
}) {
  return (
    <header class="head">
      <div class="head-title">
        {above && (
          <a class="above" href={above[1]}>
            {above[0]}
          </a>
        )}
        <h1>{title}</h1>
        {note && <span class="head-note">{note}</span>}
      </div>
      {children && <div class="head-actions">{children}</div>}
    </header>
  );
}

/** A modal dialog of the browser's own kind: focus stays inside, Escape closes. */
export function Dialog({ title, children, onClose, wide }: { title: string; children: ComponentChildren; onClose: () => void; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current;
    if (dialog && !dialog.open) dialog.showModal();
    return () => dialog?.close();
  }, []);
  const outside = (event: MouseEvent): void => {
    if (event.target === ref.current) onClose();
  };
  return (
    <dialog ref={ref} class={wide ? "wide" : ""} aria-label={title} onCancel={(event) => (event.preventDefault(), onClose())} onMouseDown={outside}>
      <div class="dialog-body">
        <header>
          <h2>{title}</h2>
          <button type="button" class="quiet" aria-label="Close" onClick={onClose}>
            ✕
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
