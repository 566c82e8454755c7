// What part of the time line is in sight: seconds by pixels, and one redraw of everything for each picture.

export class View {
  constructor() {
    this.scroller = null;
    this.perSecond = 60; // pixels
    this.width = 0; // of the lanes, in pixels
    this.head = 0; // width of what stands to the left of them
    this.seconds = 0;
    this.painters = new Set();
    this.waiting = false;
    this.onZoom = () => {};
  }

  get start() {
    return this.scroller ? this.scroller.scrollLeft / this.perSecond : 0;
  }

  get end() {
    return this.start + this.width / this.perSecond;
  }

  get least() {
    return Math.max(0.5, this.width / Math.max(1, this.seconds));
  }

  x(seconds) {
    return (seconds - this.start) * this.perSecond;
  }

  /** Redraw with the next picture. */
  ask() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      for (const paint of this.painters) paint();
    });
  }

  paint(painter) {
    this.painters.add(painter);
    this.ask();
    return () => this.painters.delete(painter);
  }

  /** Zoom by a factor around a moment that stays where it is. */
  zoom(factor, around = (this.start + this.end) / 2) {
    const x = this.x(around);
    this.perSecond = Math.min(2000, Math.max(this.least, this.perSecond * factor));
    this.onZoom();
    if (this.scroller) this.scroller.scrollLeft = around * this.perSecond - x;
    this.ask();
  }

  fit(start = 0, end = this.seconds) {
    this.perSecond = Math.min(2000, Math.max(this.least, this.width / Math.max(0.1, end - start)));
    this.onZoom();
    if (this.scroller) this.scroller.scrollLeft = start * this.perSecond;
    this.ask();
  }

  /** Turn the page when a moment is out of sight. */
  follow(seconds) {
    if (!this.scroller || (seconds >= this.start && seconds <= this.end)) return;
    this.scroller.scrollLeft = Math.max(0, seconds * this.perSecond - this.width * 0.1);
  }
}
