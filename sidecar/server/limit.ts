import type { RequestHandler, Response } from 'express';
import { type AugmentedRequest, type IncrementResponse, rateLimit, type Store } from 'express-rate-limit';

const windowMilliseconds = 60_000;

/**
 * Bounds the mints of this process to a number in each minute, which begins with its first mint. All callers count
 * together, since they are one workload. The limit is asked for at each request, so that a changed one holds at once.
 *
 * @param limitOf how many mints a minute the request may be one of; undefined where there is no limit.
 * @param refuse answers a request that is one too many; the next minute begins in `retryAfterSeconds`.
 */
export function mintLimiter(
  limitOf: (response: Response) => number | undefined,
  refuse: (response: Response, limit: number, retryAfterSeconds: number) => void,
): RequestHandler {
  const limited = rateLimit({
    windowMs: windowMilliseconds,
    store: new PresentMinute(),
    keyGenerator: () => 'mints',
    limit: (_request, response) => limitOf(response) ?? Number.POSITIVE_INFINITY,
    // Only tokens count, so that a raised limit has room at once however often was tried before.
    skipFailedRequests: true,
    // What is granted is answered as without a limit.
    legacyHeaders: false,
    standardHeaders: false,
    handler(request, response) {
      const { limit = 0, resetTime } = (request as AugmentedRequest).rateLimit ?? {};
      const seconds = ((resetTime?.getTime() ?? 0) - Date.now()) / 1000;
      refuse(response, limit, Math.max(1, Math.ceil(seconds)));
    },
  });
  return (request, response, next) => {
    if (limitOf(response) === undefined) next();
    else limited(request, response, next);
  };
}

/** The mints of the present minute, by a clock that nobody sets: one set back would make the minute last for hours. */
class PresentMinute implements Store {
  #mints = 0;
  #end = 0;

  increment(): IncrementResponse {
    const now = performance.now();
    if (now >= this.#end) {
      this.#mints = 0;
      this.#end = now + windowMilliseconds;
    }
    this.#mints += 1;
    return { totalHits: this.#mints, resetTime: new Date(Date.now() + this.#end - now) };
  }

  decrement(): void {
    this.#mints = Math.max(0, this.#mints - 1);
  }

  resetKey(): void {
    this.#mints = 0;
  }
}
