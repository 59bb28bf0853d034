import http from 'node:http';
import { jwksPath, serverPorts } from '../build/server.ts';
import { type ApiClient, ApiError } from '../cluster/client.ts';
import { within } from '../cluster/deadline.ts';
import type { KubeObject } from '../cluster/resources.ts';
import type { ServedKey, ServerAnswer } from '../plan/servers.ts';

/** Asks a server pod for its JWKS. */
export type AskPod = (pod: KubeObject) => Promise<ServerAnswer>;

/** How long anybody is waited for who is asked for keys or a certificate, in milliseconds. */
export const timeoutMs = 3_000;
// A JWKS with 64 RSA keys has about 30 KiB.
const maxBytes = 1_048_576;

type Fetch = (pod: KubeObject, signal: AbortSignal) => Promise<http.IncomingMessage>;

/** Asks pods at their own address. */
export const askDirectly = (): AskPod =>
  asking(async (pod, signal) => {
    const host = (pod.status as { podIP?: string } | undefined)?.podIP;
    if (!host) throw new Error('it has no address yet');
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      http
        .get({ host, port: serverPorts.jwks, path: jwksPath, signal, agent: false }, resolve)
        .on('error', reject);
    });
    if (response.statusCode !== 200) throw new Error(`it answered ${response.statusCode}`);
    return response;
  });

/** Asks pods through the API server's proxy, for an operator that has no route to them. */
export const askThroughProxy = (client: ApiClient): AskPod =>
  asking((pod, signal) =>
    client.getFromPod(pod.metadata.namespace, pod.metadata.name, serverPorts.jwks, jwksPath, signal),
  );

function asking(fetchFrom: Fetch): AskPod {
  return async (pod) => {
    const { name } = pod.metadata;
    try {
      const asked = Date.now();
      const { answered, headers, body } = await within(timeoutMs, async (signal) => {
        const response = await fetchFrom(pod, signal);
        return {
          answered: Date.now(),
          headers: response.headers,
          body: await limitedText(response),
        };
      });
      const date = Date.parse(headers.date ?? '');
      return {
        pod: name,
        keys: readKeys(body),
        clockDifferenceMs: differenceMs(date, asked, answered),
      };
    } catch (error) {
      return { pod: name, problem: explain(error) };
    }
  };
}

/**
 * The keys of a JWK Set.
 *
 * @throws {TypeError | SyntaxError} when it is none
 */
export function readKeys(body: string): ServedKey[] {
  const { keys } = JSON.parse(body) as { keys: ServedKey[] };
  if (!keys.every(({ kid }) => typeof kid === 'string')) throw new TypeError('a key has no kid');
  return keys.map(({ kid, kty, crv, x, y, n, e }) => ({ kid, kty, crv, x, y, n, e }));
}

/** The smallest difference that explains a `Date` in whole seconds, seen between two instants of our clock. */
function differenceMs(date: number, asked: number, answered: number): number {
  if (Number.isNaN(date)) return 0;
  if (date > answered) return date - answered;
  return Math.min(0, date + 999 - asked);
}

/**
 * The whole text of an answer.
 *
 * @throws when it is too large: one without end must not fill the operator's memory
 */
export async function limitedText(response: http.IncomingMessage): Promise<string> {
  let body = '';
  response.setEncoding('utf8');
  for await (const chunk of response) {
    body += chunk;
    if (body.length > maxBytes) throw new Error('its answer is too large');
  }
  return body;
}

/**
 * Why there was no answer. Messages end up in status: they must not differ from one try to the next, or each try would be
 * a write.
 */
export function explain(error: unknown): string {
  const { name, code, message } = error as { name?: string; code?: string; message?: string };
  if (name === 'TimeoutError') return `it did not answer within ${timeoutMs / 1000} s`;
  if (error instanceof ApiError) return `the API server's proxy answered ${error.code} ${error.reason}`;
  if (typeof code === 'string') return `it cannot be reached (${code})`;
  return error instanceof SyntaxError || error instanceof TypeError
    ? 'its answer is not a JWK Set'
    : String(message);
}
