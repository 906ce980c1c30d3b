// Tables of cases for what needs no browser.
import { describe, expect, test } from "vitest";
import { appPath, refusal } from "../src/api";
import { ago, bytes, duration, mebibytes, number, percent, short, stateName } from "../src/format";
import { lineOf, lines } from "../src/json-lines";
import { Cluster, type StateEvent, type Task } from "../src/live/cluster";
import { differences } from "../src/diff";
import { aboutApp, appState, instancesAt, podState, subjectOfPod, trialsOf, type App, type Instance, type Pod, type PodInstance, type Queued } from "../src/live/marathon";
import { CAUSES } from "../src/live/causes";
import schemas from "../../../frameworks/marathon/core/src/schemas/v3.json";
import { whole } from "../src/log";
import { machineOf, rows, stageOf, times, without, withWindow, type GoingDown } from "../src/maintenance";
import { link, parse } from "../src/router";

test("every cause for which Marathon says that a task ended has its words", () => {
  expect(Object.keys(CAUSES)).toEqual(schemas.EndedTask.properties.cause.enum);
});

test("an instance is on a machine that it leaves, will leave, or stays on", () => {
  const machine = (leavesAt: string | null, ...instances: string[]): GoingDown => ({ agentId: "a", host: "h", begins: "2030-01-01T00:00:00.000Z", ends: null, leavesAt, instances, why: null });
  const leavesAt = "2029-12-31T23:45:00.000Z";
  const at = Date.parse(leavesAt);
  expect([at - 1, at, at + 1].map((now) => stageOf(machine(leavesAt), now))).toEqual(["later", "leaving", "leaving"]);
  expect(stageOf(machine(null), at)).toBe("stays");
  const two = [machine(null, "a"), machine(leavesAt, "b", "c")];
  expect(["a", "c", "d"].map((instance) => machineOf(two, instance))).toEqual([two[0], two[1], undefined]);
  expect(machineOf(undefined, "a")).toBeUndefined();
});

describe("format", () => {
  test.each([
    [duration(0), "0 s"],
    [duration(59.4), "59 s"],
    [duration(60), "1 min"],
    [duration(3600), "1 h"],
    [duration(3 * 3600 + 720), "3 h 12 min"],
    [duration(90_000), "1 day"],
    [ago(100, 101), "now"],
    [ago(100, 108), "8 s ago"],
    [number(0.30000000000000004), "0.3"],
    [number(-0.0001), "0"],
    [number(1234.5), "1,235"],
    [mebibytes(32), "32 MiB"],
    [mebibytes(11540), "11.3 GiB"],
    [bytes(12), "12 B"],
    [bytes(70_000), "68.4 KiB"],
    [percent(0, 0), "–"],
    [percent(0.001, 10), "<1 %"],
    [percent(1, 4), "25 %"],
    [short("short"), "short"],
    [short("a-very-long-identifier-of-many-letters-0001"), "a-very-lon…ters-0001"],
    [stateName("TASK_GONE_BY_OPERATOR"), "Gone by operator"],
  ])("%s is %s", (shown, expected) => expect(shown).toBe(expected));
});

test("routes decode what links encode", () => {
  for (const segments of [["apps", "shop", "clock"], ["tasks", "f", "a/b c?d#e%"]]) expect(parse(link(...segments)).path).toEqual(segments);
  expect(parse("#/tasks?state=TASK_FAILED&text=a%20b").query.get("text")).toBe("a b");
  expect(parse("#/tasks/%zz").path).toEqual(["tasks", "%zz"]);
  expect(appPath("/shop/a b")).toBe("shop/a%20b");
});

describe("lines of paths", () => {
  const text = '{\n  "id": "/x",\n  "portDefinitions": [\n    {"port": 1},\n    {\n      "port": -5\n    }\n  ],\n  "env": {"A": "}"},\n  "cpus": -1\n}';
  test.each([
    ["/", 1], ["/id", 2], ["/portDefinitions", 3], ["/portDefinitions(0)/port", 4], ["/portDefinitions(1)/port", 6], ["/portDefinitions(1)/name", 5],
    ["/env/A", 9], ["/cpus", 10], ["/mem", 1],
  ])("%s is in line %d", (path, line) => expect(lineOf(lines(text), path)).toBe(line));
  test.each(["", "{", '{"a', '{"a":', "[[[[", '{"a":[1,}', `${"[".repeat(10_000)}`])("half a text %# does no harm", (half) => expect(lines(half).get("/")).toBe(1));
});

const task = (key: number, state: string, more: Partial<Task> = {}): Task => ({
  key, id: `t${key}`, name: "t", framework: "F", agent: "A", list: state === "TASK_RUNNING" ? "active" : "completed", state, resources: [0.1, 0, 32, 0], ...more,
});

