// Reading one thing for one page: again when what it depends on has changed, and by the clock while somebody looks.

import { useEffect, useReducer, useRef } from "preact/hooks";
import { ask, Refused } from "../api";

/** Changes that come close together are read once. */
const GAP_MS = 500;

export interface Reading<T> {
  value: T | null;
  problem: Refused | null;
  /** Reads it again, soon. */
  again: () => void;
}

/**
 * Reads `url`; again whenever `seen` is another than before, and every `everyMs` if that is given. Without a URL nothing is read. What was
 * read is kept while it is read again, also when that fails.
 */
export function useReading<T>(url: string | null, seen: unknown, everyMs?: number): Reading<T> {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const [asked, again] = useReducer((count: number) => count + 1, 0);
  const state = useRef({ url: null as string | null, value: null as T | null, problem: null as Refused | null, at: 0, answered: 0 });
  if (state.current.url !== url) state.current = { url, value: null, problem: null, at: 0, answered: 0 };
  useEffect(() => {
    if (url === null) return;
    let here = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const read = async (): Promise<void> => {
      const at = performance.now();
      state.current.at = Date.now();
      const answer = await ask<T>(url).then(
        (value) => ({ value, problem: null }),
        (error: unknown) => ({ value: state.current.value, problem: error instanceof Refused ? error : new Refused(0, String(error)) }),
      );
      // An answer counts also when something has changed meanwhile, but not after that to a later question.
      if (state.current.url !== url || state.current.answered > at) return;
      state.current = { ...state.current, ...answer, answered: at };
      redraw(undefined);
      if (here) next();
    };
    const next = (): void => {
      // What was refused for good is not asked for again by the clock.
      if (everyMs === undefined || state.current.problem?.status === 404) return;
      timer = setTimeout(() => (document.hidden ? next() : void read()), everyMs);
    };
    timer = setTimeout(() => void read(), Math.max(0, state.current.at + GAP_MS - Date.now()));
    return () => {
      here = false;
      clearTimeout(timer);
    };
  }, [url, seen, asked, everyMs]);
  const { value, problem } = state.current;
  return { value, problem, again: () => again(undefined) };
}
