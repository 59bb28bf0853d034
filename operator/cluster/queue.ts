/** Options of a {@link WorkQueue}. */
export interface QueueOptions {
  /** Works on one key. Resolves with milliseconds after which to do so again, or undefined; rejects to be retried. */
  work: (key: string) => Promise<number | undefined>;
  /** Told of each failure; the queue retries by itself. */
  onError: (key: string, error: unknown) => void;
  concurrency: number;
  /** Wait before the first retry in milliseconds, doubled with each further one up to `maxBackoffMs`. */
  minBackoffMs?: number;
  maxBackoffMs?: number;
  /** The least time between two pieces of work on one key, in milliseconds. */
  cooldownMs?: number;
}

/**
 * A queue of keys, never of objects: who works on a key reads the world then.
 *
 * A key is worked on by one at a time; one that is added meanwhile, or within `cooldownMs` afterwards, is worked on
 * once more then, so that a burst of events is one piece of work. Failures are retried with back-off and jitter; a key
 * that is due later is worked on earlier when it is added.
 */
export class WorkQueue {
  readonly #options: Required<QueueOptions>;
  readonly #waiting = new Set<string>();
  /** Worked on, or cooling down. */
  readonly #busy = new Set<string>();
  readonly #dirty = new Set<string>();
  /** Added by their retry timer, not by an event. */
  readonly #due = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #running = 0;
  #stopped = false;
  #idle: (() => void) | undefined;

  constructor(options: QueueOptions) {
    this.#options = { minBackoffMs: 200, maxBackoffMs: 30_000, cooldownMs: 100, ...options };
  }

  /** Keys that wait to be worked on now. */
  get depth(): number {
    return this.#waiting.size + this.#dirty.size;
  }

  /** Asks for work on a key, now. */
  add(key: string): void {
    if (this.#stopped) return;
    clearTimeout(this.#timers.get(key));
    this.#timers.delete(key);
    if (this.#busy.has(key)) this.#dirty.add(key);
    else this.#waiting.add(key);
    this.#next();
  }

  /** Takes no more keys, and resolves when those that are worked on are done. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#waiting.clear();
    this.#dirty.clear();
    if (this.#running > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
  }

  #addAfter(key: string, ms: number): void {
    if (this.#stopped || this.#dirty.has(key)) return;
    clearTimeout(this.#timers.get(key));
    const add = () => {
      this.#due.add(key);
      this.add(key);
    };
    // A timer overflows at 2^31 ms; an earlier look costs nothing.
    this.#timers.set(key, setTimeout(add, Math.min(ms, 86_400_000)));
  }

  #next(): void {
    for (const key of this.#waiting) {
      if (this.#running >= this.#options.concurrency) return;
      this.#waiting.delete(key);
      void this.#run(key);
    }
  }

  async #run(key: string): Promise<void> {
    this.#running += 1;
    this.#busy.add(key);
    const retried = this.#due.delete(key);
    try {
      const again = await this.#options.work(key);
      this.#failures.delete(key);
      if (again !== undefined) this.#addAfter(key, again);
    } catch (error) {
      this.#options.onError(key, error);
      this.#addAfter(key, this.#backoffMs(key, retried));
    }
    this.#running -= 1;
    if (this.#running === 0) this.#idle?.();
    setTimeout(() => this.#cool(key), this.#options.cooldownMs).unref();
    this.#next();
  }

  #cool(key: string): void {
    this.#busy.delete(key);
    if (this.#dirty.delete(key)) this.add(key);
  }

  // A failure that an event brought about says nothing of how long waiting helps.
  #backoffMs(key: string, retried: boolean): number {
    const before = this.#failures.get(key);
    const failures = before === undefined || retried ? (before ?? 0) + 1 : before;
    this.#failures.set(key, failures);
    const { minBackoffMs, maxBackoffMs } = this.#options;
    return Math.min(maxBackoffMs, minBackoffMs * 2 ** (failures - 1)) * (0.75 + Math.random() / 4);
  }
}
