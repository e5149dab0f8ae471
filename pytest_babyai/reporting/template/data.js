/* Data of the report: deflated JSON in base64, unpacked when it is first asked for. */
const unpacked = new Map();

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

function load(name) {
  if (!unpacked.has(name)) {
    const element = find(`script[data-name="${CSS.escape(name)}"]`);
    unpacked.set(name, element ? unpack(element.textContent) : Promise.resolve(null));
  }
  return unpacked.get(name);
}

/* An episode's trajectory with its texts and grid, null where its steps were not kept. */
async function loadTrajectory(episode) {
  const scene = episode.scene && (await load(`scene-${episode.scene}`));
  const found = scene && scene.episodes[episode.key];
  if (!found) return null;
  const text = (column, position) => scene.strings[found.steps[column][position]];
  const steps = found.steps.action.map((_, position) => ({
    observation: text("observation", position),
    thinking: text("thinking", position),
    output: text("output", position),
    candidate: text("candidate", position),
    action: text("action", position),
    status: text("status", position),
    reward: found.steps.reward[position],
    latency: found.steps.latency_ms[position],
    inputTokens: found.steps.input_tokens[position],
    outputTokens: found.steps.output_tokens[position],
  }));
  return { steps, mission: found.mission, grid: found.grid && readGrid(found.grid, scene) };
}

function readGrid(grid, scene) {
  const layout = scene.layouts[grid.layout];
  return {
    width: layout.width,
    height: layout.height,
    cells: layout.cells.map((thing) => scene.things[thing]),
    poses: grid.poses,
    changes: grid.changes.map(([state, cell, thing]) => [state, cell, scene.things[thing]]),
    carried: grid.carried.map(([state, thing]) => [state, scene.things[thing]]),
  };
}
