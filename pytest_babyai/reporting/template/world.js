/* The grid at any state of an episode, and which of its cells the agent sees. */
const AHEAD = [[1, 0], [0, 1], [-1, 0], [0, -1]];
const HEADINGS = ["right", "down", "left", "up"];
const VIEW_SIZE = 7;
const REACH = 3;

function placeOf(grid, state) {
  const pose = grid.poses[state];
  const cell = Math.floor(pose / 4);
  return { x: cell % grid.width, y: Math.floor(cell / grid.width), direction: pose % 4 };
}

function worldAt(grid, state) {
  const cells = grid.cells.slice();
  for (const [since, cell, thing] of grid.changes) if (since <= state) cells[cell] = thing;
  let carrying = null;
  for (const [since, thing] of grid.carried) if (since <= state) carrying = thing;
  return { width: grid.width, height: grid.height, cells, carrying, agent: placeOf(grid, state) };
}

function isOpaque(thing) {
  return Boolean(thing) && (thing.type === "wall" || (thing.type === "door" && thing.state !== "open"));
}

/* Minigrid's rule of sight: light spreads sideways through clear cells of a row, and from each lit
   clear cell to the three nearest cells of the row ahead. */
function visibleCells(world) {
  const { x, y, direction } = world.agent;
  const [aheadX, aheadY] = AHEAD[direction];
  const [rightX, rightY] = AHEAD[(direction + 1) % 4];
  const cellAt = (right, ahead) => {
    const column = x + ahead * aheadX + right * rightX;
    const row = y + ahead * aheadY + right * rightY;
    const inside = column >= 0 && column < world.width && row >= 0 && row < world.height;
    return inside ? row * world.width + column : -1;
  };
  const visible = new Set();
  let lit = new Set([0]);
  for (let ahead = 0; ahead < VIEW_SIZE; ahead += 1) {
    const isClear = (right) => {
      const cell = cellAt(right, ahead);
      return cell >= 0 && !isOpaque(world.cells[cell]);
    };
    const spread = (right) => [right - 1, right + 1].filter((side) => Math.abs(side) <= REACH);
    const queue = [...lit];
    while (queue.length) {
      const right = queue.pop();
      if (!isClear(right)) continue;
      for (const side of spread(right)) if (!lit.has(side)) { lit.add(side); queue.push(side); }
    }
    for (const right of lit) if (cellAt(right, ahead) >= 0) visible.add(cellAt(right, ahead));
    const next = new Set();
    for (const right of lit) if (isClear(right)) for (const side of [right, ...spread(right)]) next.add(side);
    lit = next;
  }
  return visible;
}
/* A world as SVG. */
const CELL = 32;

const SHAPES = {
  ball: () => [draw("circle", { cx: 16, cy: 16, r: 9, class: "fill" })],
  box: () => [
    draw("rect", { x: 6.5, y: 6.5, width: 19, height: 19, rx: 2.5, class: "tint" }),
    draw("path", { d: "M6.5 16h19", class: "stroke" }),
  ],
  key: () => [
    draw("circle", { cx: 11.5, cy: 11.5, r: 5, class: "stroke" }),
    draw("path", { d: "M15 15l9.5 9.5m-3.5-3.5l3.4-3.4m-6.4.4l3-3", class: "stroke" }),
  ],
  door: (state) => {
    if (state === "open") return [draw("rect", { x: 2, y: 2, width: 5, height: 28, class: "fill" })];
    const frame = draw("rect", { x: 3, y: 3, width: 26, height: 26, rx: 2, class: "tint" });
    if (state === "locked") {
      return [frame, draw("path", { d: "M16 11.5a2.8 2.8 0 0 1 1.5 5.2l1 6h-5l1-6a2.8 2.8 0 0 1 1.5-5.2z", class: "fill" })];
    }
    return [frame, draw("circle", { cx: 23, cy: 16, r: 2.2, class: "fill" })];
  },
};

function drawThing(thing, x, y, scale = 1) {
  const shape = SHAPES[thing.type];
  if (!shape) return null;
  const place = `translate(${x} ${y}) scale(${scale})`;
  return draw("g", { class: `thing ${thing.color}`, transform: place }, shape(thing.state));
}

function nameOf(thing) {
  return [thing.state, thing.color, thing.type].filter(Boolean).join(" ");
}

function drawWorld(grid, state) {
  const world = worldAt(grid, state);
  const { x, y, direction } = world.agent;
  const seen = visibleCells(world);
  const floor = draw("g"), things = draw("g"), fog = draw("g");
  world.cells.forEach((thing, cell) => {
    const left = (cell % world.width) * CELL, top = Math.floor(cell / world.width) * CELL;
    const square = { x: left, y: top, width: CELL, height: CELL };
    if (thing && thing.type === "wall") return;
    floor.append(draw("rect", { ...square, class: "floor" }));
    const drawn = thing && drawThing(thing, left, top);
    if (drawn) things.append(fill(drawn, {}, [draw("title", {}, nameOf(thing))]));
    if (!seen.has(cell)) fog.append(draw("rect", { ...square, class: "fog" }));
  });
  const center = `translate(${(x + 0.5) * CELL} ${(y + 0.5) * CELL}) rotate(${direction * 90})`;
  const agent = draw("path", { class: "agent", d: "M12 0L-9.5 9.5L-5 0L-9.5 -9.5z", transform: center });
  const held = world.carrying && drawThing(world.carrying, (x + 0.5) * CELL, y * CELL, 0.5);
  const label = `Agent at column ${x}, row ${y}, facing ${HEADINGS[direction]}`
    + (world.carrying ? `, carrying a ${nameOf(world.carrying)}` : "");
  const size = `0 0 ${world.width * CELL} ${world.height * CELL}`;
  const parts = [floor, drawTrail(grid, state), things, fog, agent, held];
  return draw("svg", { viewBox: size, role: "img", "aria-label": label }, parts);
}

function drawTrail(grid, state) {
  const points = [];
  for (let past = 0; past <= state; past += 1) {
    const { x, y } = placeOf(grid, past);
    points.push(`${(x + 0.5) * CELL},${(y + 0.5) * CELL}`);
  }
  return draw("polyline", { class: "trail", points: points.join(" ") });
}
