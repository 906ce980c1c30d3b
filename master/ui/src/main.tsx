// The frame around all pages: navigation, connection, theme, keys.

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import "uplot/dist/uPlot.min.css";
import "./style.css";
import { duration } from "./format";
import { clock, cluster, clusterTopic, connection, connectionTopic, info, retry, start } from "./live";
import { useTopics } from "./live/store";
import { AgentPage, Agents } from "./pages/agents";
import { AppPage } from "./pages/app";
import { Apps } from "./pages/apps";
import { FrameworkPage, Frameworks } from "./pages/frameworks";
import { Maintenance } from "./pages/maintenance";
import { Offers, Roles } from "./pages/offers";
import { Overview } from "./pages/overview";
import { PodPage, Pods } from "./pages/pods";
import { TaskPage, Tasks } from "./pages/tasks";
import { Dialog, Empty, Head } from "./parts/small";
import { Search } from "./parts/search";
import { go, link, useRoute, type Route } from "./router";

const PAGES = [
  ["overview", "Overview", "o"],
  ["apps", "Apps", "p"],
  ["pods", "Pods", "d"],
  ["tasks", "Tasks", "t"],
  ["agents", "Agents", "a"],
  ["frameworks", "Frameworks", "f"],
  ["roles", "Roles", "r"],
  ["offers", "Offers", "e"],
  ["maintenance", "Maintenance", "m"],
] as const;

const href = (page: string): string => (page === "overview" ? link() : link(page));

function Page({ route }: { route: Route }) {
  const [page = "overview", ...rest] = route.path;
  if (page === "overview") return <Overview />;
  if (page === "apps") return rest.length ? <AppPage key={rest.join("/")} id={`/${rest.join("/")}`} /> : <Apps />;
  if (page === "pods") return rest.length ? <PodPage key={rest.join("/")} id={`/${rest.join("/")}`} /> : <Pods />;
  if (page === "tasks") return rest[0] && rest[1] ? <TaskPage key={rest.join("/")} framework={rest[0]} id={rest[1]} /> : <Tasks />;
  if (page === "agents") return rest[0] ? <AgentPage key={rest[0]} id={rest[0]} /> : <Agents />;
  if (page === "frameworks") return rest[0] ? <FrameworkPage key={rest[0]} id={rest[0]} /> : <Frameworks />;
  if (page === "roles") return <Roles />;
  if (page === "offers") return <Offers />;
  if (page === "maintenance") return <Maintenance />;
  return (
    <>
      <Head title="There is no such page" />
      <Empty>
        <a href={link()}>To the overview</a>
      </Empty>
    </>
  );
}

/** A break shorter than this is nobody's concern. */
const QUIET_MS = 700;

function Banner() {
  useTopics(connectionTopic, clock);
  const { standing, retryAt, since, why } = connection;
  if (standing === "open" || standing === "resting" || Date.now() - since < QUIET_MS) return null;
  if (!cluster.ready && !why) return null;
  const wait = retryAt === null ? 0 : Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
  return (
    <div class="banner" role="status">
      <span>
        <b>Not live.</b> {why || "The stream from the master broke."} {cluster.ready && `What is shown is ${duration((Date.now() - since) / 1000)} old.`}{" "}
        {wait > 0 ? `Next try in ${wait} s.` : "Trying…"}
      </span>
      <button type="button" onClick={retry}>Try now</button>
    </div>
  );
}

type Theme = "" | "light" | "dark";

