/* The table of episodes: sorting, filters, and the order in which replays follow each other. */
const PAGE = 200;
const OUTCOMES = ["error", "failed", "passed"];

const COLUMNS = [
  { name: "outcome", title: "Outcome", left: true },
  { name: "variant", title: "Variant", left: true },
  { name: "task", title: "Task", left: true },
  { name: "seed", title: "Seed" },
  { name: "mission", title: "Mission or error", left: true },
  { name: "return", title: "Return", format: score },
  { name: "steps", title: "Steps", format: whole },
  { name: "input_tokens", title: "Tokens in", format: whole },
  { name: "output_tokens", title: "Tokens out", format: whole },
  { name: "invalid", title: "Invalid", format: whole },
  { name: "duration_s", title: "Time", format: seconds },
];

class EpisodeTable {
  constructor(index, section) {
    this.all = index.episodes;
    this.section = section;
    this.form = find("form", section);
    this.body = find("tbody", section);
    this.sort = null;
    this.numShown = PAGE;
    this.ranks = {
      variant: rankOf(index.variants), task: rankOf(index.tasks), outcome: rankOf(OUTCOMES),
    };
    this.fillFilters();
    this.makeHead();
    this.form.addEventListener("input", () => this.refresh());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    find(".more", section).addEventListener("click", () => { this.numShown = Infinity; this.refresh(); });
    this.refresh();
    section.hidden = false;
  }

  fillFilters() {
    for (const name of ["variant", "task", "outcome"]) {
      const present = new Set(this.all.map((episode) => episode[name]));
      const values = [...this.ranks[name].keys()].filter((value) => present.has(value));
      this.form.elements[name].append(make("option", { value: "" }, "all"),
        ...values.map((value) => make("option", { value }, value)));
    }
  }

  makeHead() {
    this.heads = COLUMNS.map((column) =>
      make("th", { scope: "col", class: column.left ? "left" : null, "data-column": column.name },
        make("button", { type: "button", onclick: () => this.sortBy(column.name) }, column.title)));
    find("thead", this.section).append(make("tr", {}, this.heads));
  }

  sortBy(name) {
    const descending = this.sort && this.sort.name === name && !this.sort.descending;
    this.sort = { name, descending };
    this.heads.forEach((head) => {
      if (head.dataset.column !== name) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    });
    this.refresh();
  }

  refresh() {
    const found = this.all.filter((episode) => this.matches(episode));
    this.visible = found.sort((left, right) => this.compare(left, right));
    const shown = this.visible.slice(0, this.numShown);
    this.body.replaceChildren(...shown.map((episode) => this.row(episode)));
    const all = this.all.length;
    find("output", this.form).textContent =
      found.length === all ? plural(all, "episode") : `${whole(found.length)} of ${plural(all, "episode")}`;
    const more = find(".more", this.section);
    more.hidden = shown.length === found.length;
    more.textContent = `Show all ${whole(found.length)}`;
  }

  matches(episode) {
    const { variant, task, outcome, text } = this.form.elements;
    const chosen = (input, value) => !input.value || input.value === value;
    if (!chosen(variant, episode.variant) || !chosen(task, episode.task)) return false;
    if (!chosen(outcome, episode.outcome)) return false;
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const searched = [episode.key, episode.mission, episode.kind, episode.message, episode.episode_id]
      .join(" ").toLowerCase();
    return words.every((word) => searched.includes(word));
  }

  compare(left, right) {
    if (this.sort) {
      const { name, descending } = this.sort;
      const order = this.compareBy(name, left, right, descending);
      if (order) return order;
    }
    for (const name of ["outcome", "variant", "task", "seed"]) {
      const order = this.compareBy(name, left, right, false);
      if (order) return order;
    }
    return 0;
  }

  /* What is not known comes last, whichever way the column is sorted. */
  compareBy(name, left, right, descending) {
    const rank = this.ranks[name];
    const value = (episode) => {
      if (rank) return rank.get(episode[name]);
      return name === "mission" ? missionOf(episode) : episode[name];
    };
    const [a, b] = [value(left), value(right)];
    if (!known(a) || !known(b)) return known(b) - known(a);
    const order = a < b ? -1 : Number(a > b);
    return descending ? -order : order;
  }

  row(episode) {
    const link = episodeHash({ episode: episode.key });
    const cells = COLUMNS.map((column) => {
      const value = column.name === "mission" ? missionOf(episode) : episode[column.name];
      const text = column.format ? column.format(value) : known(value) ? String(value) : DASH;
      return make("td", { class: column.name === "mission" ? "mission" : column.left ? "left" : null,
        title: column.name === "mission" ? text : null }, this.cell(column.name, text, link, episode));
    });
    return make("tr", { "data-episode": episode.key, onclick: () => { location.hash = link; } }, cells);
  }

  cell(name, text, link, episode) {
    if (name === "variant") {
      const dot = make("span", { class: "dot", "data-series": this.seriesOf(episode.variant) });
      return [dot, make("a", { href: link }, text)];
    }
    return name === "outcome" ? make("span", { class: `badge ${text}` }, text) : text;
  }

  seriesOf(variant) { return this.ranks.variant.get(variant) % 8; }

  neighbor(episode, offset) {
    return this.visible[this.visible.indexOf(episode) + offset] || null;
  }
}

const missionOf = (episode) => episode.mission || [episode.kind, episode.message].filter(Boolean).join(": ");

function rankOf(values) {
  return new Map(values.map((value, rank) => [value, rank]));
}
