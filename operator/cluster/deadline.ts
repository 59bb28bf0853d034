/**
 * Does something that ends when its signal is aborted, which it is after so many milliseconds, or by `stop` if that is
 * earlier. Work that fails once the time is over is rejected with a `TimeoutError`, whatever it failed with.
 *
 * AbortSignal.timeout() would keep its timer until the time is over, however early the work is done: with hundreds of
 * requests a second, thousands of them.
 */
export async function within<T>(
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
  stop?: AbortSignal,
): Promise<T> {
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort(new DOMException(`it took longer than ${ms / 1000} s`, 'TimeoutError'));
  }, ms);
  try {
    return await work(stop ? AbortSignal.any([late.signal, stop]) : late.signal);
  } catch (error) {
    // A request that is ended by its signal fails as any that was aborted, or whose connection broke.
    throw late.signal.aborted ? late.signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
}
