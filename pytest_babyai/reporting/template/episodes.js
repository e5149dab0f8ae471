/* The table of episodes: filters, sorting and pages, all in the address; and the order of replays. */
const PAGE = 100;
const FILTERS = ["variant", "task", "seed", "outcome", "finding", "won", "lost"];
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
const EXPORTED = ["key", "variant", "task", "seed", "outcome", "kind", "message", "mission", "progression", "threshold",
  "return", "steps", "max_steps", "invalid", "fallbacks", "retries", "input_tokens", "output_tokens", "cost", "duration_s",
  "episode_id", "findings", "command"];

const missionOf = (episode) => episode.mission || [episode.kind, episode.message].filter(Boolean).join(": ");
const rankOf = (values) => new Map(values.map((value, rank) => [value, rank]));

class EpisodeTable {
  constructor(index, section) {
    this.index = index;
    this.all = index.episodes;
    this.section = section;
    this.form = find("form", section);
    this.body = find("tbody", section);
    this.pages = find(".pages", section);
    this.ranks = { variant: rankOf(index.variants), task: rankOf(index.tasks), outcome: rankOf(OUTCOMES) };
    this.outcomes = new Map(this.all.map((episode) => [`${episode.variant}\n${episode.task}\n${episode.seed}`, episode.outcome]));
    this.transcripts = { query: "", keys: null };
    this.fillFilters();
    this.makeHead();
    this.form.addEventListener("input", () => this.onInput());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("reset", (event) => { event.preventDefault(); this.go(Object.fromEntries([...FILTERS, "text", "deep", "page"].map((name) => [name, null]))); });
    find(".csv", section).addEventListener("click", () => this.download());
    this.follow();
    section.hidden = false;
  }

  fillFilters() {
    const present = (name) => [...new Set(this.all.map((episode) => episode[name]))];
    const options = {
      variant: this.index.variants, task: this.index.tasks,
      seed: present("seed").sort((a, b) => a - b),
      outcome: OUTCOMES.filter((outcome) => present("outcome").includes(outcome)),
      finding: this.index.findings.filter((name) => this.all.some((episode) => name in episode.findings)),
      won: this.index.variants, lost: this.index.variants,
    };
    for (const [name, values] of Object.entries(options)) {
      const first = name === "won" || name === "lost" ? DASH : "all";
      this.form.elements[name].append(make("option", { value: "" }, first),
        ...values.map((value) => make("option", { value }, String(value))));
    }
  }

  makeHead() {
    this.heads = COLUMNS.map((column) =>
      make("th", { scope: "col", class: column.left ? "left" : null, "data-column": column.name },
        make("button", { type: "button", onclick: () => this.sortBy(column.name) }, column.title)));
    find("thead", this.section).append(make("tr", {}, this.heads));
  }

  /* Changes what the address says, and shows it. */
  go(changes) {
    const hash = hashWith({ page: null, ...changes });
    history.replaceState(null, "", hash === "#" ? location.pathname + location.search : hash);
    this.follow();
  }

  onInput() {
    const { text, deep } = this.form.elements;
    const chosen = Object.fromEntries(FILTERS.map((name) => [name, this.form.elements[name].value]));
    this.go({ ...chosen, text: text.value, deep: deep.checked ? 1 : null });
  }

  sortBy(name) {
    const { sort } = readHash();
    this.go({ sort: sort === name ? `-${name}` : name });
  }

  /* Shows what the address says. */
  async follow() {
    const state = readHash();
    const { text, deep } = this.form.elements;
    for (const name of FILTERS) this.form.elements[name].value = state[name] || "";
    if (document.activeElement !== text) text.value = state.text || "";
    deep.checked = Boolean(state.deep);
    const words = (state.text || "").toLowerCase().split(/\s+/).filter(Boolean);
    const query = state.deep && words.length ? words.join(" ") : "";
    if (query !== this.transcripts.query) {
      this.transcripts = { query, keys: query ? new Set() : null };
      if (query) this.search(query, words);
    }
    this.show(state, words);
  }

  async search(query, words) {
    find("output", this.form).textContent = "Searching…";
    const keys = await searchTranscripts(words, () => this.transcripts.query === query);
    if (!keys || this.transcripts.query !== query) return;
    this.transcripts.keys = keys;
    this.transcripts.isDone = true;
    this.show(readHash(), words);
  }

