// Hosts, their connections and their containers at the moment, drawn by cytoscape.
//
// Owns places: a circle of few hosts, blocks of many (blocks.js); they stay the same over the whole run. In a circle
// hosts that were apart in the first fault stand together, so that a cut is a line. `page.topology` is for hands:
// {cy, canvas, hostAt}.
import cytoscape from "cytoscape";

import { GROUPED_ABOVE as FEW, PITCH, blocksOf, counted, layout } from "./blocks.js";
import { brief, figure, h, name, short, table } from "./dom.js";
import { FORMS, GROUPS, colours } from "./palette.js";
import { hide, show } from "./tooltip.js";
import { count, natural, percent } from "./words.js";

const CONTAINERS = 12; // most containers drawn at one host

export function topology(page) {
  const canvas = h("div", { class: "graph", role: "img" });
  const frame = figure({
    id: "topology", title: "Hosts, peers and containers", rows,
    caption: "Hosts that can reach each other have one colour and one form. A solid line is a connection that both peers " +
      "report, a dashed one only one of them; an empty, dashed circle is a host whose peer is down. Small dots are containers. " +
      `More than ${FEW} hosts stand in blocks that no cut divided; a number on a line counts the connections between two ` +
      "blocks, and a number after + those that only one peer reports.",
  }, canvas);
  let cy = null, made = "", common = 0;
  let blocks = [], placed = null, epochs = null; // of many hosts: which stand together, where, and as of when
  // A page is scrolled with the wheel; only with Ctrl does it zoom the figure.
  canvas.addEventListener("wheel", (event) => { if (!event.ctrlKey && !event.metaKey) event.stopImmediatePropagation(); }, { capture: true });

  /** Hosts by the sides of the first cut: those of one side next to each other. */
  function sides() {
    const hosts = page.view.hosts.map((host) => host.name);
    const cut = page.history.epochs.find((epoch) => epoch.groups.length > 1 && epoch.groups.length < hosts.length / 2 + 1);
    const side = new Map();
    cut?.groups.forEach((group, index) => group.forEach((host) => side.set(host, index)));
    const found = [];
    for (const host of hosts) (found[side.get(host) ?? cut?.groups.length ?? 0] ??= []).push(host);
    return found.filter(Boolean);
  }

  function places(sides) {
    const found = new Map(), hosts = sides.flat(), narrow = canvas.clientWidth < 500;
    if (hosts.length === 1) found.set(hosts[0], [0, 0]);
    else if (hosts.length === 2) hosts.forEach((host, index) => found.set(host, [(index ? 1 : -1) * (narrow ? 80 : 150), 0]));
    else if (hosts.length <= FEW) {
      const radius = radiusOf(hosts.length), wide = narrow ? 1 : 1.25;
      hosts.forEach((host, index) => {
        const angle = (2 * Math.PI * (index + 0.5)) / hosts.length - Math.PI / 2;
        found.set(host, [wide * radius * Math.cos(angle), radius * Math.sin(angle)]);
      });
    } else {
      placed = layout(blocks.map((block) => block.length), canvas.clientWidth, canvas.clientHeight, Math.max(...blocks.map((block) => titleOf(block).length)) + 4);
      blocks.forEach((block, index) => {
        const { x, y, columns } = placed.blocks[index], rows = Math.ceil(block.length / columns);
        block.forEach((host, place) => found.set(host, [
          x + ((place % columns) - (columns - 1) / 2) * PITCH, y + (Math.floor(place / columns) - (rows - 1) / 2) * PITCH]));
      });
    }
    return found;
  }

  function build() {
    canvas.style.height = page.view.hosts.length <= 2 ? "220px" : page.view.hosts.length > FEW && blocks.length > 2 ? "540px" : "";
    const few = page.view.hosts.length <= FEW, apart = few ? sides() : blocks, hosts = apart.flat(), at = places(apart);
    common = hosts.length > 8 ? shared(hosts) : 0; // what all names begin with is left out
    cy?.destroy();
    cy = cytoscape({
      container: canvas, elements: hosts.map((host) => ({
        group: "nodes", classes: "host", data: { id: `h:${host}`, host, colour: GROUPS[0], form: FORMS[0], label: "", words: 16 },
        position: { x: at.get(host)[0], y: at.get(host)[1] }, locked: true,
      })),
      style: style(hosts.length, common), layout: { name: "preset" }, minZoom: 0.02, maxZoom: 3,
      userZoomingEnabled: true, boxSelectionEnabled: false, autounselectify: true,
    });
    cy.on("mouseover", "node, edge", (event) => tell(event.target, event.originalEvent));
    cy.on("mouseout", "node, edge", hide);
    cy.on("tap", "node.host", (event) => page.emit("host", event.target.data("host")));
    page.topology = {
      cy, canvas,
      hostAt: (x, y) => {
        const box = canvas.getBoundingClientRect();
        const node = cy.nodes(".host").filter((each) => Math.hypot(each.renderedPosition("x") - (x - box.left), each.renderedPosition("y") - (y - box.top)) < each.renderedWidth() / 2 + 6);
        return node.length ? node[0].data("host") : null;
      },
    };
    page.emit("topology", page.topology);
  }

  function tell(element, event) {
    if (!event) return;
    const data = element.data();
    if (data.told) return show(data.told, event.clientX, event.clientY);
    if (element.isEdge()) return show([`${data.one} ↔ ${data.other}`, data.both ? "both peers report the connection" : "only one peer reports it"], event.clientX, event.clientY);
    if (data.container) return show([short(data.container, 80), data.address, `on ${short(data.on, 60)}`], event.clientX, event.clientY);
    const host = page.view.hosts.find((each) => each.name === data.host);
    show(lines(host), event.clientX, event.clientY);
  }
  function lines(host) {
    return [short(host.name, 80), { up: host.peer ? `peer ${short(host.peer, 40)}` : "peer runs", down: "its peer is down", unseen: "no peer has been seen" }[host.state],
      host.state === "up" ? `${count(host.neighbours.length, "connection")}, reaches ${count(host.reachable, "peer")}` : null,
      host.share ? `owns ${percent(host.share)} of the addresses` : null,
      host.containers.length ? `${count(host.containers.length, "container")}: ${short(host.containers.map((each) => each.name).sort(natural).join(", "), 90)}` : "no container"];
  }

  function draw() {
    const { view } = page, few = view.hosts.length <= FEW;
    frame.root.hidden = !view.hosts.length;
    if (!view.hosts.length) return;
    const names = view.hosts.map((host) => host.name);
    if (!few && (epochs !== page.history.epochs || names.length !== blocks.flat().length)) [epochs, blocks] = [page.history.epochs, blocksOf(names, page.history.epochs)];
    const wanted = few ? names.join("\n") : blocks.map((block) => block.join("\n")).join("\n\n");
    if (wanted !== made) {
      made = wanted;
      build();
      fit();
    }
    const apart = view.groups.length > 1, peers = view.hosts.some((host) => host.state !== "unseen");
    cy.batch(() => {
      const kept = new Set();
      const put = (id, element) => {
        kept.add(id);
        const there = cy.getElementById(id);
        if (there.length) there.data(element.data).classes(element.classes);
        else cy.add({ ...element, data: { id, ...element.data } });
      };
      for (const host of view.hosts) {
        const node = cy.getElementById(`h:${host.name}`);
        const here = host.containers.filter((each) => !page.service || page.history.serviceOf(each.name) === page.service).sort((a, b) => natural(a.name, b.name));
        const letter = apart && host.group !== null ? letterOf(host.group) : "";
        node.data({
          colour: host.group === null ? "#999999" : GROUPS[apart ? host.group % GROUPS.length : 0],
          form: FORMS[apart && host.group !== null ? host.group % FORMS.length : 0],
          words: few ? 0 : Math.max(16, Math.min(24, 9 / placed.zoom)),
          label: few ? `${short(host.name.slice(common).split(".")[0] || host.name, common ? 10 : 18)}${letter && ` · ${letter}`}` : short(host.name.slice(common), 4),
        });
        node.classes(`host ${peers ? host.state : "up"}${host.group === null ? " alone" : ""}${few ? ` ${inward(node.position(), view.hosts.length)}` : ""}`);
        if (!few) continue;
        const [x, y] = [node.position("x"), node.position("y")];
        const outward = x || y ? Math.atan2(y, x) : -Math.PI / 2, shown = here.slice(0, CONTAINERS);
        shown.forEach((container, index) => {
          const angle = outward + (index - (shown.length - 1) / 2) * Math.min(0.62, 3.8 / shown.length), far = 64 + (shown.length > 5 ? 18 * (index % 2) : 0);
          const id = `c:${host.name}\n${container.name}`, where = { x: x + far * Math.cos(angle), y: y + far * Math.sin(angle) };
          put(id, {
            group: "nodes", position: where, locked: true,
            classes: `container ${Math.cos(angle) < -0.3 ? "left" : Math.cos(angle) > 0.3 ? "right" : Math.sin(angle) > 0 ? "below" : "above"}`,
            data: { container: container.name, address: container.address, on: host.name, label: view.hosts.length <= 8 ? short(container.name, 14) : "", colour: node.data("colour") },
          });
          put(`e:${id}`, { group: "edges", classes: "stem", data: { source: `h:${host.name}`, target: id } });
        });
      }
      if (!few) drawBlocks(view, put);
      else for (const [one, other, both] of view.connections) {
        if (!cy.getElementById(`h:${one}`).length || !cy.getElementById(`h:${other}`).length) continue;
        put(`l:${one}\n${other}`, { group: "edges", classes: both ? "link" : "link half", data: { source: `h:${one}`, target: `h:${other}`, one, other, both } });
      }
      cy.elements().filter((element) => !element.hasClass("host") && !kept.has(element.id())).remove();
    });
    cy.nodes().emit("bounds"); // or a longer label is cut to the width of the one before, if the window changed meanwhile
    const words = sentence(view, few);
    frame.say.textContent = words;
    canvas.setAttribute("aria-label", words);
    frame.refresh();
  }

  /** Blocks of hosts, and a line for all connections between two of them, with their number. */
  function drawBlocks(view, put) {
    const { zoom, lines } = placed, words = 11.5 / zoom, several = view.groups.length > 1;
    const of = new Map(view.hosts.map((host) => [host.name, host])), peers = view.hosts.some((host) => host.state !== "unseen");
    const titles = blocks.map(titleOf), counts = counted(view.connections, blocks);
    const more = (half) => (half ? ` +${half}` : ""), toldMore = (half) => (half ? [`${half} more that only one peer reports`] : []);
    blocks.forEach((block, index) => {
      const { x, y, w, h: high, top } = placed.blocks[index], { both, half } = counts.inside[index];
      const hosts = block.map((host) => of.get(host)), [{ group }] = hosts;
      const whole = group !== null && hosts.every((host) => host.group === group);
      const running = hosts.reduce((sum, host) => sum + host.containers.length, 0);
      const label = [
        `${titles[index]}${whole && several ? ` · ${letterOf(group)}` : ""}`,
        peers && block.length > 1 ? `${count(both, "connection")}${more(half)}` : null,
        running ? count(running, "container") : null,
      ];
      put(`b:${index}`, {
        group: "nodes", position: { x, y }, locked: true, pannable: true, classes: `block ${top ? "over" : "under"}${whole ? "" : " mixed"}`,
        data: {
          w, h: high, words, colour: whole ? GROUPS[several ? group % GROUPS.length : 0] : "#999999",
          label: label.filter(Boolean).slice(0, lines).join("\n"),
          told: [`${count(block.length, "host")}: ${titles[index]}`, ...(label[1] ? [`${count(both, "connection")} between them`, ...toldMore(half)] : []), label[2] ?? "no container"],
        },
      });
    });
    const most = Math.max(1, ...counts.between.map(({ both }) => both)), many = blocks.length > 6;
    for (const { one, other, both, half } of counts.between) {
      const key = `${one} ${other}`, position = placed.numbers[key];
      const told = [`${titles[one]} ↔ ${titles[other]}`, count(both, "connection"), ...toldMore(half)];
      const line = { source: `b:${one}`, target: `b:${other}`, told, dim: many ? 0.3 : 0.6 };
      if (both) put(`m:${key}`, { group: "edges", classes: "bundle", data: { ...line, wide: (many ? 1.4 : 1 + (3 * both) / most) / zoom } });
      if (half) put(`o:${key}`, { group: "edges", classes: "bundle half", data: { ...line, wide: 2 / zoom } });
      if (!position) continue;
      put(`n:${key}`, { group: "nodes", position, locked: true, classes: "number", data: { words, pad: 3 / zoom, label: `${both}${more(half)}`, told } });
    }
  }

  function sentence(view, few) {
    const up = view.hosts.filter((host) => host.state === "up").length;
    const whole = view.connections.filter(([, , both]) => both).length, half = view.connections.length - whole;
    const parts = [];
    if (view.hosts.some((host) => host.state !== "unseen")) {
      parts.push(`${up} of ${count(view.hosts.length, "peer")} up`, `${count(whole, "connection")}${half ? ` and ${half} seen by one side only` : ""}`);
      if (!few && blocks.length > 1) {
        const between = counted(view.connections, blocks).between.reduce((sum, { both }) => sum + both, 0);
        parts.push(`${between} of them between ${blocks.length} blocks`);
      }
    } else parts.push(count(view.hosts.length, "host"));
    if (view.groups.length > 1) parts.push(`${count(view.groups.length, "group")}: ${view.groups.map((group) => group.length).slice(0, 8).join(" | ")}`);
    if (view.agreement) {
      const open = Object.entries(view.agreement).filter(([, agrees]) => !agrees).map(([kind]) => kind);
      parts.push(open.length ? `peers disagree about ${open.join(", ")}` : "all peers of a group agree");
    }
    return `${parts.join("; ")}.`;
  }
  function rows() {
    return table(["host", "peer", "group", "connections", "reaches", "addresses owned", "containers"],
      page.view.hosts.map((host) => [name(host.name), host.state, host.group === null ? "–" : letterOf(host.group),
        String(host.neighbours.length), String(host.reachable), host.share ? percent(host.share) : "–",
        h("bdi", {}, host.containers.map((each) => each.name).sort(natural).join(", "))]), "Hosts");
  }
  function fit() {
    if (!cy) return;
    cy.resize();
    if (placed && page.view.hosts.length > FEW) return cy.viewport({ zoom: placed.zoom, pan: { x: canvas.clientWidth / 2, y: canvas.clientHeight / 2 } });
    const number = page.view.hosts.length;
    cy.fit(cy.nodes(".host"), number > 8 ? 52 : canvas.clientWidth < 500 ? 66 : 88);
  }
  function resize() {
    if (page.view.hosts.length <= 8) return fit();
    made = ""; // names and blocks are as the canvas has room for them
    draw();
  }
  return { root: frame.root, draw, resize, recolour: () => cy?.style(style(page.view.hosts.length, common)) };
}

