// Keeps the chip's clock beside the wall clock.
//
// The chip never runs ahead. It catches up a short lag, which costs little because it mostly sleeps; a longer
// one is left as it is: to the firmware that is a slow crystal, which time sync corrects, while a burst of
// several seconds would be a silent agent.

const SLICE_MILLIS = 6;
const STEPS_BETWEEN_LOOKS = 4000;
const TOLERATED_LAG_MILLIS = 500;

export class Pace {
  /** `between()` runs after each slice: move bytes, look at the world. */
  constructor(board, between) {
    this.board = board;
    this.between = between;
    this.timer = null;
    this.running = false;
    this.#rebase();
  }

  /** Runs a slice now and keeps going by itself; call it when there is input. */
  wake() {
    if (this.running) return;
    clearTimeout(this.timer);
    this.#slice();
  }

  #rebase() {
    this.chip = this.board.chip;
    this.origin = performance.now() - this.board.nanos / 1e6;
  }

  #slice() {
    this.running = true;
    const end = performance.now() + SLICE_MILLIS;
    let now;
    let busy;
    do {
      now = performance.now();
      busy = this.board.run((now - this.origin) * 1e6, STEPS_BETWEEN_LOOKS);
      if (this.board.chip !== this.chip) this.#rebase();
    } while (busy && now < end);
    if (now - this.origin - this.board.nanos / 1e6 > TOLERATED_LAG_MILLIS) this.#rebase();
    this.between();
    this.running = false;
    this.timer = setTimeout(() => this.#slice(), busy ? 0 : Math.min(this.board.idleNanos / 1e6, 1000));
  }
}
