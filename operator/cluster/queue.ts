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
}

/**
 * A queue of keys, never of objects: who works on a key reads the world then.
 *
 * A key is worked on by one at a time; one that is added meanwhile is worked on once more afterwards. Failures are
 * retried with back-off and jitter; a key that is due later is worked on earlier when it is added.
 */
export class WorkQueue {
  readonly #options: Required<QueueOptions>;
  readonly #waiting = new Set<string>();
  readonly #running = new Set<string>();
  readonly #dirty = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #stopped = false;
  #idle: (() => void) | undefined;

  constructor(options: QueueOptions) {
    this.#options = { minBackoffMs: 200, maxBackoffMs: 60_000, ...options };
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
    if (this.#running.has(key)) this.#dirty.add(key);
    else this.#waiting.add(key);
    this.#next();
  }

  /** Takes no more keys, and resolves when those that are worked on are done. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#waiting.clear();
    this.#dirty.clear();
    if (this.#running.size > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
  }

  #addAfter(key: string, ms: number): void {
    if (this.#stopped || this.#dirty.has(key)) return;
    clearTimeout(this.#timers.get(key));
    // A timer overflows at 2^31 ms; an earlier look costs nothing.
    this.#timers.set(
      key,
      setTimeout(() => this.add(key), Math.min(ms, 86_400_000)),
    );
  }

  #next(): void {
    for (const key of this.#waiting) {
      if (this.#running.size >= this.#options.concurrency) return;
      this.#waiting.delete(key);
      void this.#run(key);
    }
  }

  async #run(key: string): Promise<void> {
    this.#running.add(key);
    try {
      const again = await this.#options.work(key);
      this.#failures.delete(key);
      if (again !== undefined) this.#addAfter(key, again);
    } catch (error) {
      const failures = (this.#failures.get(key) ?? 0) + 1;
      this.#failures.set(key, failures);
      this.#options.onError(key, error);
      const { minBackoffMs, maxBackoffMs } = this.#options;
      this.#addAfter(
        key,
        Math.min(maxBackoffMs, minBackoffMs * 2 ** (failures - 1)) * (0.75 + Math.random() / 4),
      );
    }
    this.#running.delete(key);
    if (this.#dirty.delete(key)) this.add(key);
    if (this.#running.size === 0) this.#idle?.();
    this.#next();
  }
}
