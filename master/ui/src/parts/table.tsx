// Tables that sort by a click on a heading. For lists of hundreds; the list of all tasks is parts/tasklist.tsx.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Empty } from "./small";

export interface Column<T> {
  name: string;
  cell: (row: T) => ComponentChildren;
  /** What it is sorted by; without it, it is not. */
  by?: (row: T) => string | number;
  /** `end` for numbers. */
  align?: "end";
  /** Left out on narrow screens. */
  wide?: boolean;
}

/** At most this many rows are drawn. */
const MOST_ROWS = 1_000;

export function compare(one: string | number, other: string | number): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

export function Table<T>({ label, columns, rows, keyOf, empty, first }: {
  label: string;
  columns: Column<T>[];
  rows: T[];
  keyOf: (row: T) => string | number;
  empty: ComponentChildren;
  /** The column that it is sorted by at first; a minus in front turns it round. */
  first?: string;
}) {
  const [chosen, setSort] = useState<{ name: string; down: boolean } | null>(null);
  const sort = chosen ?? { name: (first ?? "").replace(/^-/, ""), down: first?.startsWith("-") ?? false };
  if (rows.length === 0) return <Empty>{empty}</Empty>;
  const by = columns.find((column) => column.name === sort.name)?.by;
  const sorted = by ? [...rows].sort((one, other) => compare(by(one), by(other)) * (sort.down ? -1 : 1)) : rows;
  return (
    <div class="table-room">
      <table aria-label={label}>
        <thead>
          <tr>
            {columns.map((column) => {
              const mine = column.name === sort.name;
              return (
                <th key={column.name} scope="col" class={classes(column)} aria-sort={mine ? (sort.down ? "descending" : "ascending") : undefined}>
                  {column.by ? (
                    <button type="button" onClick={() => setSort({ name: column.name, down: mine ? !sort.down : false })}>
                      {column.name}
                      <span aria-hidden="true">{mine ? (sort.down ? " ↓" : " ↑") : ""}</span>
                    </button>
                  ) : (
                    column.name
                  )}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {sorted.slice(0, MOST_ROWS).map((row) => (
            <tr key={keyOf(row)}>
              {columns.map((column) => (
                <td key={column.name} class={classes(column)}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > MOST_ROWS && <p class="empty">{rows.length - MOST_ROWS} more are not shown here.</p>}
    </div>
  );
}

function classes<T>(column: Column<T>): string {
  return [column.align === "end" ? "end" : "", column.wide ? "wide-only" : ""].join(" ").trim();
}
