// A task's output: followed, paused, looked back at, downloaded; and the other files of its sandbox.

import { useEffect, useLayoutEffect, useReducer, useRef, useState } from "preact/hooks";
import { bytes } from "../format";
import { Follower } from "../log";
import { Sandbox } from "./sandbox";

export function LogView({ agent, folder }: { agent: string; folder: string }) {
  const [file, setFile] = useState<"stdout" | "stderr" | "files">("stdout");
  return (
    <section class="log" aria-label="Logs">
      <div class="tabs" role="tablist" aria-label="Files">
        {(["stdout", "stderr", "files"] as const).map((name) => (
          <button key={name} type="button" role="tab" aria-selected={file === name} onClick={() => setFile(name)}>
            {name === "files" ? "Files" : name}
          </button>
        ))}
      </div>
      {file === "files" ? <Sandbox key={folder} agent={agent} folder={folder} /> : <LogFile key={file} agent={agent} path={`${folder}/${file}`} />}
    </section>
  );
}

export function LogFile({ agent, path }: { agent: string; path: string }) {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const [following, setFollowing] = useState(true);
  const [wrap, setWrap] = useState(true);
  const [find, setFind] = useState("");
  const follower = useRef<Follower | null>(null);
  const place = useRef<HTMLPreElement>(null);
  /** What is shown while it is paused. */
  const held = useRef("");
  useEffect(() => {
    const one = new Follower(agent, path, () => redraw(undefined));
    follower.current = one;
    redraw(undefined);
    return () => one.end();
  }, [agent, path]);
  const shown = follower.current?.shown;
  if (following) held.current = shown?.text ?? "";
  const text = held.current;
  const lines = find ? text.split("\n").filter((line) => line.toLowerCase().includes(find.toLowerCase())).join("\n") : text;
  useLayoutEffect(() => {
    if (following && place.current) place.current.scrollTop = place.current.scrollHeight;
  });
  const scrolled = (): void => {
    const element = place.current;
    if (!element) return;
    const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 8;
    // Looking back pauses; coming to the end follows again.
    if (following && !atEnd) setFollowing(false);
  };
  const earlier = async (): Promise<void> => {
    setFollowing(false);
    try {
      await follower.current?.earlier();
      held.current = follower.current?.shown.text ?? "";
      redraw(undefined);
    } catch {
      // The next step tells what is wrong.
    }
  };
  const waiting = (shown?.text.length ?? 0) - text.length;
  return (
    <div class="log-file">
      <div class="log-tools">
        <button type="button" aria-pressed={!following} onClick={() => setFollowing(!following)}>
          {following ? "Pause" : "Follow"}
        </button>
        <label class="check">
          <input type="checkbox" checked={wrap} onChange={() => setWrap(!wrap)} /> Wrap
        </label>
        <input type="search" placeholder="Filter lines" aria-label="Filter lines" value={find} onInput={(event) => setFind(event.currentTarget.value)} />
        <span class="dim log-size" aria-live="polite">
          {shown ? bytes(shown.to) : ""} {following ? "· following" : waiting > 0 ? `· paused, ${bytes(waiting)} more` : "· paused"}
        </span>
        <a class="button" href={follower.current?.download} download>
          Download
        </a>
      </div>
      {follower.current?.problem && <p class="problem">{follower.current.problem}</p>}
      <pre ref={place} class={wrap ? "wrap" : ""} tabIndex={0} onWheel={(event) => event.deltaY < 0 && setFollowing(false)} onScroll={scrolled}>
        {shown && shown.from > 0 && (
          <button type="button" class="earlier" onClick={() => void earlier()}>
            Show what was before ({bytes(shown.from)})
          </button>
        )}
        {lines || (follower.current?.loaded && !follower.current.problem ? <span class="dim">{find ? "No such line." : "Nothing has been written yet."}</span> : "")}
      </pre>
    </div>
  );
}
