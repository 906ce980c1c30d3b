// Following a file in a sandbox: pieces by byte offset, from its end backwards and from its end onwards.
//
// An agent cannot push files, so they are asked for: four times a second while they grow, less often while they do not.
// Its answers are text, though offsets are bytes: a piece that ends inside a character is cut before it.

import { ask } from "./api";

export const PIECE_BYTES = 64 * 1024;
/** Kept in the page; what is older can be had by download. */
export const KEPT_CHARS = 4 * 1024 * 1024;
const QUICKEST_MS = 250;
const SLOWEST_MS = 2_000;

const encoder = new TextEncoder();

/** Text without an incomplete last character, and how many bytes of `asked` it stands for. */
export function whole(data: string, asked: number): { text: string; bytes: number } {
  if (!data.endsWith("\uFFFD")) return { text: data, bytes: asked };
  const text = data.replace(/\uFFFD+$/, "");
  const bytes = encoder.encode(text).length;
  // More replacement characters mean that these are no texts but bytes: exactness is not to be had.
  if (text.includes("\uFFFD") || asked - bytes > 3 || bytes === 0) return { text: data, bytes: asked };
  return { text, bytes };
}

export interface Shown {
  text: string;
  /** The first byte that is shown. */
  from: number;
  /** The byte after the last that is shown. */
  to: number;
}

export class Follower {
  shown: Shown = { text: "", from: 0, to: 0 };
  problem: string | null = null;
  loaded = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private wait = QUICKEST_MS;
  private ended = false;

  constructor(
    private readonly agent: string,
    private readonly path: string,
    private readonly changed: () => void,
  ) {
    void this.step();
  }

  get download(): string {
    return `tepui/v1/agents/${encodeURIComponent(this.agent)}/files/download?path=${encodeURIComponent(this.path)}`;
  }

  end(): void {
    this.ended = true;
    clearTimeout(this.timer);
  }

  private read(offset: number, length?: number): Promise<{ data: string; offset: number }> {
    const query = new URLSearchParams({ path: this.path, offset: String(offset) });
    if (length !== undefined) query.set("length", String(length));
    return ask(`tepui/v1/agents/${encodeURIComponent(this.agent)}/files/read?${query}`);
  }

  private async step(): Promise<void> {
    let grew = false;
    try {
      const { offset: size } = await this.read(-1);
      if (!this.loaded || size < this.shown.to) {
        // The first time, or the file was begun anew.
        const from = Math.max(0, size - PIECE_BYTES);
        this.shown = { text: "", from, to: from };
      }
      const length = Math.min(size - this.shown.to, PIECE_BYTES);
      if (length > 0) {
        const { data } = await this.read(this.shown.to, length);
        const piece = whole(data, length);
        // A piece out of the middle begins with the next line.
        const middle = this.shown.from > 0 && this.shown.text === "";
        const cut = middle ? piece.text.indexOf("\n") + 1 : 0;
        const from = this.shown.from + encoder.encode(piece.text.slice(0, cut)).length;
        const kept = this.shown.text + piece.text.slice(cut);
        const dropped = kept.slice(0, Math.max(0, kept.length - KEPT_CHARS));
        this.shown = { text: kept.slice(dropped.length), from: from + encoder.encode(dropped).length, to: this.shown.to + piece.bytes };
        grew = true;
      }
      grew ||= !this.loaded || this.problem !== null;
      this.loaded = true;
      this.problem = null;
      this.wait = length > 0 ? (this.shown.to < size ? 0 : QUICKEST_MS) : Math.min(SLOWEST_MS, this.wait * 1.5 || QUICKEST_MS);
    } catch (error) {
      const status = (error as { status?: number }).status;
      this.problem = status === 404 ? "The file is not there: the sandbox was removed, or nothing was written yet." : (error as Error).message;
      this.wait = SLOWEST_MS;
      grew = true;
    }
    if (this.ended) return;
    if (grew) this.changed();
    this.timer = setTimeout(() => void this.step(), document.hidden ? SLOWEST_MS : this.wait);
  }

  /** The piece before what is shown. */
  async earlier(): Promise<void> {
    const { from } = this.shown;
    const begin = Math.max(0, from - PIECE_BYTES);
    const { data } = await this.read(begin, from - begin);
    this.shown = { ...this.shown, text: data + this.shown.text, from: begin };
    this.changed();
  }
}
