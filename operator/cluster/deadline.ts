/**
 * Does something that ends when its signal is aborted, which it is after so many milliseconds.
 *
 * AbortSignal.timeout() would keep its timer until the time is over, however early the work is done: with hundreds of
 * requests a second, thousands of them.
 */
export async function within<T>(ms: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort(new DOMException(`it took longer than ${ms / 1000} s`, 'TimeoutError'));
  }, ms);
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(timer);
  }
}
