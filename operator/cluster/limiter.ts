/** Runs pieces of work, a limited number of them at a time, in the order in which they were given. */
export type Limiter = <T>(work: () => Promise<T>) => Promise<T>;

/** How many requests are under way at a time where there is one for each namespace or pod. */
export const requestsAtATime = 16;

/** Makes a limiter for so many at a time. */
export function createLimiter(limit: number): Limiter {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (work) => {
    if (running < limit) running += 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running -= 1;
    }
  };
}