describe("the cluster", () => {
  const fed = (...events: StateEvent[]): Cluster => {
    const cluster = new Cluster();
    for (const event of events) cluster.take(event);
    return cluster;
  };
  const snapshot: StateEvent = { reset: true, tasks: [task(1, "TASK_RUNNING"), task(2, "TASK_RUNNING"), task(3, "TASK_FAILED")], ready: true };

  test("counts follow every change", () => {
    const cluster = fed(snapshot, { tasks: [task(1, "TASK_FINISHED")] }, { tasks_gone: [3] });
    expect(cluster.now.count("TASK_RUNNING")).toBe(1);
    expect(cluster.now.count("TASK_FINISHED")).toBe(1);
    expect(cluster.now.count("TASK_FAILED")).toBe(0);
    expect(cluster.now.loadOf("A")).toEqual({ active: 1, running: 1, amounts: [0.1, 0, 32, 0] });
    expect(cluster.now.changes).toBe(1);
  });
  test("nothing weighs exactly nothing", () => {
    expect(fed(snapshot, { tasks: [task(1, "TASK_FINISHED"), task(2, "TASK_FINISHED")] }).now.loadOf("F").amounts).toEqual([0, 0, 0, 0]);
  });
  test("a new snapshot replaces the old one only when it is whole", () => {
    const cluster = fed(snapshot, { reset: true, tasks: [task(9, "TASK_RUNNING")] });
    expect([...cluster.now.tasks.keys()]).toEqual([1, 2, 3]);
    expect(cluster.take({ ready: true })).toBe(true);
    expect([...cluster.now.tasks.keys()]).toEqual([9]);
  });
});

describe("apps", () => {
  const app = (running: number, instances: number, deploying = false): App =>
    ({ id: "/a", instances, tasksRunning: running, tasksStaged: 0, deployments: deploying ? [{ id: "d" }] : [] }) as unknown as App;
  const queued = (overdue: boolean): Queued => ({ count: 1, delay: { timeLeftSeconds: 3, overdue }, since: "" });
  test.each([
    [app(3, 3), undefined, "running"],
    [app(1, 3, true), undefined, "deploying"],
    [app(0, 0), undefined, "suspended"],
    [app(0, 2), queued(false), "delayed"],
    [app(0, 2, true), queued(true), "waiting"],
    [app(2, 2), queued(true), "running"],
  ])("case %#", (one, entry, expected) => expect(appState(one, entry)).toBe(expected));
  test("events name their app in three ways", () => {
    const event = (more: object) => ({ eventType: "x", timestamp: "", ...more });
    expect([event({ appId: "/a" }), event({ runSpecId: "/b" }), event({ appDefinition: { id: "/c" } }), event({})].map(aboutApp)).toEqual(["/a", "/b", "/c", null]);
  });
});

describe("pods", () => {
  const instance = (status: string, ...containers: string[]): PodInstance =>
    ({ id: "i", status, statusSince: "", containers: containers.map((state) => ({ name: "c", status: state, statusSince: "", containerId: "" })) });
  const pod = (wanted: number, ...instances: PodInstance[]): Pod => ({
    id: "/p", status: "", statusSince: "", instances,
    spec: { id: "/p", version: "v", scaling: { kind: "fixed", instances: wanted }, executorResources: { cpus: 0.1, mem: 32 }, containers: [{ name: "a", resources: { cpus: 0.1, mem: 32 } }, { name: "b", resources: { cpus: 0.3, mem: 64 } }] },
  });
  const queued = (overdue: boolean): Queued => ({ count: 1, delay: { timeLeftSeconds: 3, overdue }, since: "" });
  const stable = instance("STABLE", "TASK_RUNNING", "TASK_RUNNING");
  const sick = instance("DEGRADED", "TASK_RUNNING", "TASK_RUNNING");
  const lost = instance("DEGRADED", "TASK_UNREACHABLE");
  test.each([
    [pod(1, stable), undefined, false, "running"],
    [pod(1, sick), undefined, false, "degraded"],
    [pod(2, stable, lost), undefined, false, "degraded"],
    [pod(2, stable), queued(true), true, "waiting"],
    [pod(2, stable), queued(false), true, "delayed"],
    [pod(2, stable), undefined, true, "deploying"],
    [pod(0), undefined, false, "suspended"],
  ])("case %#", (one, entry, deploying, expected) => expect(podState(one, entry, deploying)).toBe(expected));
  test("an instance has the resources of all its containers and of its executor", () => {
    const { running, ready, wanted, cpus, mem } = subjectOfPod(pod(3, stable, sick, lost));
    expect({ running, ready, wanted, cpus, mem }).toEqual({ running: 2, ready: 1, wanted: 3, cpus: 0.5, mem: 128 });
  });
});

