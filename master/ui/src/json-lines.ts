// Where in a JSON text a path of Marathon's errors is: `/portDefinitions(0)/port` → line 9. Tolerant: what cannot be found has no line.

/** Line numbers (from 1) of every value, by Marathon's path; the whole is `/`. */
export function lines(text: string): Map<string, number> {
  const found = new Map<string, number>([["/", 1]]);
  let at = 0;
  let line = 1;

  const space = (): void => {
    while (at < text.length && /\s/.test(text[at]!)) {
      if (text[at] === "\n") line += 1;
      at += 1;
    }
  };
  const string = (): string => {
    const begin = at;
    at += 1;
    while (at < text.length && text[at] !== '"' && text[at] !== "\n") at += text[at] === "\\" ? 2 : 1;
    at += 1;
    try {
      return JSON.parse(text.slice(begin, at)) as string;
    } catch {
      return text.slice(begin + 1, at - 1);
    }
  };
  /** Depth is bounded, so that no text can exhaust the stack. */
  const value = (path: string, depth: number): boolean => {
    space();
    if (depth > 64) return false;
    if (!found.has(path || "/")) found.set(path || "/", line);
    const first = text[at];
    if (first === undefined) return false;
    if (first === '"') return string(), true;
    if (first === "{" || first === "[") {
      const end = first === "{" ? "}" : "]";
      at += 1;
      for (let index = 0; ; index++) {
        space();
        if (text[at] === end) return (at += 1), true;
        if (at >= text.length) return false;
        let below = `${path}(${index})`;
        if (first === "{") {
          if (text[at] !== '"') return false;
          const key = string();
          below = `${path}/${key}`;
          found.set(below, line);
          space();
          if (text[at] !== ":") return false;
          at += 1;
        }
        if (!value(below, depth + 1)) return false;
        space();
        if (text[at] === ",") at += 1;
        else if (text[at] !== end) return false;
      }
    }
    const plain = /^[^\s,\]}]+/.exec(text.slice(at, at + 64));
    if (!plain) return false;
    at += plain[0].length;
    return true;
  };
  value("", 0);
  return found;
}

/** The line of a path, or of the nearest thing above it that is there. */
export function lineOf(found: Map<string, number>, path: string): number | undefined {
  for (let rest = path; rest !== ""; ) {
    const line = found.get(rest);
    if (line !== undefined) return line;
    const cut = Math.max(rest.lastIndexOf("/"), rest.lastIndexOf("("));
    rest = cut > 0 ? rest.slice(0, cut) : "";
  }
  return found.get("/");
}
