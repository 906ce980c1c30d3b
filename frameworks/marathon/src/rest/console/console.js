// The page of the API: made from the OpenAPI document of the instance that serves it. No text of the document is ever taken for HTML.
"use strict";

const ROOT = new URL("../", document.baseURI);
/** The most characters of an answer that are shown. */
const MOST_SHOWN = 200_000;
const GROUPS = [
  ["Apps", /^\/v2\/apps/], ["Groups", /^\/v2\/groups/], ["Pods", /^\/v2\/pods/], ["Tasks", /^\/v2\/tasks/],
  ["Deployments", /^\/v2\/deployments/], ["Queue", /^\/v2\/queue/], ["Cluster", /^\/v2\//], ["Tepui’s own", /^\/v3\//], ["This instance", /^\//],
];

/** Makes an element; what has no place among its properties is an attribute. */
function make(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

const nameOf = reference => reference.slice(reference.lastIndexOf("/") + 1);
const inWords = text => (text ?? "").replaceAll("`", "");

/** A link to a type further down. */
function typeLink(name) {
  const link = make("a", { href: `#type-${name}` }, name);
  link.addEventListener("click", () => {
    const there = document.getElementById(`type-${name}`);
    if (there) there.open = true;
  });
  return link;
}

/** A schema as one reads a type: parts to be appended, references as links. */
function told(schema, indent = "") {
  if (schema === true || schema === undefined || Object.keys(schema).length === 0) return ["anything"];
  if (schema.$ref) return [typeLink(nameOf(schema.$ref))];
  const joined = (all, between) => all.flatMap((one, at) => [...(at ? [between] : []), ...told(one, indent)]);
  if (schema.oneOf || schema.anyOf) return joined(schema.oneOf ?? schema.anyOf, " | ");
  if (schema.allOf) return joined(schema.allOf, " & ");
  if ("const" in schema) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map(value => JSON.stringify(value)).join(" | ")];
  const types = [schema.type].flat();
  if (types.includes("array")) return ["[ ", ...told(schema.items, indent), ", … ]"];
  if (!types.includes("object") && !schema.properties) {
    const bounds = [["minimum", "≥"], ["exclusiveMinimum", ">"], ["maximum", "≤"]].filter(([key]) => key in schema);
    return [types.join(" | ") + bounds.map(([key, sign]) => ` ${sign} ${schema[key]}`).join("")];
  }
  const members = Object.entries(schema.properties ?? {});
  const more = schema.additionalProperties;
  if (members.length === 0) return ["{ key: ", ...(more && more !== true ? told(more, indent) : ["anything"]), ", … }"];
  const deeper = `${indent}  `;
  const required = new Set(schema.required ?? []);
  const lines = members.flatMap(([key, one]) => {
    const note = one.description ? make("span", { className: "faint" }, `  // ${inWords(one.description)}`) : null;
    return [`${deeper}${key}${required.has(key) ? "" : "?"}: `, ...told(one, deeper), ...(note ? [note] : []), "\n"];
  });
  return ["{\n", ...lines, `${indent}}`];
}

/** One operation: what it takes, what it answers, and a way to try it. */
function operation(method, path, given) {
  const inputs = [];
  const rows = (given.parameters ?? []).map(parameter => {
    const { schema } = parameter;
    const many = schema.type === "array";
    const hint = schema.default !== undefined ? String(schema.default) : many ? "several, with commas" : parameter.in === "path" ? parameter.name : "";
    const id = `${given.operationId}-${parameter.name}`;
    const input = make("input", { id, className: "value", placeholder: hint, autocomplete: "off", spellcheck: false });
    inputs.push({ parameter, input, many });
    const known = schema.items?.enum ?? schema.enum;
    const what = inWords(parameter.description) + (known ? `: ${known.join(", ")}` : "");
    return make("div", { className: "row" },
      make("label", { htmlFor: id }, make("code", {}, parameter.name), parameter.required ? " (needed)" : ""), input,
      make("span", { className: "faint" }, what));
  });
  const content = given.requestBody?.content?.["application/json"];
  const body = content ? make("textarea", { spellcheck: false, ariaLabel: "Body", value: "{}" }) : null;
  const answers = Object.entries(given.responses).map(([status, answer]) => {
    const types = Object.entries(answer.content ?? {}).map(([media, { schema }]) => schema?.$ref ? typeLink(nameOf(schema.$ref)) : media);
    const carried = types.flatMap((type, at) => [at ? ", " : " — ", type]);
    return make("li", {}, make("b", { className: status < "400" ? "good" : "bad" }, status), make("span", {}, inWords(answer.description), ...carried));
  });
  const out = make("div", { ariaLive: "polite" });
  const send = make("button", { type: "button", className: "go" }, method === "get" ? "Send" : `Send ${method.toUpperCase()}`);
  const stop = make("button", { type: "button", hidden: true }, "Stop");
  const changes = method === "get" ? null : make("span", { className: "faint" }, "This changes the cluster.");
  send.addEventListener("click", () => attempt(method, path, { inputs, body, out, send, stop }));
  const inside = make("div", { className: "inside" },
    rows.length ? make("h3", {}, "Parameters") : null, ...rows,
    body ? make("h3", {}, "Body: ", content.schema?.$ref ? typeLink(nameOf(content.schema.$ref)) : "JSON") : null, body,
    make("div", { className: "buttons" }, send, stop, changes), out,
    make("h3", {}, "Answers"), make("ul", { className: "answers" }, ...answers));
  return make("details", { className: "one", id: given.operationId },
    make("summary", {}, make("span", { className: `method ${method}` }, method.toUpperCase()), make("span", { className: "path" }, path),
      make("span", { className: "what" }, inWords(given.summary))),
    inside);
}

/** What is to be asked: the URL and what goes with it; throws what is missing. */
function request(method, path, inputs, body) {
  let target = path;
  const query = [];
  for (const { parameter, input, many } of inputs) {
    const value = input.value.trim();
    if (value === "" && parameter.required) {
      input.focus();
      throw new Error(`${parameter.name} is needed`);
    }
    if (parameter.in === "path") {
      const parts = value.split("/").filter(part => part !== "").map(encodeURIComponent);
      target = target.replace(`{${parameter.name}}`, parts.join("/"));
    } else if (value !== "") {
      const values = many ? value.split(",").map(one => one.trim()) : [value];
      query.push(...values.map(one => `${encodeURIComponent(parameter.name)}=${encodeURIComponent(one)}`));
    }
  }
  const url = new URL(target.replace(/^\//, "") + (query.length ? `?${query.join("&")}` : ""), ROOT);
  const headers = {};
  if (path === "/v2/events") headers.Accept = "text/event-stream";
  if (body) headers["Content-Type"] = "application/json";
  return { url, init: { method: method.toUpperCase(), headers, body: body?.value } };
}

const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;

async function attempt(method, path, { inputs, body, out, send, stop }) {
  out.replaceChildren();
  let asked;
  try {
    asked = request(method, path, inputs, body);
  } catch (missing) {
    out.append(make("p", { className: "bad" }, missing.message));
    return;
  }
  const { url, init } = asked;
  const command = ["curl", ...(method === "get" ? [] : ["-X", init.method]), quoted(url.href),
    ...Object.entries(init.headers).flatMap(([name, value]) => ["-H", quoted(`${name}: ${value}`)]), ...(init.body ? ["-d", quoted(init.body)] : [])];
  out.append(make("pre", {}, command.join(" ")));
  const ends = new AbortController();
  stop.onclick = () => ends.abort();
  send.disabled = true;
  stop.hidden = false;
  const status = make("p", {}, "…");
  const shown = make("pre", { hidden: true });
  out.append(status, shown);
  try {
    const answer = await fetch(url, { ...init, signal: ends.signal });
    status.textContent = `${answer.status} ${answer.statusText}`;
    status.className = answer.ok ? "good" : "bad";
    const headers = ["location", "marathon-deployment-id", "content-type"].filter(name => answer.headers.has(name));
    if (headers.length) status.append(make("span", { className: "faint" }, ` · ${headers.map(name => `${name}: ${answer.headers.get(name)}`).join(" · ")}`));
    await show(answer, shown, ends);
  } catch (failed) {
    if (failed.name !== "AbortError") {
      status.className = "bad";
      status.textContent = `No answer: ${failed.message}`;
    }
  } finally {
    send.disabled = false;
    stop.hidden = true;
  }
}

/** Shows an answer as it comes, and JSON in its lines when it is whole. */
async function show(answer, shown, ends) {
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done) break;
    text += value;
    shown.hidden = false;
    shown.textContent = text;
    if (text.length > MOST_SHOWN) {
      ends.abort();
      shown.textContent = `${text.slice(0, MOST_SHOWN)}\n… and more, which is not shown here`;
      return;
    }
  }
  if (text !== "" && (answer.headers.get("content-type") ?? "").includes("json")) {
    try {
      shown.textContent = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // Lines of JSON, or none after all: it stands there as it came.
    }
  }
}

/** Hides what has not all the words. */
function find(sections, text) {
  const words = text.toLowerCase().split(/\s+/).filter(word => word !== "");
  for (const { section, entries } of sections) {
    let some = false;
    for (const { element, told } of entries) {
      const fits = words.every(word => told.includes(word));
      element.hidden = !fits;
      some ||= fits;
    }
    section.hidden = !some;
  }
}

function build(api) {
  document.getElementById("version").textContent = `Tepui ${api.info.version}`;
  document.getElementById("about").textContent = inWords(api.info.description);
  const groups = new Map(GROUPS.map(([name]) => [name, []]));
  for (const [path, methods] of Object.entries(api.paths)) {
    const [group] = GROUPS.find(([, paths]) => paths.test(path));
    for (const [method, given] of Object.entries(methods)) {
      const names = (given.parameters ?? []).map(parameter => parameter.name).join(" ");
      groups.get(group).push({ element: operation(method, path, given), told: `${method} ${path} ${given.summary} ${names}`.toLowerCase() });
    }
  }
  const types = Object.entries(api.components.schemas).sort(([one], [other]) => one.localeCompare(other)).map(([name, schema]) => ({
    element: make("details", { className: "one", id: `type-${name}` },
      make("summary", {}, make("span", { className: "path" }, name), make("span", { className: "what" }, inWords(schema.description))),
      make("div", { className: "inside" }, make("pre", {}, ...told(schema)))),
    told: `${name} ${schema.description ?? ""}`.toLowerCase(),
  }));
  groups.set("Types", types);
  const sections = [...groups].filter(([, entries]) => entries.length > 0).map(([name, entries]) => ({
    section: make("section", {}, make("h2", {}, name), ...entries.map(entry => entry.element)), entries,
  }));
  document.getElementById("main").replaceChildren(...sections.map(({ section }) => section));
  const input = document.getElementById("find");
  input.addEventListener("input", () => find(sections, input.value));
  find(sections, input.value);
  const here = location.hash && document.getElementById(location.hash.slice(1));
  if (here) {
    here.open = true;
    here.scrollIntoView();
  }
}

fetch(new URL("v3/openapi.json", ROOT))
  .then(answer => answer.ok ? answer.json() : Promise.reject(new Error(`${answer.status} ${answer.statusText}`)))
  .then(build)
  .catch(failed => {
    const state = document.getElementById("state");
    if (state) state.textContent = `The API’s document cannot be read: ${failed.message}`;
    else throw failed;
  });
