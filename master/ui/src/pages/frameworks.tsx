// Frameworks: who takes offers, and what they run.

import { mebibytes, number } from "../format";
import { cluster, clusterTopic } from "../live";
import { totals, type Framework } from "../live/cluster";
import { useTopics } from "../live/store";
import { Ago, Badge, Empty, Facts, Head, Id, ResourceBars } from "../parts/small";
import { Table } from "../parts/table";
import { TaskList, compareTasks } from "../parts/tasklist";
import { link } from "../router";
import { Gone } from "./agents";
import { OfferTable } from "./offers";

function FrameworkState({ framework }: { framework: Framework }) {
  if (framework.unregistered !== undefined) return <Badge tone="idle">Completed</Badge>;
  if (!framework.connected) return <Badge tone="warn">Disconnected</Badge>;
  return framework.active ? <Badge tone="good">Active</Badge> : <Badge tone="idle">Inactive</Badge>;
}

export function Frameworks() {
  useTopics(clusterTopic);
  const frameworks = [...cluster.now.frameworks.values()];
  return (
    <>
      <Head title="Frameworks" note={`${frameworks.length}`} />
      <Table label="Frameworks" rows={frameworks} keyOf={(framework) => framework.id} first="Name" empty="No framework has subscribed."
        columns={[
          { name: "Name", by: (framework) => framework.name, cell: (framework) => <a class="strong" href={link("frameworks", framework.id)}>{framework.name}</a> },
          { name: "State", by: (framework) => framework.unregistered ?? 0, cell: (framework) => <FrameworkState framework={framework} /> },
          { name: "Tasks", align: "end", by: (framework) => cluster.now.loadOf(framework.id).active, cell: (framework) => cluster.now.loadOf(framework.id).active.toLocaleString("en") },
          { name: "CPUs", align: "end", by: (framework) => cluster.now.loadOf(framework.id).amounts[0], cell: (framework) => number(cluster.now.loadOf(framework.id).amounts[0]) },
          { name: "Memory", align: "end", wide: true, by: (framework) => cluster.now.loadOf(framework.id).amounts[2], cell: (framework) => mebibytes(cluster.now.loadOf(framework.id).amounts[2]) },
          { name: "Roles", wide: true, cell: (framework) => framework.roles.map((role) => <code key={role}>{role} </code>) },
          { name: "User", wide: true, by: (framework) => framework.user, cell: (framework) => framework.user },
          { name: "Host", wide: true, by: (framework) => framework.hostname, cell: (framework) => framework.hostname || "–" },
          { name: "Registered", align: "end", wide: true, by: (framework) => -framework.registered, cell: (framework) => <Ago at={framework.registered} /> },
          { name: "Id", wide: true, cell: (framework) => <Id id={framework.id} /> },
        ]} />
    </>
  );
}

export function FrameworkPage({ id }: { id: string }) {
  useTopics(clusterTopic);
  const framework = cluster.now.frameworks.get(id);
  if (!framework) return <Gone what="framework" id={id} />;
  const tasks = [...cluster.now.tasks.values()].filter((task) => task.framework === id).sort(compareTasks.newest);
  const offers = [...cluster.now.offers.values()].filter((offer) => offer.framework === id);
  const load = cluster.now.loadOf(id);
  const web = /^https?:\/\//.test(framework.webui_url) ? framework.webui_url : "";
  return (
    <>
      <Head title={framework.name} above={["Frameworks", link("frameworks")]} note={<FrameworkState framework={framework} />}>
        {framework.name === "marathon" && <a class="button" href={link("apps")}>Its apps</a>}
      </Head>
      <div class="columns">
        <section class="card">
          <h2>Share of the cluster</h2>
          <ResourceBars used={load.amounts} total={totals(cluster.now.agents.values()).total} />
        </section>
        <section class="card">
          <h2>About</h2>
          <Facts facts={[
            ["Id", <Id id={framework.id} most={80} />],
            ["Roles", framework.roles.map((role) => <code key={role}>{role} </code>)],
            ["User", framework.user || "–"],
            ["Principal", framework.principal ?? "–"],
            ["Host", framework.hostname || "–"],
            ["Web", web ? <a href={web} rel="noreferrer">{web}</a> : "–"],
            ["Registered", <Ago at={framework.registered} />],
            framework.unregistered !== undefined && (["Completed", <Ago at={framework.unregistered} />] as const),
          ]} />
        </section>
      </div>
      {offers.length > 0 && (
        <section>
          <h2>Offers out</h2>
          <OfferTable offers={offers} />
        </section>
      )}
      <section class="fill">
        <h2>Tasks <span class="dim">{tasks.length.toLocaleString("en")}</span></h2>
        {tasks.length === 0 ? <Empty>It has launched no task lately.</Empty> : <TaskList tasks={tasks} order="newest" brief="framework" />}
      </section>
    </>
  );
}
