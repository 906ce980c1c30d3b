// Offers that are out, and roles.

import { useEffect, useState } from "preact/hooks";
import { ask } from "../api";
import { mebibytes, number } from "../format";
import { cluster, clusterTopic } from "../live";
import type { Offer } from "../live/cluster";
import { useTopics } from "../live/store";
import { Ago, Empty, Head, Id } from "../parts/small";
import { Table } from "../parts/table";
import { link } from "../router";

export function OfferTable({ offers }: { offers: Offer[] }) {
  return (
    <Table label="Offers" rows={offers} keyOf={(offer) => offer.key} first="Made" empty="No offer is out: whatever is idle has been declined, or every framework is content."
      columns={[
        { name: "Offer", cell: (offer) => <Id id={offer.id} /> },
        { name: "To", by: (offer) => cluster.now.frameworks.get(offer.framework)?.name ?? "", cell: (offer) => <a href={link("frameworks", offer.framework)}>{cluster.now.frameworks.get(offer.framework)?.name ?? offer.framework}</a> },
        { name: "Of", by: (offer) => cluster.now.agents.get(offer.agent)?.hostname ?? "", cell: (offer) => <a href={link("agents", offer.agent)}>{cluster.now.agents.get(offer.agent)?.hostname ?? offer.agent}</a> },
        { name: "Role", wide: true, by: (offer) => offer.role, cell: (offer) => <code>{offer.role}</code> },
        { name: "CPUs", align: "end", by: (offer) => offer.resources[0], cell: (offer) => number(offer.resources[0]) },
        { name: "Memory", align: "end", wide: true, by: (offer) => offer.resources[2], cell: (offer) => mebibytes(offer.resources[2]) },
        { name: "Disk", align: "end", wide: true, by: (offer) => offer.resources[3], cell: (offer) => mebibytes(offer.resources[3]) },
        { name: "Made", align: "end", by: (offer) => -offer.made, cell: (offer) => <Ago at={offer.made} /> },
      ]} />
  );
}

export function Offers() {
  useTopics(clusterTopic);
  const offers = [...cluster.now.offers.values()];
  return (
    <>
      <Head title="Offers" note={`${offers.length} out`} />
      <OfferTable offers={offers} />
    </>
  );
}

interface Role {
  name: string;
  weight: number;
  frameworks: string[];
  allocated?: Record<string, number>;
  offered?: Record<string, number>;
  reserved?: Record<string, number>;
  quota?: { guarantee?: Record<string, number>; limit?: Record<string, number> };
}

const scalars = (values: Record<string, number> | undefined): string => {
  const shown = Object.entries(values ?? {}).filter(([name, value]) => name !== "ports" && value > 0);
  return shown.map(([name, value]) => (name === "mem" || name === "disk" ? `${mebibytes(value)} ${name}` : `${number(value)} ${name}`)).join(", ") || "–";
};

/** The stream tells no weights and no quota; they are read again when something that they depend on has changed. */
const AGAIN_MS = 1_000;

export function Roles() {
  useTopics(clusterTopic);
  const [roles, setRoles] = useState<Role[] | null>(null);
  const [problem, setProblem] = useState("");
  const slot = Math.floor(Date.now() / AGAIN_MS);
  const version = clusterTopic.version;
  useEffect(() => {
    let here = true;
    ask<{ roles: Role[] }>("roles").then(
      (answer) => here && (setRoles(answer.roles), setProblem("")),
      (error: Error) => here && setProblem(error.message),
    );
    return () => {
      here = false;
    };
  }, [slot, version === 0]);
  return (
    <>
      <Head title="Roles" note={roles ? `${roles.length}` : ""} />
      {problem && <p class="problem">{problem}</p>}
      {!roles ? <Empty>Reading…</Empty> : (
        <Table label="Roles" rows={roles} keyOf={(role) => role.name} first="Role" empty="No role is in use."
          columns={[
            { name: "Role", by: (role) => role.name, cell: (role) => <code class="strong">{role.name}</code> },
            { name: "Weight", align: "end", by: (role) => role.weight, cell: (role) => number(role.weight) },
            { name: "Frameworks", by: (role) => role.frameworks.length, cell: (role) => role.frameworks.length === 0 ? "–" : role.frameworks.map((id) => <a key={id} class="listed" href={link("frameworks", id)}>{cluster.now.frameworks.get(id)?.name ?? id}</a>) },
            { name: "Allocated", by: (role) => role.allocated?.cpus ?? 0, cell: (role) => scalars(role.allocated) },
            { name: "Offered", wide: true, cell: (role) => scalars(role.offered) },
            { name: "Reserved", wide: true, cell: (role) => scalars(role.reserved) },
            { name: "Guarantee", wide: true, cell: (role) => scalars(role.quota?.guarantee) },
            { name: "Limit", wide: true, cell: (role) => scalars(role.quota?.limit) },
          ]} />
      )}
    </>
  );
}