  show(state, words) {
    this.visible = this.all.filter((episode) => this.matches(episode, state, words));
    this.visible.sort((left, right) => this.compare(left, right, state.sort));
    const numPages = Math.max(1, Math.ceil(this.visible.length / PAGE));
    const page = Math.min(Math.max(1, Number(state.page) || 1), numPages);
    const shown = this.visible.slice((page - 1) * PAGE, page * PAGE);
    this.body.replaceChildren(...shown.map((episode) => this.row(episode)));
    this.heads.forEach((head) => {
      const { column } = head.dataset;
      if (state.sort === column) head.setAttribute("aria-sort", "ascending");
      else if (state.sort === `-${column}`) head.setAttribute("aria-sort", "descending");
      else head.removeAttribute("aria-sort");
    });
    const all = plural(this.all.length, "episode");
    const found = this.visible.length === this.all.length ? all : `${whole(this.visible.length)} of ${all}`;
    const isSearching = this.transcripts.query && !this.transcripts.isDone;
    find("output", this.form).textContent = isSearching ? "Searching…" : found;
    const turn = (label, to) => make("button", { type: "button", disabled: to < 1 || to > numPages, onclick: () => this.go({ page: to }) }, label);
    this.pages.hidden = numPages === 1;
    this.pages.replaceChildren(turn("Previous", page - 1), make("span", {}, `Page ${page} of ${numPages}`), turn("Next", page + 1));
  }

  matches(episode, state, words) {
    for (const name of ["variant", "task", "outcome"]) if (state[name] && state[name] !== episode[name]) return false;
    if (state.seed && Number(state.seed) !== episode.seed) return false;
    if (state.finding && !(state.finding in episode.findings)) return false;
    const at = (variant) => this.outcomes.get(`${variant}\n${episode.task}\n${episode.seed}`);
    if (state.won && at(state.won) !== "passed") return false;
    if (state.lost && at(state.lost) !== "failed") return false;
    if (this.transcripts.query) return this.transcripts.keys.has(episode.key);
    const searched = [episode.key, episode.mission, episode.kind, episode.message, episode.episode_id, ...Object.keys(episode.findings)]
      .join(" ").toLowerCase();
    return words.every((word) => searched.includes(word));
  }

  compare(left, right, sort) {
    const isDescending = Boolean(sort) && sort.startsWith("-");
    const name = isDescending ? sort.slice(1) : sort;
    if (COLUMNS.some((column) => column.name === name)) {
      const order = this.compareBy(name, left, right, isDescending);
      if (order) return order;
    }
    for (const next of ["outcome", "variant", "task", "seed"]) {
      const order = this.compareBy(next, left, right, false);
      if (order) return order;
    }
    return 0;
  }

  /* What is not known comes last, whichever way the column is sorted. */
  compareBy(name, left, right, isDescending) {
    const rank = this.ranks[name];
    const value = (episode) => {
      if (rank) return rank.get(episode[name]);
      return name === "mission" ? missionOf(episode) : episode[name];
    };
    const [a, b] = [value(left), value(right)];
    if (!known(a) || !known(b)) return known(b) - known(a);
    const order = a < b ? -1 : Number(a > b);
    return isDescending ? -order : order;
  }

  row(episode) {
    const link = hashWith({ episode: episode.key, step: null, with: null });
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
      const dot = make("i", { class: "dot", "data-series": this.seriesOf(episode.variant) });
      return [dot, make("a", { href: link }, text)];
    }
    return name === "outcome" ? make("span", { class: `badge ${text}` }, text) : text;
  }

  seriesOf(variant) { return this.ranks.variant.get(variant) % 8; }

  neighbor(episode, offset) {
    return this.visible[this.visible.indexOf(episode) + offset] || null;
  }

  /* The episodes of the table as CSV, all pages. */
  download() {
    const quoted = (value) => {
      const plain = known(value) && typeof value === "object" ? Object.keys(value).join("; ") : known(value) ? String(value) : "";
      // A spreadsheet would run what begins like a formula.
      const text = /^[=+@\t\r]|^-(?![\d.])/.test(plain) ? `'${plain}` : plain;
      return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const lines = [EXPORTED, ...this.visible.map((episode) => EXPORTED.map((name) => episode[name]))];
    const blob = new Blob([lines.map((line) => line.map(quoted).join(",")).join("\n"), "\n"], { type: "text/csv" });
    const link = make("a", { href: URL.createObjectURL(blob), download: `${this.index.run || "episodes"}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}
