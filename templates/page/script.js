"use strict";
(() => {
  const all = JSON.parse(document.getElementById("data").textContent);
  const HOW = ["identity", "transformation", "aggregation", "join", "group by", "filter", "sort", "window", "conditional"];
  const isValue = (how) => how < 3;
  const by = (id) => document.getElementById(id);
  const make = (name, attributes, ...children) => {
    const svg = ["svg", "g", "path", "rect", "text", "title", "circle"].includes(name);
    const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const encode = (name) => encodeURIComponent(name).replace(/[!'()*.~]/g, (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase());
  const go = (path) => { location.hash = "#/" + path; };
  const columnPath = (relation, column) => all[relation].path + "/" + encode(all[relation].columns[column][0]);

  // Who reads what: the other way round.
  const reads = all.map(() => new Set());
  const readBy = all.map(() => new Set());
  const usedBy = all.map((one) => one.columns.map(() => []));
  all.forEach((one, number) => {
    const note = (origins, column) => {
      for (const [relation, of, how] of origins) {
        if (relation !== number) { reads[number].add(relation); readBy[relation].add(number); }
        if (of >= 0 && column >= 0) usedBy[relation][of].push([number, column, how]);
      }
    };
    one.columns.forEach((column, place) => note(column[1], place));
    note(one.rows, -1);
  });
  const closure = (start, next) => {
    const seen = new Set(), open = [...next[start]];
    while (open.length) {
      const one = open.pop();
      if (!seen.has(one)) { seen.add(one); open.push(...next[one]); }
    }
    return seen;
  };

  // The drawing. Ranks and their order were computed when the page was written.
  const WIDTH = 176, GAP = 50, HEAD = 28, ROW = 20, AIR = 14, COMPACT = 38;
  const cut = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);

  function place(nodes, columnsOf) {
    const ranks = [...new Set([...nodes].map((n) => all[n].rank))].sort((a, b) => a - b);
    const everything = nodes.size === all.length && [...nodes].every((n) => !columnsOf(n).length);
    const spots = new Map();
    const columns = ranks.map((rank) => [...nodes].filter((n) => all[n].rank === rank).sort((a, b) => all[a].y - all[b].y || a - b));
    const heightOf = (n) => HEAD + (columnsOf(n).length ? columnsOf(n).length * ROW + 6 : 0);
    let height = 0, width = 0;
    if (everything) {
      columns.forEach((column, x) => column.forEach((n) => {
        const y = Math.round(all[n].y / 1.35 * COMPACT);
        spots.set(n, { x: x * (WIDTH + GAP), y, height: HEAD });
        height = Math.max(height, y + HEAD);
      }));
    } else {
      const heights = columns.map((column) => column.reduce((sum, n) => sum + heightOf(n) + AIR, -AIR));
      height = Math.max(...heights);
      columns.forEach((column, x) => {
        let y = Math.round((height - heights[x]) / 2);
        for (const n of column) {
          spots.set(n, { x: x * (WIDTH + GAP), y, height: heightOf(n) });
          y += heightOf(n) + AIR;
        }
      });
    }
    width = ranks.length * (WIDTH + GAP) - GAP;
    return { spots, width, height };
  }

  const curve = (x1, y1, x2, y2, begins) => {
    const bend = Math.max(24, Math.min(80, (x2 - x1) / 2));
    return `${begins ? `M${x1} ${y1}` : ""}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  };

  // A line over several ranks goes between the boxes that stand there, where it would run across one at the height
  // nearest to it that is free.
  function way(from, y1, to, y2, ranks) {
    const between = ranks.filter((rank) => rank.x > from.x && rank.x < to.x);
    let x = from.x + WIDTH, y = y1, path = "";
    between.forEach((rank, step) => {
      const wished = y1 + (y2 - y1) * (step + 1) / (between.length + 1);
      const free = lane(rank.boxes, wished);
      path += curve(x, y, rank.x, free, !path) + `H${rank.x + WIDTH}`;
      x = rank.x + WIDTH;
      y = free;
    });
    return path + curve(x, y, to.x, y2, !path);
  }

  const SIDE = 5;
  function lane(boxes, wished) {
    const hit = (y) => boxes.some((box) => y > box.y - SIDE && y < box.y + box.height + SIDE);
    if (!hit(wished)) return wished;
    const edges = boxes.flatMap((box) => [box.y - SIDE, box.y + box.height + SIDE]);
    return edges.filter((y) => !hit(y)).sort((a, b) => Math.abs(a - wished) - Math.abs(b - wished))[0];
  }

  // What to draw: nodes, the columns shown of each, lines between columns or relations.
  function draw(view) {
    const shown = new Map([...view.nodes].map((n) => [n, (view.columns && view.columns.get(n)) || []]));
    const { spots, width, height } = place(view.nodes, (n) => shown.get(n));
    const graph = by("graph");
    // It shrinks a little where that shows all of it; what is wider still is scrolled.
    const scale = Math.max(.74, Math.min(1, (graph.clientWidth - 34) / (width + 2)));
    const root = make("svg", { width: (width + 2) * scale, height: (height + 2 + 2 * SIDE) * scale, viewBox: `-1 ${-1 - SIDE} ${width + 2} ${height + 2 + 2 * SIDE}` });
    const lines = make("g", {}), boxes = make("g", {});
    const at = (n, column) => {
      const spot = spots.get(n), place = shown.get(n).findIndex((one) => one.column === column);
      return spot.y + (column === undefined || place < 0 ? HEAD / 2 : HEAD + place * ROW + ROW / 2);
    };
    const ranks = [...new Set([...spots.values()].map((spot) => spot.x))].sort((a, b) => a - b)
      .map((x) => ({ x, boxes: [...spots.values()].filter((spot) => spot.x === x) }));
    for (const line of view.lines) {
      const from = spots.get(line.from[0]), to = spots.get(line.to[0]);
      if (!from || !to) continue;
      const path = make("path", {
        class: "edge " + (line.kind || ""),
        d: way(from, at(...line.from), to, at(...line.to), ranks),
        "data-from": line.from[0], "data-to": line.to[0],
      });
      if (line.said) path.append(make("title", {}, line.said));
      lines.append(path);
    }
    for (const n of view.nodes) {
      const one = all[n], spot = spots.get(n);
      const node = make("g", { class: "node" + (view.start === n ? " lit" : ""), "data-number": n, transform: `translate(${spot.x} ${spot.y})` });
      node.append(
        make("title", {}, one.name + (one.said ? "\n" + one.said : "")),
        make("rect", { class: "box", width: WIDTH, height: spot.height, rx: 6 }),
        make("rect", { class: "stripe-" + one.layer, width: 4, height: spot.height, rx: 2 }),
        make("text", { class: "name", x: 13, y: HEAD / 2 + .5 }, cut(one.name, one.tone ? 20 : 22)),
      );
      if (one.tone) node.append(make("circle", { class: "tone-" + one.tone, cx: WIDTH - 11, cy: HEAD / 2, r: 3.5 }));
      node.addEventListener("click", () => go(one.path));
      shown.get(n).forEach(({ column, tone }, place) => {
        const [name, , type, said] = one.columns[column];
        const y = HEAD + place * ROW;
        const row = make("g", { class: "column " + (tone || ""), "data-column": name });
        row.append(
          make("title", {}, name + (type ? "  " + type : "") + (said ? "\n" + said : "")),
          make("rect", { class: "cell", x: 5, y, width: WIDTH - 6, height: ROW, rx: 3 }),
          make("text", { x: 13, y: y + ROW / 2 + .5 }, cut(name, 24)),
        );
        row.addEventListener("click", (event) => { event.stopPropagation(); go(columnPath(n, column)); });
        node.append(row);
      });
      if (!view.columns) {
        const touch = (on) => {
          for (const path of lines.children) {
            const near = path.dataset.from == n || path.dataset.to == n;
            path.classList.toggle("value", on && near);
            path.classList.toggle("faint", on && !near);
          }
        };
        node.addEventListener("mouseenter", () => touch(true));
        node.addEventListener("mouseleave", () => touch(false));
      }
      boxes.append(node);
    }
    root.append(lines, boxes);
    graph.replaceChildren(root);
    const spot = spots.get(view.start);
    if (spot) {
      graph.scrollLeft = (spot.x + WIDTH / 2) * scale - graph.clientWidth / 2;
      graph.scrollTop = spot.y * scale + Math.min(spot.height * scale, graph.clientHeight) / 2 - graph.clientHeight / 2;
    } else graph.scrollTo(0, 0);
  }

  const relationLines = (nodes) => {
    const lines = [];
    for (const n of nodes) for (const from of reads[n]) if (nodes.has(from)) lines.push({ from: [from], to: [n] });
    return lines;
  };

  const everything = () => {
    const nodes = new Set(all.keys());
    return { nodes, lines: relationLines(nodes) };
  };

  // A relation among those that it comes from and those that come from it; its own columns open.
  const ofRelation = (n) => {
    const nodes = new Set([n, ...closure(n, reads), ...closure(n, readBy)]);
    const columns = new Map([[n, all[n].columns.map((_, column) => ({ column }))]]);
    return { nodes, columns, start: n, lines: relationLines(nodes) };
  };

  // A column's path: what its values come from, back to the source, and what comes from it. What decides is a step
  // away from each, and is not followed further.
  const ofColumn = (n, column) => {
    const lit = new Map(), lines = [], key = (a, b) => a + ":" + b;
    const add = (relation, place, tone) => {
      const id = key(relation, place);
      const had = lit.get(id);
      if (!had || (had.tone === "deciding" && tone !== "deciding")) lit.set(id, { relation, column: place, tone });
      return !had;
    };
    const nodes = new Set([n]), up = [[n, column]], down = [[n, column]];
    add(n, column, "lit start");
    const seenUp = new Set([key(n, column)]), seenDown = new Set([key(n, column)]);
    const deciders = by("deciders").checked;
    const decides = (to, origins) => {
      if (!deciders) return;
      for (const [relation, of, how] of origins) {
        if (isValue(how) || of < 0 || relation === to[0]) continue;
        nodes.add(relation);
        add(relation, of, "deciding");
        lines.push({ from: [relation, of], to, kind: "decides", said: HOW[how] });
      }
    };
    while (up.length) {
      const [relation, place] = up.pop(), one = all[relation];
      for (const [from, of, how] of one.columns[place][1]) {
        if (!isValue(how)) continue;
        nodes.add(from);
        lines.push({ from: of < 0 ? [from] : [from, of], to: [relation, place], kind: "value", said: HOW[how] });
        if (of < 0 || seenUp.has(key(from, of))) continue;
        seenUp.add(key(from, of));
        add(from, of, "lit");
        up.push([from, of]);
      }
      decides([relation, place], one.columns[place][1]);
      if (relation === n) decides([relation], one.rows);
    }
    while (down.length) {
      const [relation, place] = down.pop();
      for (const [to, of, how] of usedBy[relation][place]) {
        if (!isValue(how)) continue;
        nodes.add(to);
        lines.push({ from: [relation, place], to: [to, of], kind: "value", said: HOW[how] });
        if (seenDown.has(key(to, of))) continue;
        seenDown.add(key(to, of));
        add(to, of, "lit");
        down.push([to, of]);
      }
    }
    const columns = new Map();
    for (const one of lit.values()) {
      if (!columns.has(one.relation)) columns.set(one.relation, []);
      columns.get(one.relation).push(one);
    }
    for (const list of columns.values()) list.sort((a, b) => a.column - b.column);
    const drawn = new Set();
    const once = lines.filter((line) => {
      const id = JSON.stringify([line.from, line.to, line.kind]);
      return !drawn.has(id) && drawn.add(id);
    });
    return { nodes, columns, start: n, lines: once };
  };

  // Addresses: #/, #/schema/relation, #/schema/relation/column.
  const paths = new Map(all.map((one, number) => [one.path, number]));
  let current;
  function show() {
    const parts = location.hash.replace(/^#\/?/, "").split("/").filter((part) => part !== "");
    const n = parts.length ? paths.get(parts.slice(0, 2).join("/")) : undefined;
    const found = parts.length < 3 || n === undefined ? -1 : all[n].columns.findIndex((one) => encode(one[0]) === parts[2]);
    const column = found < 0 ? undefined : found;
    const missing = parts.length > 0 && n === undefined;
    by("overview").hidden = n !== undefined || missing;
    by("nothing").hidden = !missing;
    for (const old of document.querySelectorAll(".relation:not([hidden])")) old.hidden = true;
    for (const old of document.querySelectorAll("nav [aria-current]")) old.removeAttribute("aria-current");
    for (const old of document.querySelectorAll("tr.chosen")) old.classList.remove("chosen");
    const trail = by("trail");
    trail.replaceChildren(n === undefined ? "Lineage" : make("a", { href: "#/" }, "Lineage"));
    if (n !== undefined) {
      by("relation-" + n).hidden = false;
      const link = document.querySelector(`nav [data-number="${n}"]`);
      link.setAttribute("aria-current", "page");
      trail.append(" › ", column === undefined ? all[n].name : make("a", { href: "#/" + all[n].path }, all[n].name));
      if (column !== undefined) {
        trail.append(" › ", all[n].columns[column][0]);
        by("relation-" + n).querySelectorAll(".columns tbody tr")[column].classList.add("chosen");
      }
    }
    document.title = (n === undefined ? "" : all[n].name + " · ") + document.querySelector(".home").textContent;
    by("deciders").parentElement.hidden = column === undefined;
    draw(column !== undefined ? ofColumn(n, column) : n !== undefined ? ofRelation(n) : everything());
    if (current !== n) scrollTo(0, 0);
    current = n;
  }

  // Search: names first, then what is said of them.
  const index = [];
  all.forEach((one, number) => {
    index.push({ name: one.name, of: one.kind, said: one.said, path: one.path, weight: 0 });
    one.columns.forEach((column, place) => {
      index.push({ name: column[0], of: one.name, said: column[3], path: columnPath(number, place), weight: 1 + (3 - one.layer) * .1 });
    });
  });
  for (const one of index) one.low = [one.name.toLowerCase(), (one.of + "." + one.name).toLowerCase(), one.said.toLowerCase()];
  const input = by("search"), found = by("found");
  let chosen = 0;
  function search() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    found.replaceChildren();
    found.hidden = words.length === 0;
    if (!words.length) return;
    const scored = [];
    for (const one of index) {
      let score = one.weight;
      for (const word of words) {
        const [name, whole, said] = one.low;
        if (name === word) score += 0;
        else if (name.startsWith(word)) score += 2;
        else if (name.includes(word)) score += 4;
        else if (whole.includes(word)) score += 6;
        else if (said.includes(word)) score += 9;
        else { score = Infinity; break; }
      }
      if (score < Infinity) scored.push([score, one]);
    }
    scored.sort((a, b) => a[0] - b[0] || (a[1].name < b[1].name ? -1 : 1));
    for (const [, one] of scored.slice(0, 40)) {
      const link = make("a", { href: "#/" + one.path }, make("b", {}, one.name), make("span", {}, one.of));
      if (one.said) link.append(make("small", {}, one.said));
      found.append(make("li", {}, link));
    }
    if (!scored.length) found.append(make("li", { class: "none" }, "Nothing found."));
    choose(0);
  }
  function choose(number) {
    const links = found.querySelectorAll("a");
    if (!links.length) return;
    chosen = (number + links.length) % links.length;
    links.forEach((link, place) => link.setAttribute("aria-selected", place === chosen));
    links[chosen].scrollIntoView({ block: "nearest" });
  }
  const leave = () => { found.hidden = true; input.blur(); };
  input.addEventListener("input", search);
  input.addEventListener("focus", search);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else if (event.key === "Escape") leave();
    else if (event.key === "Enter") {
      const link = found.querySelectorAll("a")[chosen];
      if (link && !found.hidden) { location.hash = link.hash; leave(); }
    } else return;
    event.preventDefault();
  });
  found.addEventListener("click", (event) => { if (event.target.closest("a")) leave(); });
  document.addEventListener("click", (event) => { if (!event.target.closest(".search")) found.hidden = true; });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== input) { event.preventDefault(); input.focus(); }
  });

  by("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  // Times as the reader's clock has them, with how long ago that is.
  for (const time of document.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    if (isNaN(at)) continue;
    const seconds = (Date.now() - at) / 1000;
    const [number, unit] = seconds < 3600 ? [seconds / 60, "minute"] : seconds < 86400 ? [seconds / 3600, "hour"] : [seconds / 86400, "day"];
    time.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
    time.title = time.dateTime + ", " + new Intl.RelativeTimeFormat("en").format(-Math.round(number), unit);
  }

  by("deciders").addEventListener("change", show);
  let resized;
  addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(show, 150); });
  addEventListener("hashchange", show);
  show();
})();
