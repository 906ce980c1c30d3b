// Drives the web UI of a running cluster in a real browser: `node run.mjs http://127.0.0.1:5050`.
//
// Wants a master with Marathon, at least two agents, and room for a few small tasks. It makes apps and pods whose names begin with `browser-`, and
// destroys them again.
// CHROMIUM names the browser (/usr/bin/chromium). Exit code 0: everything held; 1: something did not, and what is printed.

import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import { chromium } from "playwright-core";

const BASE = (process.argv[2] ?? "").replace(/\/+$/, "");
if (!/^https?:\/\//.test(BASE)) {
  console.error("usage: node run.mjs BASE_URL, for example http://127.0.0.1:5050");
  process.exit(2);
}
const APP = "/browser-test";
const POD = "/browser-pod";
const TRIED = "/browser-tried";
const MARATHON = `${BASE}/service/marathon/v2`;
const MORE = `${BASE}/service/marathon/v3`;
const PATIENCE_MS = 60_000;
const COMMAND = 'i=0; while true; do i=$((i+1)); echo "line $i of the log"; sleep 0.2; done';

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const complaints = [];

/** A page whose errors fail the run. */
async function open(options, url = `${BASE}/`) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: "light", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.on("pageerror", (error) => complaints.push(error.stack ?? String(error)));
  await page.goto(url);
  await page.getByRole("heading", { level: 1 }).waitFor();
  return page;
}

const visit = (page, hash) => page.evaluate((to) => void (location.hash = to), hash);
const json = async (url) => (await fetch(url)).json();
const until = async (what, check) => {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const value = await check();
    if (value) return value;
    assert.ok(Date.now() < end, `waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};
/** What other cases than the first make; destroyed at the end. */
const made = [];
const create = async (kind, definition) => {
  await fetch(`${MARATHON}/${kind}${definition.id}?force=true`, { method: "DELETE" });
  await until(`the ${definition.id} of an earlier run is gone`, async () => (await fetch(`${MARATHON}/${kind}${definition.id}`)).status === 404);
  made.push(`${MARATHON}/${kind}${definition.id}?force=true`);
  const answer = await fetch(`${MARATHON}/${kind}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(definition) });
  assert.equal(answer.status, 201, await answer.text());
};
const settled = (id) => until(`${id} is deployed`, async () => !(await json(`${MARATHON}/deployments`)).some((one) => [...one.affectedApps, ...one.affectedPods].includes(id)));
const SLEEPS = { cmd: "exec sleep 100000", cpus: 0.01, mem: 16 };

const destroyed = () => fetch(`${MARATHON}/apps${APP}?force=true`, { method: "DELETE" });