const radiusOf = (hosts) => Math.max(120, hosts * 15);
/** Where a host's name stands: inside the circle, because its containers stand outside. */
function inward({ x, y }, hosts) {
  if (hosts > 8 && Math.abs(x) > 1.1 * Math.abs(y)) return x < 0 ? "west" : "east";
  return y > 0.3 * radiusOf(hosts) ? "south" : "";
}
const letterOf = (group) => String.fromCharCode(65 + (group % 26));

/** The hosts of a block in a few words. */
const titleOf = (block) => (block.length > 2 ? [block[0], block[block.length - 1]] : block).map((host) => brief(host, 12)).join(block.length > 2 ? " … " : ", ");

/** How many letters all names begin with, digits left out. */
function shared(names) {
  const [first] = names;
  let length = 0;
  while (length < first.length && !/\d/.test(first[length]) && names.every((each) => each[length] === first[length])) length++;
  return names.every((each) => each.length > length) ? length : 0;
}

function style(number, common) {
  const colour = colours(), few = number <= FEW, most = number > 8;
  const text = { "font-family": "system-ui, sans-serif", color: colour.ink, "min-zoomed-font-size": 4 };
  return [
    { selector: "node.host", style: {
      ...text, width: 40, height: 40, "background-color": "data(colour)", "border-width": 2, "border-color": "data(colour)", shape: "data(form)",
      label: "data(label)", "font-size": few ? (number > 16 && common ? 24 : number > 12 ? 20 : most ? 16 : 13) : "data(words)", "text-valign": few ? "bottom" : "center", "text-margin-y": few ? 5 : 0,
      "text-background-color": colour.card, "text-background-opacity": few ? 0.85 : 0, "text-background-padding": 1, ...(few ? {} : { color: "#fff", "text-outline-color": "#222", "text-outline-width": 1.5 }) } },
    { selector: "node.south", style: { "text-valign": "top", "text-margin-y": -5 } },
    { selector: "node.west", style: { "text-valign": "center", "text-halign": "right", "text-margin-x": 5, "text-margin-y": 0 } },
    { selector: "node.east", style: { "text-valign": "center", "text-halign": "left", "text-margin-x": -5, "text-margin-y": 0 } },
    { selector: "node.down", style: { "background-opacity": 0, "border-style": "dashed", "border-color": colour.missed, color: colour.missed, "text-outline-width": 0 } },
    { selector: "node.unseen", style: { "background-opacity": 0.15, "border-style": "dotted" } },
    { selector: "node.container", style: {
      ...text, width: 13, height: 13, "background-color": "data(colour)", label: "data(label)", "font-size": 11, color: colour.muted, shape: "round-rectangle" } },
    { selector: "node.left", style: { "text-halign": "left", "text-valign": "center", "text-margin-x": -4 } },
    { selector: "node.right", style: { "text-halign": "right", "text-valign": "center", "text-margin-x": 4 } },
    { selector: "node.below", style: { "text-valign": "bottom", "text-margin-y": 3 } },
    { selector: "node.above", style: { "text-valign": "top", "text-margin-y": -3 } },
    { selector: "node.block", style: {
      ...text, width: "data(w)", height: "data(h)", shape: "round-rectangle", "background-color": "data(colour)", "background-opacity": 0.12, "border-width": 2,
      "border-color": "data(colour)", "border-opacity": 0.8, label: "data(label)", "font-size": "data(words)", "text-wrap": "wrap", "line-height": 1.2, "z-index": 0,
      "text-background-color": colour.card, "text-background-opacity": 0.9 } },
    { selector: "node.over", style: { "text-valign": "top", "text-margin-y": -4 } },
    { selector: "node.under", style: { "text-valign": "bottom", "text-margin-y": 4 } },
    { selector: "node.mixed", style: { "border-style": "dashed" } },
    { selector: "node.number", style: {
      ...text, width: 1, height: 1, "background-opacity": 0, label: "data(label)", "font-size": "data(words)", "text-valign": "center",
      "text-background-color": colour.card, "text-background-opacity": 1, "text-background-padding": "data(pad)", "text-background-shape": "round-rectangle" } },
    { selector: "edge", style: { "curve-style": "haystack", width: 2.2, "line-color": colour.ink, opacity: few ? 0.6 : 0.35 } },
    { selector: "edge.bundle", style: { "curve-style": "straight", width: "data(wide)", opacity: "data(dim)" } },
    { selector: "edge.half", style: { "line-style": "dashed", "line-color": colour.wrong, opacity: 0.9, "curve-style": "straight" } },
    { selector: "edge.stem", style: { width: 1, "line-color": colour.muted, opacity: 0.5 } },
  ];
}
