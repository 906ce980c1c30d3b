// Asking servers of the same origin, with their own words when they refuse.

export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
    /** What Marathon says of single fields. */
    readonly details: { path: string; errors: string[] }[] = [],
  ) {
    super(message);
  }
}

const PATIENCE_MS = 30_000;

export async function ask<T>(url: string, init: RequestInit = {}): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store", ...init });
  } catch (error) {
    const late = error instanceof DOMException && error.name === "TimeoutError";
    throw new Refused(0, late ? "The master did not answer within 30 s." : "The master cannot be reached.");
  }
  const text = await answer.text();
  if (!answer.ok) throw refusal(answer.status, text);
  return (text ? parse(text) : undefined) as T;
}

export function send<T>(method: "POST" | "PUT" | "DELETE", url: string, body?: string): Promise<T> {
  return ask<T>(url, { method, body, headers: body === undefined ? {} : { "content-type": "application/json" } });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Marathon's error bodies are objects, the master's are sentences. */
export function refusal(status: number, text: string): Refused {
  const body = parse(text);
  if (typeof body === "object" && body !== null && "message" in body) {
    const { message, details } = body as { message: unknown; details?: unknown };
    const lines = Array.isArray(details) ? details : [];
    const fields = lines.filter(
      (line): line is { path: string; errors: string[] } =>
        typeof line === "object" && line !== null && typeof line.path === "string" && Array.isArray(line.errors),
    );
    const more = typeof details === "string" ? `: ${details}` : "";
    return new Refused(status, `${String(message)}${more}`, fields);
  }
  return new Refused(status, text.trim() || `The server answered with status ${status}.`);
}

/** Each segment of an app's id, for use in a URL's path. */
export const appPath = (id: string): string => id.split("/").filter(Boolean).map(encodeURIComponent).join("/");
