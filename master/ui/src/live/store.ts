// The seam between live data and components: a version that grows, and a hook that redraws when it has grown.

import { useEffect, useReducer } from "preact/hooks";

/** Redraws are gathered into one per frame; a page that is slow to draw is redrawn less often. */
export class Topic {
  version = 0;
  private readonly listeners = new Set<() => void>();
  private scheduled = false;

  changed(): void {
    this.version += 1;
    if (this.scheduled) return;
    this.scheduled = true;
    // Frames do not come while a tab is hidden, and then nobody looks.
    requestAnimationFrame(() => {
      this.scheduled = false;
      for (const listener of [...this.listeners]) listener();
    });
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/** Redraws the component when any of the topics has news. */
export function useTopics(...topics: Topic[]): void {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  useEffect(() => {
    const seen = topics.map((topic) => topic.version);
    const leave = topics.map((topic) => topic.subscribe(() => redraw(undefined)));
    // What came between the first drawing and here.
    if (topics.some((topic, at) => topic.version !== seen[at])) redraw(undefined);
    return () => leave.forEach((end) => end());
  }, topics);
}