test("a trial is found by each of the apps that it tries", () => {
  const trial = { kind: "canary" as const, promoteAfterSeconds: 60, readySince: null, promotedAt: null, apps: [{ app: "/a", instances: 2, ready: 1 }, { app: "/b", instances: 1, ready: 0 }] };
  const found = trialsOf([{ id: "plain", deadline: null, trial: null }, { id: "d", deadline: "t", trial }]);
  expect([...found.keys()]).toEqual(["/a", "/b"]);
  expect(found.get("/a")).toEqual({ deployment: "d", deadline: "t", kind: "canary", instances: 2, ready: 1, promoteAfterSeconds: 60, readySince: null, promotedAt: null });
});

test("what was current before a change is not told to be it after the change", () => {
  const instance = (current: boolean): Instance => ({
    id: "a.instance-1", ordinal: null, goal: "Running", condition: "Running", since: "t", ready: true, version: "1", current, host: null, agentId: null, taskId: null, ports: [],
  });
  const told = { version: "1", instances: [instance(true), instance(false)] };
  const current = (version: string | undefined) => instancesAt(told, version)?.map((one) => one.current);
  expect(current("1")).toEqual([true, false]);
  expect(current("2")).toEqual([null, null]);
  expect(instancesAt(null, "1")).toBeNull();
});

test("definitions differ key by key, lists as a whole", () => {
  const old = { cmd: "a", env: { A: "1", "x/y~z": "1" }, ports: [1], same: { deep: [{ a: 1 }] } };
  const now = { cmd: "a", env: { A: "2", "x/y~z": "2" }, ports: [1, 2], same: { deep: [{ a: 1 }] }, user: "me" };
  expect(differences(old, now)).toEqual([
    { path: "/env/A", old: "1", new: "2" }, { path: "/env/x~1y~0z", old: "1", new: "2" }, { path: "/ports", old: [1], new: [1, 2] }, { path: "/user", new: "me" },
  ]);
  expect(differences(now, { ...now, user: undefined })).toEqual([{ path: "/user", old: "me" }]);
  const deep = (depth: number, end: unknown): unknown => Array.from({ length: depth }).reduce((below) => ({ below }), end);
  expect(differences(deep(200, 1), deep(200, 2))).toHaveLength(1);
});

test("refusals keep the server's words", () => {
  expect(refusal(422, '{"message":"Invalid JSON","details":[{"path":"/cpus","errors":["error.min"]}]}').details).toEqual([{ path: "/cpus", errors: ["error.min"] }]);
  expect(refusal(400, '{"message":"Invalid JSON","details":"EOF at line 1"}').message).toBe("Invalid JSON: EOF at line 1");
  expect(refusal(404, "There is no such task").message).toBe("There is no such task");
  expect(refusal(500, "").message).toContain("500");
});

test("a piece of a log is cut before half a character", () => {
  expect(whole("abc", 3)).toEqual({ text: "abc", bytes: 3 });
  expect(whole("é\uFFFD", 3)).toEqual({ text: "é", bytes: 2 });
  expect(whole("\uFFFD", 1)).toEqual({ text: "\uFFFD", bytes: 1 });
  expect(whole("\uFFFDx\uFFFD", 3).bytes).toBe(3);
});

describe("maintenance", () => {
  const machine = (hostname: string) => ({ hostname, ip: "10.0.0.1" });
  const window = (start: number, ...names: string[]) => ({ machine_ids: names.map(machine), unavailability: { start: { nanoseconds: start * 1e9 }, duration: { nanoseconds: 60e9 } } });
  const windows = [window(100, "a", "b"), window(200, "c")];

  test("each machine of each window has its row", () => {
    const answers = [{ status: "DECLINE" as const, framework_id: { value: "f" } }];
    const status = { draining_machines: [{ id: machine("A"), statuses: answers }], down_machines: [machine("c")] };
    expect(rows(windows, status).map((row) => [row.machine.hostname, row.state, row.answers.length])).toEqual([["a", "DRAINING", 1], ["b", "UP", 0], ["c", "DOWN", 0]]);
  });

  test("a window has its times", () => {
    expect(times(window(100, "a"))).toEqual({ start: 100, end: 160 });
    expect(times({ machine_ids: [], unavailability: { start: { nanoseconds: 5e9 } } })).toEqual({ start: 5 });
  });

  test("a machine is in one window only", () => {
    const changed = withWindow(windows, [machine("b"), machine("c")], 300, 2);
    expect(changed.map((one) => one.machine_ids.map((id) => id.hostname))).toEqual([["a"], ["b", "c"]]);
    expect(times(changed[1]!)).toEqual({ start: 300, end: 300 + 7200 });
    expect(times(withWindow([], [machine("a")], 300, undefined)[0]!)).toEqual({ start: 300 });
  });

  test("a window of no machine is none", () => {
    expect(without(windows, [machine("c")])).toEqual([windows[0]]);
    expect(windows).toHaveLength(2);
  });
});
