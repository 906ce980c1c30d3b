// Pages are named after the hash, because the master's own API has paths such as /tasks: `#/tasks?state=TASK_FAILED`.

import { useEffect, useState } from "preact/hooks";

export interface Route {
  /** Decoded segments. */
  path: string[];
  query: URLSearchParams;
}

export function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const segments = path.split("/").filter(Boolean);
  return { path: segments.map(decoded), query: new URLSearchParams(query) };
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

export function link(...segments: string[]): string {
  return `#/${segments.map(encodeURIComponent).join("/")}`;
}

/** Apps' and pods' ids are paths themselves. */
export const appLink = (id: string): string => link("apps", ...id.split("/").filter(Boolean));
export const podLink = (id: string): string => link("pods", ...id.split("/").filter(Boolean));

export const go = (hash: string): void => {
  location.hash = hash;
};

/** Replaces the query without a new entry in the history. */
export function setQuery(values: Record<string, string>): void {
  const { path } = parse(location.hash);
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ""));
  const text = query.size ? `?${query}` : "";
  history.replaceState(null, "", `${link(...path)}${text}`);
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}

export function useRoute(): Route {
  const [route, set] = useState(() => parse(location.hash));
  useEffect(() => {
    const changed = (): void => set(parse(location.hash));
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return route;
}
