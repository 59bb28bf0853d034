import { setTimeout as sleep } from 'node:timers/promises';
import type { Kubectl } from '../local/kubectl.ts';
import { podImage } from '../node/image.ts';

/** A container of the node's own program. */
export function container(name: string, ...args: string[]) {
  return { name, image: podImage, args, imagePullPolicy: 'Never' };
}

/** A container that answers / with its pod's name and /files/PATH with a file, on port 8080, and says when it does. */
export function server(name: string) {
  return {
    ...container(name, 'serve', ':8080'),
    ports: [{ containerPort: 8080 }],
    readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
  };
}

/** Applies objects, given as objects. */
export async function apply({ kubectl }: { kubectl: Kubectl }, ...items: object[]): Promise<void> {
  await kubectl.run(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
}

/** Waits for a condition of an object. */
export async function waitFor(
  { kubectl }: { kubectl: Kubectl },
  object: string,
  condition: string,
): Promise<void> {
  await kubectl.run(['wait', object, `--for=condition=${condition}`, '--timeout=60s']);
}

/** What a GET from inside a pod of the node's own program answers. */
export function getFrom({ kubectl }: { kubectl: Kubectl }, pod: string, ...args: string[]): Promise<string> {
  return kubectl.run(['exec', pod, '--', '/pod', 'get', ...args]);
}

/** Asks again until the answer is as it should be; fails after a minute, with the last answer. */
export async function eventually<T>(ask: () => Promise<T>, isRight: (answer: T) => boolean): Promise<T> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const answer = await ask();
    if (isRight(answer)) return answer;
    if (Date.now() > deadline)
      throw new Error(`after a minute the answer is still ${JSON.stringify(answer)}`);
    await sleep(200);
  }
}
