// The files of a sandbox: looked through, read, downloaded.

import { useState } from "preact/hooks";
import { bytes } from "../format";
import { useReading } from "../live/reading";
import { LogFile } from "./logview";
import { Ago, Empty } from "./small";
import { Table } from "./table";

interface Listed {
  path: string;
  size: number;
  /** As `ls` writes it: directories begin with `d`. */
  mode: string;
  mtime: number;
}

const EVERY_MS = 5_000;
const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

export function Sandbox({ agent, folder }: { agent: string; folder: string }) {
  /** Below the sandbox. */
  const [below, setBelow] = useState<string[]>([]);
  const [file, setFile] = useState<string | null>(null);
  const base = `tepui/v1/agents/${encodeURIComponent(agent)}/files`;
  const here = [folder, ...below].join("/");
  const { value, problem } = useReading<Listed[]>(`${base}/browse?path=${encodeURIComponent(here)}`, null, EVERY_MS);
  const enter = (to: string[]): void => (setFile(null), setBelow(to));
  return (
    <div class="log-file">
      <p class="crumbs">
        <button type="button" class="link" onClick={() => enter([])}>sandbox</button>
        {below.map((name, at) => <span key={at}> / <button type="button" class="link" onClick={() => enter(below.slice(0, at + 1))}>{name}</button></span>)}
        {file !== null && <span> / {baseName(file)}</span>}
      </p>
      {file !== null ? <LogFile key={file} agent={agent} path={file} /> : problem ? (
        <p class="problem">{problem.status === 404 ? "It is not there: the sandbox was removed, or nothing was written yet." : problem.message}</p>
      ) : value === null ? <Empty>Reading…</Empty> : (
        <Table label="Files" rows={value} keyOf={(one) => one.path} first="Name" empty="There is nothing in it."
          columns={[
            { name: "Name", by: (one) => `${one.mode.startsWith("d") ? 0 : 1}${baseName(one.path)}`, cell: (one) => one.mode.startsWith("d")
              ? <button type="button" class="link mono break" onClick={() => enter([...below, baseName(one.path)])}>{baseName(one.path)}/</button>
              : <button type="button" class="link mono break" onClick={() => setFile(one.path)}>{baseName(one.path)}</button> },
            { name: "Size", align: "end", by: (one) => one.size, cell: (one) => (one.mode.startsWith("d") ? "" : bytes(one.size)) },
            { name: "Changed", align: "end", wide: true, by: (one) => one.mtime, cell: (one) => <Ago at={one.mtime} /> },
            { name: "Mode", wide: true, cell: (one) => <code>{one.mode}</code> },
            { name: "", align: "end", cell: (one) => !one.mode.startsWith("d") && <a href={`${base}/download?path=${encodeURIComponent(one.path)}`} download>Download</a> },
          ]} />
      )}
    </div>
  );
}
