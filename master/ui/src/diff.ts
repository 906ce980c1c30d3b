// What differs between two definitions, by JSON pointer: objects key by key, everything else as a whole.

export interface Difference {
  path: string;
  old?: unknown;
  new?: unknown;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

/** Depth is bounded, so that no definition can exhaust the stack. */
export function differences(old: unknown, now: unknown, path = "", depth = 0): Difference[] {
  if (JSON.stringify(old) === JSON.stringify(now)) return [];
  if (depth > 32 || !isObject(old) || !isObject(now)) return [{ path: path || "/", ...(old === undefined ? {} : { old }), ...(now === undefined ? {} : { new: now }) }];
  const keys = [...new Set([...Object.keys(old), ...Object.keys(now)])].sort();
  return keys.flatMap((key) => differences(old[key], now[key], `${path}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`, depth + 1));
}

/** A value in one line. */
export const inline = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));