function ThemeButton() {
  const [theme, setTheme] = useState<Theme>(() => (document.documentElement.dataset.theme ?? "") as Theme);
  const dark = theme === "dark" || (theme === "" && matchMedia("(prefers-color-scheme: dark)").matches);
  const toggle = (): void => {
    const next: Theme = dark ? "light" : "dark";
    // Back to what the system prefers is no choice at all.
    const chosen = next === (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light") ? "" : next;
    if (chosen) document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
    try {
      if (chosen) localStorage.setItem("tepui.theme", chosen);
      else localStorage.removeItem("tepui.theme");
    } catch {
      // It lasts as long as the page then.
    }
    setTheme(chosen);
  };
  return (
    <button type="button" class="quiet icon" onClick={toggle} aria-label={dark ? "Light theme" : "Dark theme"} title={dark ? "Light theme" : "Dark theme"}>
      <svg viewBox="0 0 16 16" aria-hidden="true">
        {dark ? <path d="M8 1.500v1.500M8 13v1.500M1.500 8H3M13 8h1.500M3.400 3.400l1 1M11.600 11.600l1 1M3.400 12.600l1-1M11.600 4.400l1-1M8 5.200a2.800 2.800 0 1 0 0 5.600 2.800 2.800 0 0 0 0-5.600" /> : <path d="M13.500 9.800A6 6 0 0 1 6.200 2.500a6 6 0 1 0 7.300 7.300" />}
      </svg>
    </button>
  );
}

function Help({ onClose }: { onClose: () => void }) {
  const keys = [
    ["/", "search for anything"],
    ...PAGES.map(([, name, key]) => [`g ${key}`, name] as const),
    ["↑ ↓ Enter", "move in the list of tasks, and open"],
    ["Esc", "close what is open"],
    ["?", "this"],
  ];
  return (
    <Dialog title="Keys" onClose={onClose}>
      <dl class="keys">
        {keys.map(([key, what]) => (
          <div key={key}>
            <dt><kbd>{key}</kbd></dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p class="dim">Tepui {info?.version}, master {info?.id}</p>
    </Dialog>
  );
}

function Live() {
  useTopics(connectionTopic);
  const live = connection.standing === "open";
  return <span class={`live ${live ? "good" : "warn"}`} title={live ? "Every change is shown as it happens" : "Not connected"}>{live ? "Live" : "Not live"}</span>;
}

function Frame() {
  const route = useRoute();
  const [open, setOpen] = useState<"search" | "help" | null>(null);
  useTopics(connectionTopic);
  const page = route.path[0] ?? "overview";
  useEffect(() => {
    let leader = 0;
    const key = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      if ((event.ctrlKey || event.metaKey) && event.key === "k") {
        event.preventDefault();
        setOpen("search");
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea, select, dialog")) return;
      if (event.key === "/") {
        event.preventDefault();
        setOpen("search");
      } else if (event.key === "?") setOpen("help");
      else if (event.key === "g") leader = Date.now();
      else {
        const to = PAGES.find(([, , letter]) => letter === event.key);
        if (to && Date.now() - leader < 1_500) go(href(to[0]));
        leader = 0;
      }
    };
    document.addEventListener("keydown", key);
    return () => document.removeEventListener("keydown", key);
  }, []);
  const title = [...route.path].pop() ?? "Overview";
  useEffect(() => {
    document.title = `${title.charAt(0).toUpperCase()}${title.slice(1)} · Tepui`;
    document.getElementById("main")?.scrollTo(0, 0);
  }, [route.path.join("/")]);
  return (
    <div class="frame">
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), document.getElementById("main")?.focus())}>To the content</a>
      <header class="side">
        <a class="brand" href={link()}>
          <img src="./icon.svg" alt="" width="24" height="24" /> Tepui
        </a>
        <nav aria-label="Pages">
          {PAGES.map(([name, words, key]) => (
            <a key={name} href={href(name)} aria-current={page === name ? "page" : undefined} title={`g ${key}`}>{words}</a>
          ))}
        </nav>
        <div class="tools">
          <button type="button" class="search-button" onClick={() => setOpen("search")} aria-label="Search">
            <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M7 2.500a4.500 4.500 0 1 0 0 9 4.500 4.500 0 0 0 0-9M10.300 10.300 14 14" /></svg>
            <span>Search</span> <kbd>/</kbd>
          </button>
          <Live />
          <button type="button" class="quiet icon help" onClick={() => setOpen("help")} aria-label="Keys" title="Keys">?</button>
          <ThemeButton />
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <Banner />
        <Loaded><Page route={route} /></Loaded>
      </main>
      {open === "search" && <Search onClose={() => setOpen(null)} />}
      {open === "help" && <Help onClose={() => setOpen(null)} />}
    </div>
  );
}

function Loaded({ children }: { children: preact.ComponentChildren }) {
  useTopics(clusterTopic, connectionTopic);
  if (cluster.ready) return <>{children}</>;
  return <Empty>{connection.why || "Connecting to the master…"}</Empty>;
}

start();
const place = document.getElementById("app");
if (place) render(<Frame />, place);
