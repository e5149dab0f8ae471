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
