/* Data of the report: deflated JSON in base64, unpacked when it is asked for; few are kept. */
const NUM_KEPT = 12;
const unpacked = new Map();

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

function load(name) {
  const found = unpacked.get(name) || read(name);
  unpacked.delete(name);
  unpacked.set(name, found);
  if (unpacked.size > NUM_KEPT) unpacked.delete(unpacked.keys().next().value);
  return found;
}

function read(name) {
  const element = find(`script[data-name="${CSS.escape(name)}"]`);
  return element ? unpack(element.textContent) : Promise.resolve(null);
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
    reasoning: text("reasoning", position),
    output: text("output", position),
    candidate: text("candidate", position),
    action: text("action", position),
    status: text("status", position),
    finishReason: text("finish_reason", position),
    model: text("model", position),
    reward: found.steps.reward[position],
    latency: found.steps.latency_ms[position],
    inputTokens: found.steps.input_tokens[position],
    outputTokens: found.steps.output_tokens[position],
    cost: found.steps.cost[position],
    messages: (found.messages[position] || []).map(([role, ...lines]) =>
      ({ role, text: lines.map((line) => scene.strings[line]).join("\n") })),
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

/* The keys of the episodes whose transcripts have all words in one text; scene by scene, none kept. */
async function searchTranscripts(words, isWanted) {
  const found = new Set();
  for (const element of document.querySelectorAll('script[data-name^="scene-"]')) {
    if (!isWanted()) return null;
    const scene = await unpack(element.textContent);
    const hits = new Set();
    scene.strings.forEach((text, position) => {
      const lower = String(text || "").toLowerCase();
      if (words.every((word) => lower.includes(word))) hits.add(position);
    });
    if (!hits.size) continue;
    for (const [key, { steps, messages }] of Object.entries(scene.episodes)) {
      const columns = [steps.observation, steps.thinking, steps.reasoning, steps.output, steps.candidate, steps.action];
      const isHit = (position) => hits.has(position);
      if (columns.some((column) => column.some(isHit)) || messages.some((sent) => sent.some((message) => message.some(isHit)))) found.add(key);
    }
  }
  return found;
}
