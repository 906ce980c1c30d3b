// A small live chart of the last ten minutes.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { history } from "../live";
import { KEPT_S, type Column } from "../live/history";

/** A short past fills the chart as well as a long one. */
function span(): [number, number] {
  const now = Date.now() / 1000;
  const first = history.column("time")[0] ?? now;
  return [Math.min(Math.max(first, now - KEPT_S), now - 60), now];
}

const POWERS = Array.from({ length: 40 }, (_, power) => 2 ** power);

export interface Line {
  column: Column;
  label: string;
  /** A custom property of the style sheet. */
  colour: string;
  fill?: boolean;
  /** Drawn on top of this column. */
  on?: Column;
  /** A bound, not a quantity: needs no legend. */
  dashed?: boolean;
}

export function Chart({ label, lines, text, floor = 1, binary = false }: { label: string; lines: Line[]; text: (value: number) => string; floor?: number; /** Marks at powers of two. */ binary?: boolean }) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const colour = (name: string): string => getComputedStyle(element).getPropertyValue(name).trim();
    const data = (): uPlot.AlignedData => {
      const columns = lines.map((line) => {
        const values = history.column(line.column);
        const below = line.on ? history.column(line.on) : null;
        return below ? values.map((value, at) => value + below[at]!) : values;
      });
      return [history.column("time"), ...columns] as uPlot.AlignedData;
    };
    const make = (): uPlot => {
      const faint = colour("--line");
      const dim = colour("--dim");
      const axis = { stroke: dim, grid: { stroke: faint, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
      return new uPlot(
        {
          width: Math.max(120, element.clientWidth),
          height: 110,
          legend: { show: false },
          cursor: { show: false },
          padding: [8, 24, 0, 0],
          scales: {
            x: { time: true, range: () => span() },
            y: { range: (_, __, most) => [0, Math.max(floor, (most ?? 0) * 1.08)] },
          },
          axes: [
            { ...axis, space: 70, size: 22, incrs: [10, 30, 60, 120, 300], values: (_, marks) => marks.map((mark) => new Date(mark * 1000).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", ...(mark % 60 ? { second: "2-digit" } : {}), hourCycle: "h23" })) },
            { ...axis, size: 54, space: 34, values: (_, marks) => marks.map(text), ...(binary ? { incrs: POWERS } : {}) },
          ],
          series: [
            {},
            ...lines.map((line) => ({
              label: line.label,
              stroke: colour(line.colour),
              width: 1.5,
              points: { show: false },
              ...(line.fill ? { fill: `color-mix(in srgb, ${colour(line.colour)} 16%, transparent)` } : {}),
              ...(line.dashed ? { dash: [3, 3] } : {}),
            })),
          ],
        },
        data(),
        element,
      );
    };
    let chart = make();
    const leave = history.topic.subscribe(() => chart.setData(data()));
    const again = (): void => {
      chart.destroy();
      chart = make();
    };
    const observer = new ResizeObserver(() => chart.setSize({ width: Math.max(120, element.clientWidth), height: 110 }));
    observer.observe(element);
    // Colours are painted in: another theme is another painting.
    const media = matchMedia("(prefers-color-scheme: dark)");
    const themes = new MutationObserver(again);
    media.addEventListener("change", again);
    themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => {
      leave();
      observer.disconnect();
      themes.disconnect();
      media.removeEventListener("change", again);
      chart.destroy();
    };
  }, []);
  return (
    <figure class="chart">
      <figcaption>
        {label}
        <span class="legend">
          {lines.filter((line) => !line.dashed).map((line) => (
            <span key={line.column}>
              <i style={{ background: `var(${line.colour})` }} /> {line.label}
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={place} class="chart-place" aria-hidden="true" />
    </figure>
  );
}
