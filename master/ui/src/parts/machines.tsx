// Machines that go down for maintenance under an app or a pod: when they are left, and why something is still there.

import { plural, seconds } from "../format";
import { stageOf, type GoingDown, type Stage } from "../maintenance";
import { link } from "../router";
import { Badge } from "./small";
import { AgentName, Told, Until, type Explanation } from "./waiting";

const WORDS: Record<Stage, string> = { stays: "Stays", later: "Goes down", leaving: "Leaving" };

/** Beside an instance that is on such a machine. */
export function StageBadge({ machine }: { machine: GoingDown }) {
  const stage = stageOf(machine, Date.now());
  return <Badge tone={stage === "leaving" ? "busy" : "warn"} title={machine.why ?? `${machine.host} goes down for maintenance at ${new Date(machine.begins).toLocaleString()}`}>{WORDS[stage]}</Badge>;
}

export function Machines({ explanation }: { explanation: Explanation | null }) {
  const machines = explanation?.machines ?? [];
  if (machines.length === 0) return null;
  const now = Date.now() / 1000;
  return (
    <section class="card machines" aria-label="Machines that go down">
      <h2><span>Maintenance <span class="dim">of {plural(machines.length, "machine")} under it</span></span> <span class="row-actions"><a href={link("maintenance")}>All windows</a></span></h2>
      <ul class="reasons">
        {machines.map((machine) => {
          const stage = stageOf(machine, now * 1000);
          const count = machine.instances.length;
          const [leave, stay] = count === 1 ? ["leaves", "stays"] : ["leave", "stay"];
          const begins = seconds(machine.begins);
          const down = begins !== undefined && begins <= now;
          return (
            <li key={machine.agentId}>
              <Badge tone={stage === "leaving" ? "busy" : "warn"}>{WORDS[stage]}</Badge>{" "}
              <b><AgentName id={machine.agentId} host={machine.host ?? machine.agentId} /></b>{" "}
              {down ? "is in its window of maintenance" : <>goes down <Until at={begins} /></>}
              {machine.ends !== null && <> and is back <Until at={seconds(machine.ends)} /></>};{" "}
              {plural(count, "instance")} there {stage === "stays" ? stay : stage === "leaving" ? `${leave} it now` : <>{leave} it <Until at={seconds(machine.leavesAt ?? undefined)} /></>}
              {machine.why !== null && <span class="why break"><Told words={machine.why} /></span>}
            </li>
          );
        })}
      </ul>
    </section>
  );
}
