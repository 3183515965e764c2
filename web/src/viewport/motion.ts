/** Is the reader still on the way? A hand that keeps turning sees previews; whole images are for where it rests. */

/** Steps that follow each other within this belong to one movement, also where each takes a while to draw. */
export const REST_MS = 150;

export class Motion {
  private last = -Infinity;
  private timer: ReturnType<typeof setTimeout> | undefined;
  moving = false;

  /** @param rested called once when a movement is over. */
  constructor(
    private readonly rested: () => void,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** The reader has gone to another image. The first step of all is no movement: it may be the only one. */
  step(): void {
    const now = this.now();
    this.moving = now - this.last < REST_MS;
    this.last = now;
    clearTimeout(this.timer);
    if (this.moving) this.timer = setTimeout(this.over, REST_MS);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.moving = false;
    this.last = -Infinity;
  }

  private readonly over = (): void => {
    this.moving = false;
    this.rested();
  };
}
