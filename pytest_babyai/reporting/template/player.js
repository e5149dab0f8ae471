/* The position that all panes share: 0 is the first step, the last one lies behind the last step. */
const SPEEDS = [["1", 1], ["2", 2], ["4", 4], ["8", 8], ["16", 16]];

class Player {
  constructor(onMove) {
    this.onMove = onMove;
    this.position = 0;
    this.last = 0;
    this.stepsPerSecond = 4;
    this.timer = null;
  }

  get isPlaying() { return this.timer !== null; }

  reset(last, position) {
    this.pause();
    this.last = last;
    this.moveTo(position);
  }

  moveTo(position) {
    this.position = Math.min(Math.max(0, Math.round(position) || 0), this.last);
    if (this.position === this.last) this.pause();
    this.onMove();
  }

  play() {
    if (this.isPlaying || this.last === 0) return;
    if (this.position === this.last) this.position = 0;
    this.schedule();
    this.onMove();
  }

  schedule() {
    this.timer = setTimeout(() => {
      this.schedule();
      this.moveTo(this.position + 1);
    }, 1000 / this.stepsPerSecond);
  }

  pause() {
    const wasPlaying = this.isPlaying;
    clearTimeout(this.timer);
    this.timer = null;
    if (wasPlaying) this.onMove();
  }

  toggle() {
    if (this.isPlaying) this.pause();
    else this.play();
  }
}
