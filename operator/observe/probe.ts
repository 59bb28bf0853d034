import http from 'node:http';
import { jwksPath, serverPorts } from '../build/server.ts';
import { type ApiClient, ApiError } from '../cluster/client.ts';
import type { KubeObject } from '../cluster/resources.ts';

/** What a server pod answered: the kids that it serves, or why it gave none. */
export type ServedKeys = { pod: string; kids: string[] } | { pod: string; problem: string };

/** Asks a server pod for its JWKS. */
export type AskPod = (pod: KubeObject) => Promise<ServedKeys>;

const timeoutMs = 3_000;
// A JWKS with 64 RSA keys has about 30 KiB.
const maxBytes = 1_048_576;

type Fetch = (pod: KubeObject, signal: AbortSignal) => Promise<string>;

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
    return limitedText(response);
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
      const { keys } = JSON.parse(await fetchFrom(pod, AbortSignal.timeout(timeoutMs))) as {
        keys: { kid?: unknown }[];
      };
      if (!keys.every(({ kid }) => typeof kid === 'string')) throw new TypeError('a key has no kid');
      return { pod: name, kids: keys.map(({ kid }) => kid as string) };
    } catch (error) {
      return { pod: name, problem: explain(error) };
    }
  };
}

// A pod that answers without end must not fill the operator's memory.
async function limitedText(response: http.IncomingMessage): Promise<string> {
  let body = '';
  response.setEncoding('utf8');
  for await (const chunk of response) {
    body += chunk;
    if (body.length > maxBytes) throw new Error('its answer is too large');
  }
  return body;
}

// Messages end up in status: they must not differ from one try to the next, or each try would be a write.
function explain(error: unknown): string {
  const { name, code, message } = error as { name?: string; code?: string; message?: string };
  if (name === 'AbortError' || name === 'TimeoutError')
    return `it did not answer within ${timeoutMs / 1000} s`;
  if (error instanceof ApiError) return `the API server's proxy answered ${error.code} ${error.reason}`;
  if (typeof code === 'string') return `it cannot be reached (${code})`;
  return error instanceof SyntaxError || error instanceof TypeError
    ? 'its answer is not a JWK Set'
    : String(message);
}
