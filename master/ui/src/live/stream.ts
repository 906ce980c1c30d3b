// A server-sent event stream that is opened again when it breaks: at once the first time, then after 1, 2, 4 … at most 15 s.
//
// A tab that nobody looks at for a while lets go of its connection: browsers allow six per host, and an operator has many tabs.

export type Standing = "connecting" | "open" | "broken" | "resting";

export interface Handlers {
  events: Record<string, (data: unknown) => void>;
  standing: (standing: Standing, retryAt: number | null) => void;
  /** Asked before each attempt after a break; `false` gives up until `retry`. */
  before?: () => Promise<boolean>;
}

const LONGEST_MS = 15_000;
const REST_AFTER_MS = 45_000;
/** The master sends a comment every 15 s, which a browser does not show; silence is noticed by the browser's own connection. */

export class Stream {
  private source: EventSource | null = null;
  private attempts = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private resting: ReturnType<typeof setTimeout> | undefined;
  private ended = false;

  constructor(
    private readonly url: string,
    private readonly handlers: Handlers,
  ) {
    document.addEventListener("visibilitychange", this.looked);
    this.open();
  }

  /** Tries now. */
  retry = (): void => {
    this.attempts = 0;
    this.close();
    void this.again();
  };

  end(): void {
    this.ended = true;
    clearTimeout(this.resting);
    document.removeEventListener("visibilitychange", this.looked);
    this.close();
  }

  private close(): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  private open(): void {
    if (this.ended) return;
    this.handlers.standing("connecting", null);
    const source = new EventSource(this.url);
    this.source = source;
    source.onopen = () => {
      this.attempts = 0;
      this.handlers.standing("open", null);
    };
    source.onerror = () => {
      if (this.source !== source) return;
      this.close();
      const wait = this.attempts === 0 ? 250 : Math.min(LONGEST_MS, 500 * 2 ** this.attempts);
      this.attempts += 1;
      this.handlers.standing("broken", Date.now() + wait);
      this.timer = setTimeout(() => void this.again(), wait);
    };
    for (const [name, handle] of Object.entries(this.handlers.events)) {
      source.addEventListener(name, (event) => {
        if (this.source !== source) return;
        let data: unknown;
        try {
          data = JSON.parse((event as MessageEvent<string>).data);
        } catch {
          return;
        }
        handle(data);
      });
    }
  }

  private async again(): Promise<void> {
    if (this.handlers.before && !(await this.handlers.before())) {
      if (this.ended || this.source) return;
      const wait = Math.min(LONGEST_MS, 500 * 2 ** this.attempts);
      this.attempts += 1;
      this.handlers.standing("broken", Date.now() + wait);
      clearTimeout(this.timer);
      this.timer = setTimeout(() => void this.again(), wait);
      return;
    }
    if (!this.source) this.open();
  }

  private looked = (): void => {
    clearTimeout(this.resting);
    if (document.hidden) {
      this.resting = setTimeout(() => {
        this.close();
        this.handlers.standing("resting", null);
      }, REST_AFTER_MS);
    } else if (!this.source) {
      this.retry();
    }
  };
}
