/* One episode of the replay: the grid, what the model was sent, thought, answered and gained. */
const REMARKS = {
  valid: () => "",
  unknown_action: (step) => `“${step.candidate}” is no known action, so this was taken instead.`,
  unparsable: () => "The answer could not be parsed, so this was taken instead.",
  fallback: () => "Random: the request failed.",
};
const KINDS = { turn: "turn", forward: "go forward", interact: "pick up, drop, toggle", invalid: "invalid answer", rewarded: "rewarded" };

class Pane {
  constructor(episode, trajectory, series, onSeek) {
    this.episode = episode;
    this.trajectory = trajectory;
    this.world = make("div", { class: "world" });
    this.told = make("div", { class: "told" });
    this.raw = make("pre", { tabindex: 0 });
    this.sent = make("div", { class: "sent" });
    this.prompt = make("details", { class: "prompt" }, make("summary", {}, "What the model saw"), this.sent);
    this.details = make("details", { class: "raw" }, make("summary", {}, "Raw answer"), this.raw);
    const header = make("header", {},
      make("strong", {}, make("i", { class: "dot", "data-series": series }), episode.variant),
      make("span", { class: `badge ${episode.outcome}` }, episode.outcome),
      make("span", { class: "spent" }, spentText(episode)));
    this.element = make("article", { class: "pane", "data-episode": episode.key }, header);
    if (!trajectory) {
      const reason = episode.steps ? "Its steps were not kept." : "No step was played.";
      this.element.append(make("p", { class: "empty" }, reason, " ", endText(episode)));
      return;
    }
    this.strip = makeStrip(trajectory.steps, onSeek);
    this.element.append(this.strip, this.findings(onSeek), this.world, make("div", {}, this.told, this.prompt, this.details));
  }

  get numSteps() { return this.trajectory ? this.trajectory.steps.length : 0; }

  findings(onSeek) {
    const found = Object.entries(this.episode.findings);
    if (!found.length) return "";
    return make("p", { class: "findings" }, "Findings: ", found.map(([name, steps]) =>
      make("button", { type: "button", title: `At ${plural(steps.length, "step")}, first at step ${steps[0]}`, onclick: () => onSeek(steps[0] - 1) },
        steps.length > 1 ? `${name} ×${steps.length}` : name)));
  }

  show(position) {
    if (!this.trajectory) return;
    const state = Math.min(position, this.numSteps);
    const step = this.trajectory.steps[state];
    this.world.replaceChildren(...this.picture(state));
    this.told.replaceChildren(...(step ? stepParts(step) : this.endParts()));
    this.details.hidden = this.prompt.hidden = !step;
    this.raw.textContent = step ? step.output || "(none)" : "";
    this.sent.replaceChildren(...(step ? sentParts(step) : []));
    find(".now", this.strip).setAttribute("x", Math.min(state, this.numSteps - 1));
  }

  picture(state) {
    const grid = this.trajectory.grid;
    if (!grid) {
      return [make("p", {}, "The grid cannot be drawn: the environment at hand does not show what the model saw.")];
    }
    const carrying = worldAt(grid, state).carrying;
    const note = carrying ? `Carrying a ${nameOf(carrying)}. ` : "";
    return [drawWorld(grid, state), make("p", {}, `${note}Shaded cells are out of the agent’s sight.`)];
  }

  endParts() {
    const { episode } = this;
    const copyButton = make("button", { type: "button", class: "copy", onclick: () => copy(episode.command, copyButton) }, "Copy");
    return [
      make("h3", {}, "End of the episode"),
      make("p", { class: "end" }, endText(episode)),
      make("h3", {}, "Play it again ", copyButton),
      make("pre", { class: "command", tabindex: 0 }, episode.command),
      make("h3", {}, "Episode id"),
      make("code", {}, episode.episode_id),
    ];
  }
}

function spentText(episode) {
  const limit = known(episode.max_steps) ? ` of ${whole(episode.max_steps)}` : "";
  return [
    `${whole(episode.steps)}${limit} steps`,
    `return ${score(episode.return)}`,
    `${whole(episode.input_tokens)} + ${whole(episode.output_tokens)} tokens`,
    seconds(episode.duration_s),
    episode.invalid ? plural(episode.invalid, "invalid answer") : null,
    episode.fallbacks ? plural(episode.fallbacks, "random action") : null,
    episode.retries ? plural(episode.retries, "repeated request") : null,
  ].filter(Boolean).join(" · ");
}

function endText(episode) {
  if (episode.outcome === "error") return `No score, ${episode.kind} error: ${episode.message}`;
  const reached = `Progression ${score(episode.progression)}, wanted ${score(episode.threshold)}`;
  const end = episode.steps >= episode.max_steps ? "the step limit was reached" : "the task ended";
  return `${reached}: ${end} after ${plural(episode.steps, "step")}, return ${score(episode.return)}.`;
}

function stepParts(step) {
  const lines = (step.observation || "").split("\n").filter((line) => line.trim());
  const remark = (REMARKS[step.status] || REMARKS.valid)(step);
  const quote = (title, name, text) => (text ? [make("h3", {}, title), make("blockquote", { class: name }, text)] : []);
  const spent = [
    `${whole(step.latency)} ms`,
    `${whole(step.inputTokens)} + ${whole(step.outputTokens)} tokens`,
    step.cost ? `$${step.cost.toPrecision(2)}` : null,
    `finish reason ${step.finishReason || DASH}`,
    step.model,
  ];
  return [
    make("h3", {}, "Observation"),
    lines.length ? make("ul", { class: "observation" }, lines.map((line) => make("li", {}, line)))
      : make("p", { class: "observation" }, "Nothing in sight"),
    ...quote("Reasoning", "reasoning", step.reasoning),
    ...quote("Thinking", "thinking", step.thinking),
    make("h3", {}, "Action"),
    make("div", { class: "action" }, make("b", {}, step.action),
      make("span", { class: "reward" }, `reward ${score(step.reward)}`)),
    ...(remark ? [make("p", { class: "remark" }, remark)] : []),
    make("p", { class: "spent" }, spent.filter(Boolean).join(" · ")),
  ];
}

function sentParts(step) {
  if (!step.messages.length) return [make("p", {}, "Not known: the run did not keep the templates of this variant.")];
  return step.messages.flatMap(({ role, text }) => [make("h3", {}, `${role} message`), make("pre", { class: role, tabindex: 0 }, text)]);
}

/* A column a step, colored by what was done; a click goes there. */
function makeStrip(steps, onSeek) {
  const kind = (step) => {
    if (step.status !== "valid") return "invalid";
    if (step.reward > 0) return "rewarded";
    if (step.action.startsWith("turn")) return "turn";
    return step.action === "go forward" ? "forward" : "interact";
  };
  const marks = steps.map((step, position) =>
    draw("rect", { x: position, y: 0, width: 1, height: 1, class: kind(step) },
      draw("title", {}, `${position + 1}: ${step.action}`)));
  const now = draw("rect", { x: 0, y: 0, width: 1, height: 1, class: "now" });
  const svg = draw("svg", {
    viewBox: `0 0 ${steps.length} 1`, preserveAspectRatio: "none", "aria-hidden": "true",
    onclick: (event) => {
      const box = svg.getBoundingClientRect();
      onSeek(Math.floor(((event.clientX - box.left) / box.width) * steps.length));
    },
  }, marks, now);
  const legend = make("p", { class: "legend" }, Object.entries(KINDS).map(([name, title]) =>
    make("span", {}, make("i", { class: name }), title)));
  return make("div", { class: "strip" }, svg, legend);
}