const cases = {
  "the overview shows what the API says": async () => {
    const page = await open();
    const { slaves } = await json(`${BASE}/slaves`);
    const tile = page.locator("a.tile", { hasText: "Agents" }).locator(".tile-value");
    await until("the tile shows the number of agents", async () => (await tile.textContent()) === String(slaves.filter((agent) => agent.active).length));
    await page.getByText("Live", { exact: true }).waitFor();
    await until("charts are drawn", async () => (await page.locator(".chart canvas").count()) === 4);
    await page.context().close();
  },

  "a wrong app is refused at its line, a right one is deployed": async () => {
    await destroyed();
    await until("the app of an earlier run is gone", async () => (await fetch(`${MARATHON}/apps${APP}`)).status === 404);
    const page = await open({}, `${BASE}/#/apps`);
    await page.getByRole("button", { name: "New app" }).click();
    const editor = page.getByRole("textbox", { name: "The app as JSON" });
    await editor.fill(JSON.stringify({ id: APP, cmd: COMMAND, cpus: -1, mem: 16 }, null, 2));
    await page.getByRole("button", { name: "Deploy", exact: true }).click();
    const fault = page.locator(".faults li").first();
    assert.match(await fault.textContent(), /line 4 \/cpus/);
    await editor.fill(JSON.stringify({ id: APP, cmd: COMMAND, cpus: 0.01, mem: 16, instances: 1 }, null, 2));
    await page.getByRole("button", { name: "Deploy", exact: true }).click();
    await page.getByRole("heading", { level: 1, name: APP }).waitFor();
    await page.getByText("of 1 running").waitFor();
    await until("the instance runs", async () => (await page.locator(".big b").textContent()) === "1");
    await page.context().close();
  },

  "scaling in the UI scales, and the pages follow": async () => {
    const page = await open({}, `${BASE}/#/apps${APP}`);
    await page.getByRole("button", { name: "Scale", exact: true }).click();
    await page.getByRole("spinbutton", { name: "Instances" }).fill("2");
    await page.getByRole("button", { name: "Scale from 1 to 2" }).click();
    await until("two instances run, without a reload", async () => (await page.locator(".big b").textContent()) === "2");
    const { app } = await json(`${MARATHON}/apps${APP}`);
    assert.equal(app.instances, 2);
    await page.context().close();
  },

  "logs follow, pause and can be downloaded": async () => {
    const { tasks } = await until("Marathon knows a running task", async () => {
      const found = await json(`${MARATHON}/apps${APP}/tasks`);
      return found.tasks?.some((task) => task.state === "TASK_RUNNING") && found;
    });
    const page = await open({}, `${BASE}/#/tasks?text=${encodeURIComponent(tasks[0].id)}`);
    await page.locator(".vlist a").first().click();
    const log = page.locator(".log pre");
    const last = async () => Number(/line (\d+) of the log\s*$/.exec((await log.textContent()) ?? "")?.[1] ?? 0);
    const begun = await until("the log is there", last);
    await until("the log grows by itself", async () => (await last()) > begun + 2);
    await page.getByRole("button", { name: "Pause" }).click();
    const paused = await last();
    await until("more was written while it was paused", async () => /more/.test(await page.locator(".log-size").textContent()));
    assert.equal(await last(), paused);
    await page.getByRole("button", { name: "Follow" }).click();
    await until("it follows again", async () => (await last()) > paused);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download" }).click()]);
    assert.ok(await download.path());
    assert.ok((await page.locator(".history li").count()) >= 2, "the history of states is shown");
    await page.context().close();
  },

  "a task can be killed, and is replaced": async () => {
    const { tasks } = await json(`${MARATHON}/apps${APP}/tasks`);
    const victim = tasks.find((task) => task.state === "TASK_RUNNING");
    const page = await open({}, `${BASE}/#/tasks?text=${encodeURIComponent(victim.id)}`);
    await page.locator(".vlist a").first().click();
    await page.getByRole("button", { name: "Kill" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Kill" }).click();
    await page.locator(".head .badge", { hasText: "Killed" }).waitFor();
    await page.context().close();
  },

  "tasks that have ended are told with why, and their logs can be read": async () => {
    const page = await open({}, `${BASE}/#/apps${APP}?tab=ended`);
    const { tasks } = await until("Marathon remembers the task that was killed", async () => {
      const told = await json(`${MORE}/apps${APP}/history`);
      return told.tasks.some((task) => task.cause === "killed") && told;
    });
    const table = page.getByRole("table", { name: "Ended tasks" });
    const row = table.getByRole("row").filter({ hasText: "Killed" });
    await row.first().waitFor();
    assert.ok(tasks.length >= 1);
    await row.first().getByRole("button", { name: "Logs" }).click();
    const dialog = page.getByRole("dialog");
    await until("its log is there", async () => /line \d+ of the log/.test(await dialog.locator(".log pre").textContent()));
    await dialog.getByRole("button", { name: "Close" }).click();
    await page.getByRole("combobox", { name: "Why it ended" }).selectOption("crashed");
    await page.getByText("None of them ended like that.").waitFor();
    await page.context().close();
  },

  "a pod's page has its instances and their containers, and leads to their logs": async () => {
    const evil = '<img src=x onerror="window.broken = 1">';
    const shell = (text) => ({ command: { shell: text } });
    const pod = {
      id: POD,
      labels: { note: evil },
      containers: [
        { name: "ticker", resources: { cpus: 0.01, mem: 16 }, exec: shell(`echo '${evil}'; echo kept > note; while true; do echo tick; sleep 0.2; done`) },
        { name: "web", resources: { cpus: 0.01, mem: 16 }, endpoints: [{ name: "http", hostPort: 0, protocol: ["tcp"] }], exec: shell("exec sleep 100000") },
      ],
      scaling: { kind: "fixed", instances: 1 },
    };
    await create("pods", pod);
    const page = await open({}, `${BASE}/#/pods`);
    await page.getByRole("link", { name: POD }).click();
    const table = page.getByRole("table", { name: /^Containers of browser-pod/ });
    await until("both containers run", async () => (await table.getByText("Running", { exact: true }).count()) === 2);
    const { instances } = await json(`${MARATHON}/pods${POD}::status`);
    const { allocatedHostPort: port } = instances[0].containers[1].endpoints[0];
    await table.getByRole("link", { name: `${instances[0].agentHostname}:${port}` }).waitFor();
    await page.getByText(`note=${evil}`).waitFor();
    await table.getByRole("row", { name: /ticker/ }).getByRole("link", { name: "Logs" }).click();
    await until("its own log is there, not that of its executor", async () => /tick\ntick/.test(await page.locator(".log pre").textContent()));
    assert.ok((await page.locator(".log pre").textContent()).includes(evil));
    await page.getByRole("tab", { name: "Files" }).click();
    await page.getByRole("table", { name: "Files" }).getByRole("button", { name: "note" }).click();
    await page.locator(".log pre", { hasText: "kept" }).waitFor();
    await page.getByRole("link", { name: POD }).click();
    await page.getByRole("heading", { level: 1, name: POD }).waitFor();
    assert.equal(await page.evaluate(() => window.broken), undefined, "what comes from outside is text");
    // A container that fails tells how it ended, and the pod why it waits.
    pod.containers[1].exec = shell("sleep 1; exit 3");
    await settled(POD);
    const changed = await fetch(`${MARATHON}/pods${POD}`, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(pod) });
    assert.equal(changed.status, 200, await changed.text());
    await page.locator(".card.failed", { hasText: "Command exited with status 3" }).waitFor();
    await table.getByRole("row", { name: /web/ }).getByText("Failed").first().waitFor();
    await page.getByRole("region", { name: "Why it waits" }).waitFor();
    await page.getByRole("tab", { name: "Ended" }).click();
    const crashed = page.getByRole("table", { name: "Ended tasks" }).getByRole("row").filter({ hasText: "Crashed" }).first();
    await crashed.getByText("Command exited with status 3").waitFor();
    await crashed.getByRole("button", { name: "Logs" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "ticker", exact: true }).click();
    await until("a container that has ended has its log", async () => /tick\ntick/.test(await page.getByRole("dialog").locator(".log pre").textContent()));
    await page.context().close();
  },

  "a canary is started, told and promoted; a blue/green is abandoned": async () => {
    await create("apps", { id: TRIED, ...SLEEPS, instances: 2, env: { RELEASE: "1" } });
    await settled(TRIED);
    const page = await open({}, `${BASE}/#/apps${TRIED}`);
    const panel = page.getByRole("region", { name: "Trial" });
    const dialog = page.getByRole("dialog");
    const deployed = async () => (await json(`${MARATHON}/apps${TRIED}`)).app.env.RELEASE;
    const tryOut = async (value, kind) => {
      await page.getByRole("button", { name: "Edit", exact: true }).click();
      const editor = page.getByRole("textbox", { name: "The app as JSON" });
      await editor.fill((await editor.inputValue()).replace(/"RELEASE": "\d"/, `"RELEASE": "${value}"`));
      await dialog.getByRole("combobox", { name: "Roll out" }).selectOption(kind);
      if (kind === "canary") await dialog.getByRole("textbox", { name: "of" }).fill("1");
      await dialog.getByRole("button", { name: "Try the change" }).click();
    };
    const versions = page.getByRole("table", { name: "Instances" }).locator("tbody tr");
    const told = async () => (await versions.allTextContents()).map((row) => /new, tried|old|current/.exec(row)?.[0] ?? "?").sort().join("; ");
    await until("both instances are told to be current", async () => (await told()) === "current; current");
    // The instances are read apart from the rest of the page: here, late. Those from before the trial must not be taken for tried.
    let release;
    const held = new Promise((resolve) => (release = resolve));
    await page.route(`**${TRIED}/instances`, async (route) => (await held, await route.continue()));
    await tryOut("2", "canary");
    await panel.getByText("1 of 1 ready").waitFor();
    await until("only the task of the new version is told to be new", async () => (await told()) === "?; ?; new, tried");
    release();
    await until("one of three instances is told to be new", async () => (await told()) === "new, tried; old; old");
    assert.match(await panel.textContent(), /1 instance of the new version beside 2 of the old/);
    const changed = panel.getByRole("list", { name: "What is tried" });
    assert.equal(await changed.textContent(), "/env/RELEASE12");
    await panel.getByRole("button", { name: "Promote" }).click();
    await dialog.getByRole("button", { name: "Promote", exact: true }).click();
    await panel.waitFor({ state: "detached" });
    await settled(TRIED);
    const { instances } = await json(`${MORE}/apps${TRIED}/instances`);
    assert.deepEqual(instances.map((one) => one.current), [true, true]);
    assert.equal(await deployed(), "2");
    await tryOut("3", "blueGreen");
    await panel.getByText("2 of 2 ready").waitFor();
    await panel.getByRole("button", { name: "Abandon" }).click();
    await dialog.getByRole("button", { name: "Abandon", exact: true }).click();
    await panel.waitFor({ state: "detached" });
    await settled(TRIED);
    assert.equal(await deployed(), "2");
    await page.context().close();
  },

  "instances have their ordinals, agents of a daemon app their reasons": async () => {
    await create("apps", { id: "/browser-numbered", ...SLEEPS, instances: 2, labels: { TEPUI_ORDINALS: "true" } });
    const { slaves } = await json(`${BASE}/slaves`);
    const [left, ...others] = slaves.map((agent) => agent.hostname);
    await create("apps", { id: "/browser-daemon", ...SLEEPS, labels: { TEPUI_DAEMON: "true" }, constraints: [["hostname", "UNLIKE", left]] });
    await settled("/browser-numbered");
    await settled("/browser-daemon");
    const page = await open({}, `${BASE}/#/apps/browser-numbered`);
    const rows = page.getByRole("table", { name: "Instances" }).locator("tbody tr");
    await until("both are numbered, in order", async () => (await rows.locator("td:first-child").allTextContents()).join() === "0,1");
    await visit(page, "#/apps/browser-daemon");
    const agents = page.getByRole("table", { name: "Agents" });
    await agents.getByRole("row", { name: new RegExp(left) }).getByText("Left out", { exact: true }).waitFor();
    await agents.getByText(`constraint hostname:UNLIKE:${left}`).waitFor();
    await until("the others have it", async () => (await agents.getByText("Running", { exact: true }).count()) === others.length);
    await page.getByText(`${others.length} of ${slaves.length} agents have one`).waitFor();
    await page.context().close();
  },

  "autoscaling is set up, told, changed and turned off": async () => {
    const page = await open({}, `${BASE}/#/apps${APP}`);
    const dialog = page.getByRole("dialog");
    const card = page.getByRole("region", { name: "Autoscaling" });
    const settings = async () => (await json(`${MORE}/apps${APP}/autoscaling`)).autoscaling;
    const { app } = await json(`${MARATHON}/apps${APP}`);
    await page.getByRole("button", { name: "Autoscale", exact: true }).click();
    await dialog.getByRole("spinbutton", { name: "At least" }).fill(String(app.instances));
    await dialog.getByRole("spinbutton", { name: "At most" }).fill("1");
    await dialog.getByRole("spinbutton", { name: "Measured every" }).fill("1");
    await dialog.getByRole("spinbutton", { name: /^Target/ }).fill("90");
    await dialog.getByRole("combobox", { name: "Metric" }).selectOption("memory");
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.getByRole("alert").filter({ hasText: "maxInstances" }).waitFor();
    await dialog.getByRole("spinbutton", { name: "At most" }).fill(String(app.instances));
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.waitFor({ state: "detached" });
    await card.getByText(/memory [\d.]+ % of 90 %/).waitFor();
    await card.getByText(`${app.instances} instances, as there are`).waitFor();
    const { metric, target, minInstances, maxInstances } = await settings();
    assert.deepEqual({ metric, target, minInstances, maxInstances }, { metric: { type: "memory" }, target: 90, minInstances: app.instances, maxInstances: app.instances });
    await card.getByRole("button", { name: "Change" }).click();
    await dialog.getByRole("spinbutton", { name: /^Target/ }).fill("80");
    await dialog.getByRole("button", { name: "Save" }).click();
    await card.getByText("memory at 80 % of what an instance asks for").waitFor();
    await card.getByRole("button", { name: "Turn off" }).click();
    await dialog.getByRole("button", { name: "Turn off" }).click();
    await card.waitFor({ state: "detached" });
    assert.equal(await settings(), null);
    await page.context().close();
  },

  "a policy is set, told with what comes next, and refused when it is wrong": async () => {
    const page = await open({}, `${BASE}/#/apps${APP}`);
    const dialog = page.getByRole("dialog");
    const editor = dialog.getByRole("textbox", { name: "The policy as JSON" });
    await page.getByRole("button", { name: "Policy", exact: true }).click();
    const policy = { restarts: { schedule: "nonsense" }, disruptionBudget: { maxUnavailable: "50%", minIntervalSeconds: 7 } };
    await editor.fill(JSON.stringify(policy));
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.getByRole("alert").filter({ hasText: "/restarts/schedule" }).waitFor();
    policy.restarts.schedule = "0 3 1 1 *";
    await editor.fill(JSON.stringify(policy));
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.waitFor({ state: "detached" });
    const card = page.getByRole("region", { name: "Upkeep" });
    await card.getByText("0 3 1 1 *").waitFor();
    await card.getByText("at most 50% of the instances unavailable, 7 s from one disruption to the next").waitFor();
    await card.getByText(/^in \d+ (days?|h)/).waitFor();
    const told = await json(`${MORE}/apps${APP}/policy`);
    assert.equal(told.policy.restarts.schedule, "0 3 1 1 *");
    assert.match(told.upkeep.nextRestart, /-01-01T03:00:00/);
    await card.getByRole("button", { name: "Change" }).click();
    await editor.fill("{}");
    await dialog.getByRole("button", { name: "Save" }).click();
    await card.waitFor({ state: "detached" });
    await page.context().close();
  },

  "what an app waits for is told, agent by agent": async () => {
    await create("apps", { id: "/browser-waits", ...SLEEPS, cpus: 4000 });
    const page = await open({}, `${BASE}/#/apps/browser-waits`);
    const card = page.getByRole("region", { name: "Why it waits" });
    await card.getByText(/^cpus short by [\d.]+ at least on \d+ agents?$/).waitFor();
    await card.getByText("What each agent's last offer lacked").click();
    const { slaves } = await json(`${BASE}/slaves`);
    const rows = card.getByRole("table", { name: "What offers lacked" }).locator("tbody tr");
    await until("every agent is named", async () => (await rows.count()) === slaves.length);
    await page.getByRole("table", { name: "Instances" }).getByText("Waiting", { exact: true }).waitFor();
    await page.context().close();
  },

  "search and keys lead everywhere": async () => {
    const page = await open();
    await page.keyboard.press("/");
    await page.getByLabel("Search for anything").fill("browser-te");
    // Apps come first, but Marathon may answer after the master.
    await page.locator("[role=option][aria-selected=true]", { hasText: /^App/ }).waitFor();
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: APP }).waitFor();
    for (const [key, heading] of [["a", "Agents"], ["f", "Frameworks"], ["t", "Tasks"], ["r", "Roles"], ["e", "Offers"], ["d", "Pods"], ["p", "Apps"]]) {
      await page.keyboard.press("g");
      await page.keyboard.press(key);
      await page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor();
    }
    await page.context().close();
  },

  "both themes, by the system and by hand": async () => {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open({ colorScheme });
      const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0));
      const before = await ground();
      assert.equal(before < 200, colorScheme === "dark", `${colorScheme}: ground ${before}`);
      await page.getByRole("button", { name: colorScheme === "dark" ? "Light theme" : "Dark theme" }).click();
      assert.equal((await ground()) < 200, colorScheme !== "dark");
      await page.reload();
      await page.getByRole("heading", { level: 1 }).waitFor();
      assert.equal((await ground()) < 200, colorScheme !== "dark", "a chosen theme outlives a reload");
      await page.context().close();
    }
  },

  "no page scrolls sideways on a phone": async () => {
    const { slaves } = await json(`${BASE}/slaves`);
    const { frameworks } = await json(`${BASE}/frameworks`);
    const { tasks } = await json(`${BASE}/tasks?limit=1`);
    const page = await open({ viewport: { width: 390, height: 844 } });
    const pages = ["", "apps", `apps${APP}`, `apps${APP}?tab=ended`, "apps/browser-daemon", "apps/browser-waits", "pods", `pods${POD}`, "tasks", `tasks/${tasks[0].framework_id}/${tasks[0].id}`, "agents", `agents/${slaves[0].id}`, "frameworks", `frameworks/${frameworks[0].id}`, "roles", "offers", "maintenance"];
    for (const one of pages) {
      await visit(page, `#/${one}`);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
      const beyond = await page.evaluate(() => ["main", "html"].map((name) => { const element = document.querySelector(name); return element.scrollWidth - element.clientWidth; }));
      assert.deepEqual(beyond, [0, 0], `#/${one} is wider than the screen`);
    }
    await page.context().close();
  },

  "a broken stream is told, and mended": async () => {
    let sockets = new Set();
    let down = false;
    const proxy = createServer((from, to) => {
      if (down) return void from.socket.destroy();
      const onward = request(BASE + from.url, { method: from.method, headers: from.headers }, (answer) => {
        to.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.on("error", () => to.destroy());
        answer.pipe(to);
      });
      onward.on("error", () => to.destroy());
      to.on("close", () => onward.destroy());
      from.pipe(onward);
    });
    proxy.on("connection", (socket) => (sockets.add(socket), socket.on("close", () => sockets.delete(socket))));
    await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
    const page = await open({}, `http://127.0.0.1:${proxy.address().port}/`);
    // Until it is the button that mends it: on a busy machine the page's own next try may come first.
    for (let pressed = false; !pressed; ) {
      await page.getByText("Live", { exact: true }).waitFor();
      down = true;
      sockets.forEach((socket) => socket.destroy());
      await page.locator(".banner", { hasText: /Not live.*Next try in ([4-9]|1\d) s/ }).waitFor();
      down = false;
      const button = page.getByRole("button", { name: "Try now" });
      pressed = await button.click({ timeout: 3_000 }).then(() => true, () => false);
    }
    await page.getByText("Live", { exact: true }).waitFor();
    await page.locator(".banner").waitFor({ state: "detached" });
    await page.context().close();
    sockets.forEach((socket) => socket.destroy());
    await new Promise((done) => proxy.close(done));
  },

  "100,000 tasks scroll and filter at once": async () => {
    const many = 100_000;
    const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("pageerror", (error) => complaints.push(error.stack ?? String(error)));
    // The stream's own interface, fed from here: no cluster of this size is at hand.
    await page.addInitScript(() => {
      window.EventSource = class extends EventTarget {
        constructor(url) {
          super();
          if (String(url).includes("tepui/v1/events")) {
            window.feed = (event) => this.dispatchEvent(new MessageEvent("state", { data: JSON.stringify(event) }));
            setTimeout(() => this.onopen?.());
          }
        }
        close() {}
      };
    });
    await page.goto(`${BASE}/#/tasks`);
    await page.waitForFunction(() => window.feed);
    const feed = (from, to) => page.evaluate(([from, to]) => {
      const now = Date.now() / 1000;
      const task = (key) => ({
        key, id: `load.instance-${key}`, name: "load", framework: "F", agent: "A", list: key % 10 ? "completed" : "active",
        state: key % 10 ? "TASK_FINISHED" : "TASK_RUNNING", role: "*", resources: [0.1, 0, 32, 0], updated: now,
      });
      for (let key = from; key < to; key += 2_000) window.feed({ ...(key === 0 ? { reset: true } : {}), tasks: Array.from({ length: 2_000 }, (_, at) => task(key + at)) });
    }, [from, to]);
    // The median: a busy machine may hold up one frame, not every second one.
    const jump = () => page.evaluate(async () => {
      const frame = () => new Promise((done) => requestAnimationFrame(done));
      const list = document.querySelector(".vlist");
      const jumps = [];
      for (let step = 0; step < 40; step++) {
        const begin = performance.now();
        list.scrollTop = (list.scrollHeight / 40) * step;
        await frame();
        await frame();
        jumps.push(performance.now() - begin);
      }
      return jumps.sort((one, other) => one - other)[jumps.length / 2];
    });
    await feed(0, 2_000);
    await page.evaluate(() => window.feed({ ready: true }));
    await page.getByText("2,000 tasks").waitFor();
    const few = await jump();
    await feed(2_000, many);
    await page.getByText("100,000 tasks").waitFor();
    assert.ok((await page.locator(".vlist .vrow").count()) < 80, "only what is in sight is drawn");
    const took = await jump();
    // Two frames alone are 33 ms; beside the few of the same run, because machines differ.
    assert.ok(took < 3.5 * few, `a jump took ${took} ms, among few tasks ${few} ms`);
    let filtered = Infinity;
    // The best of three: a busy machine may hold one of them up.
    for (const wanted of [99_999, 88_888, 77_777]) {
      await page.getByLabel("Filter tasks by text").fill("");
      await page.getByText("1 of 100,000 tasks").waitFor({ state: "detached" });
      const begin = Date.now();
      await page.getByLabel("Filter tasks by text").fill(`instance-${wanted}`);
      await page.getByText("1 of 100,000 tasks").waitFor();
      filtered = Math.min(filtered, Date.now() - begin);
    }
    assert.ok(filtered < 2_000, `filtering took ${filtered} ms`);
    console.log(`      median jump ${Math.round(took)} ms, filter ${filtered} ms`);
    await page.context().close();
  },

  "destroying wants its name typed": async () => {
    const page = await open({}, `${BASE}/#/apps${APP}`);
    await page.getByRole("button", { name: "Destroy" }).click();
    const confirm = page.getByRole("dialog").getByRole("button", { name: "Destroy" });
    assert.ok(await confirm.isDisabled());
    await page.getByRole("dialog").getByRole("textbox").fill(APP);
    await confirm.click();
    await page.getByRole("heading", { level: 1, name: "Apps" }).waitFor();
    await until("Marathon has forgotten it", async () => (await fetch(`${MARATHON}/apps${APP}`)).status === 404);
    await page.context().close();
  },

  "an agent is deactivated and drained by buttons, and comes back": async () => {
    const { slaves } = await json(`${BASE}/slaves`);
    const id = slaves[0].id;
    const page = await open({}, `${BASE}/#/agents/${id}`);
    const dialog = page.getByRole("dialog");
    const button = (where, name) => where.getByRole("button", { name, exact: true });
    const ordered = async (name, shown) => {
      await button(page, name).click();
      if (name === "Drain") await dialog.getByRole("spinbutton").fill("1");
      await button(dialog, name).click();
      await dialog.waitFor({ state: "detached" });
      await page.getByText(shown, { exact: true }).waitFor();
    };
    await ordered("Deactivate", "Deactivated");
    await ordered("Reactivate", "Active");
    await ordered("Drain", "Drained");
    const told = await json(`${BASE}/slaves?slave_id=${id}`);
    assert.equal(told.slaves[0].drain_info.config.max_grace_period.nanoseconds, 60e9);
    await ordered("Reactivate", "Active");
    await page.context().close();
  },

  "maintenance of a machine is scheduled and cancelled": async () => {
    const page = await open({}, `${BASE}/#/maintenance`);
    const dialog = page.getByRole("dialog");
    const windows = async () => (await json(`${BASE}/maintenance/schedule`)).windows ?? [];
    await page.getByText("No machine is scheduled", { exact: false }).waitFor();
    await page.getByRole("button", { name: "Schedule", exact: true }).click();
    const schedule = dialog.getByRole("button", { name: "Schedule", exact: true });
    await dialog.getByRole("checkbox").first().check();
    await dialog.getByRole("spinbutton").fill("0");
    assert.ok(await schedule.isDisabled(), "a window of no length");
    await dialog.getByRole("spinbutton").fill("1.5");
    await schedule.click();
    await dialog.waitFor({ state: "detached" });
    const row = page.getByRole("table", { name: "Machines" }).locator("tbody tr");
    await row.getByText("Draining", { exact: true }).waitFor();
    await row.getByText("1 h 30 min", { exact: true }).waitFor();
    const [made] = await windows();
    assert.equal(made.unavailability.duration.nanoseconds, 5400e9);
    const { slaves } = await json(`${BASE}/slaves`);
    assert.equal(made.machine_ids.length, 1);
    assert.ok(slaves.some(({ pid }) => pid.includes(`@${made.machine_ids[0].ip}:`)), "a machine that has an agent");
    await row.getByRole("button", { name: "Cancel" }).click();
    await dialog.getByRole("button", { name: "Cancel it" }).click();
    await page.getByText("No machine is scheduled", { exact: false }).waitFor();
    assert.deepEqual(await windows(), []);
    await page.context().close();
  },
};

let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  const begin = Date.now();
  complaints.length = 0;
  try {
    await run();
    assert.deepEqual(complaints, [], "errors in the page");
    console.log(`ok    ${name} (${Date.now() - begin} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n${error.stack ?? error}`);
  }
}
await destroyed();
for (const url of made) await fetch(url, { method: "DELETE" });
await browser.close();
console.log(failed === 0 ? "all held" : `${failed} did not hold`);
process.exit(failed === 0 ? 0 : 1);
