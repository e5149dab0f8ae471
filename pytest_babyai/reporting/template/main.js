/* The replay dialog, kept in step with the address. */
const dialog = find("#replay");

class Replay {
  constructor(table) {
    this.table = table;
    this.byKey = new Map(table.all.map((episode) => [episode.key, episode]));
    this.player = new Player(() => this.render());
    this.panes = [];
    this.episode = null;
    this.makeDialog();
    window.addEventListener("hashchange", () => { this.table.follow(); this.follow(); this.scroll(); });
    this.follow();
    this.scroll();
  }

  makeDialog() {
    const button = (label, title, onclick, kind = "icon") =>
      make("button", { type: "button", class: kind, title, "aria-label": title, onclick }, label);
    const labelled = (sign, word) => [sign, make("span", { class: "word" }, ` ${word}`)];
    this.title = make("h2", { id: "replay-title" });
    this.others = make("select", { name: "with", onchange: () => this.go({ with: this.others.value }) });
    this.previous = button(labelled("↑", "Previous"), "Previous episode (P)", () => this.goTo(-1));
    this.next = button(labelled("↓", "Next"), "Next episode (N)", () => this.goTo(1));
    this.slider = make("input", { type: "range", min: 0, step: 1, "aria-label": "Step",
      oninput: () => this.player.moveTo(Number(this.slider.value)) });
    this.playButton = button("Play", "Play or pause (space)", () => this.player.toggle(), "icon play");
    this.counter = make("output", {});
    const speed = make("select", { name: "speed", "aria-label": "Steps per second",
      onchange: (event) => { this.player.stepsPerSecond = Number(event.target.value); } },
      SPEEDS.map(([text, value]) => make("option", { value, selected: value === 4 }, `${text} steps/s`)));
    this.panesElement = make("div", { class: "panes", tabindex: 0 });
    dialog.append(
      make("div", { class: "bar top" }, this.title, make("label", {}, "Beside it", this.others),
        this.previous, this.next, button("✕", "Close (Esc)", () => dialog.close())),
      this.panesElement,
      make("div", { class: "bar bottom" },
        button("◀", "Step back (left arrow)", () => this.move(-1)), this.playButton,
        button("▶", "Step forward (right arrow)", () => this.move(1)), this.slider, this.counter, speed));
    document.addEventListener("keydown", (event) => { if (dialog.open) this.onKey(event); });
    dialog.addEventListener("close", () => this.onClose());
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }

  /* A link with filters leads to the table, which was hidden until now. */
  scroll() {
    const state = readHash();
    const isFiltered = [...FILTERS, "text", "page"].some((name) => state[name]) || location.hash === "#episodes";
    if (isFiltered && !state.episode) this.table.section.scrollIntoView();
  }

  /* Opens what the address names. */
  async follow() {
    const { episode: key, step, with: other } = readHash();
    const episode = this.byKey.get(key);
    if (!episode) {
      if (dialog.open) dialog.close();
      return;
    }
    const beside = this.byKey.get(other);
    const wanted = [episode, beside !== episode ? beside : null].filter(Boolean);
    const position = known(step) ? Number(step) - 1 : 0;
    const isOpen = wanted.map((each) => each.key).join() === this.panes.map((pane) => pane.episode.key).join();
    if (isOpen && dialog.open) {
      this.player.moveTo(position);
      return;
    }
    this.episode = episode;
    const trajectories = await Promise.all(wanted.map(loadTrajectory));
    if (this.episode !== episode) return; // another one was opened meanwhile
    this.open(wanted, trajectories, position);
  }

  open(episodes, trajectories, position) {
    const [episode] = episodes;
    this.player.pause();
    this.panes = episodes.map((each, number) =>
      new Pane(each, trajectories[number], this.table.seriesOf(each.variant), (place) => this.player.moveTo(place)));
    this.title.replaceChildren(`${episode.task} · seed ${episode.seed}`,
      make("small", {}, (trajectories[0] && trajectories[0].mission) || missionOf(episode)));
    this.fillOthers(episode, episodes[1]);
    this.previous.disabled = !this.table.neighbor(episode, -1);
    this.next.disabled = !this.table.neighbor(episode, 1);
    this.panesElement.replaceChildren(...this.panes.map((pane) => pane.element));
    this.panesElement.scrollTop = 0;
    if (!dialog.open) {
      dialog.showModal();
      this.panesElement.focus();
    }
    this.player.reset(Math.max(...this.panes.map((pane) => pane.numSteps)), position);
  }

  fillOthers(episode, chosen) {
    const same = this.table.all.filter((other) =>
      other !== episode && other.task === episode.task && other.seed === episode.seed);
    this.others.replaceChildren(make("option", { value: "" }, "nothing"), ...same.map((other) =>
      make("option", { value: other.key, selected: other === chosen },
        `${other.variant} (${other.outcome})`)));
    this.others.disabled = !same.length;
  }

  render() {
    const { position, last } = this.player;
    for (const pane of this.panes) pane.show(position);
    this.slider.max = last;
    this.slider.value = position;
    this.slider.disabled = this.playButton.disabled = last === 0;
    this.playButton.textContent = this.player.isPlaying ? "Pause" : "Play";
    const where = position < last ? `Step ${position + 1} of ${last}` : `End of ${plural(last, "step")}`;
    this.counter.textContent = last ? where : "";
    this.slider.setAttribute("aria-valuetext", where);
    if (dialog.open && !this.player.isPlaying) this.writeAddress();
  }

  writeAddress() {
    const [first, second] = this.panes.map((pane) => pane.episode.key);
    const step = this.player.last ? this.player.position + 1 : null;
    const hash = hashWith({ episode: first, step, with: second || null });
    if (hash !== location.hash) history.replaceState(null, "", hash);
  }

  move(offset) {
    this.player.pause();
    this.player.moveTo(this.player.position + offset);
  }

  go(changes) {
    location.hash = hashWith(changes);
  }

  /* The episode before or after in the table; beside it stays the same variant. */
  goTo(offset) {
    const next = this.table.neighbor(this.episode, offset);
    if (!next) return;
    const beside = this.panes[1] && this.table.all.find((other) => other.task === next.task
      && other.seed === next.seed && other.variant === this.panes[1].episode.variant && other !== next);
    location.hash = hashWith({ episode: next.key, step: null, with: beside ? beside.key : null });
  }

  onKey(event) {
    if (event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      ArrowLeft: () => this.move(-1), ArrowRight: () => this.move(1),
      Home: () => this.move(-Infinity), End: () => this.move(this.player.last),
      " ": () => this.player.toggle(), n: () => this.goTo(1), p: () => this.goTo(-1),
    };
    const isButton = event.target.tagName === "BUTTON" || event.target.tagName === "SUMMARY";
    if (!(event.key in actions) || (event.key === " " && isButton)) return;
    event.preventDefault();
    actions[event.key]();
  }

  onClose() {
    this.player.pause();
    this.panes = [];
    this.panesElement.replaceChildren();
    this.episode = null;
    if (!readHash().episode) return;
    const hash = hashWith(Object.fromEntries(EPISODE_KEYS.map((name) => [name, null])));
    history.replaceState(null, "", hash === "#" ? location.pathname + location.search : hash);
  }
}

startTheme();
load("index").then((index) => new Replay(new EpisodeTable(index, find("#episodes"))));
