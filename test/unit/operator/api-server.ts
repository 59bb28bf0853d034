import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { KubeConfig } from '@kubernetes/client-node';
import { ApiClient, type ClientOptions } from '../../../operator/cluster/client.ts';
import type { KubeObject } from '../../../operator/cluster/resources.ts';

/** A request as the server got it. */
export interface Seen {
  method: string;
  /** Path without the query. */
  path: string;
  query: URLSearchParams;
  headers: http.IncomingHttpHeaders;
  body: string;
}

/** A watch that is open: what is sent to it is up to the test. */
export interface OpenWatch {
  query: URLSearchParams;
  send(type: string, object: object): void;
  /** Sends a text that is no event. */
  sendText(line: string): void;
  /** Ends it in good order, as the API server does after `timeoutSeconds`. */
  end(): void;
  /** Cuts the connection. */
  cut(): void;
}

type Answer = { code: number; body?: unknown } | 'cut' | 'hang';

/**
 * The little of an API server that a client needs: objects by path, resourceVersions and their conflicts, uid
 * preconditions, lists and watches. What a watch says is scripted by the test. Real sockets on 127.0.0.1.
 */
export class FakeApiServer {
  readonly seen: Seen[] = [];
  readonly watches: OpenWatch[] = [];
  readonly objects = new Map<string, KubeObject>();
  /** Ends what follows this server, at the latest with it. */
  readonly following = new AbortController();
  /** Answers a request in place of the server; undefined: the server's own answer. */
  intercept: (request: Seen) => Answer | undefined = () => undefined;
  /** Called after each request was answered, to let the world change between two of them. */
  afterwards: (request: Seen) => void = () => {};
  #version = 100;
  readonly #server = http.createServer((request, response) => void this.#handle(request, response));

  static async start(): Promise<FakeApiServer> {
    const api = new FakeApiServer();
    api.#server.listen(0, '127.0.0.1');
    await once(api.#server, 'listening');
    return api;
  }

  async stop(): Promise<void> {
    this.following.abort();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A client of this server; with `token` one that authenticates. */
  client(token?: string, options?: ClientOptions): ApiClient {
    const kubeConfig = new KubeConfig();
    kubeConfig.loadFromClusterAndUser(
      { name: 'fake', server: this.url, skipTLSVerify: true },
      { name: 'operator', ...(token && { token }) },
    );
    return new ApiClient(kubeConfig, options);
  }

  get version(): string {
    return String(this.#version);
  }

  /** Stores an object under its path, with a new resourceVersion, and a uid unless it has one. */
  put(path: string, object: object): KubeObject {
    this.#version += 1;
    const { metadata, ...rest } = structuredClone(object) as KubeObject;
    const uid = metadata.uid ?? this.objects.get(path)?.metadata.uid ?? `uid-${this.#version}`;
    const stored = { ...rest, metadata: { ...metadata, uid, resourceVersion: this.version } } as KubeObject;
    this.objects.set(path, stored);
    return stored;
  }

  /** The requests of this method, as `METHOD path`. */
  calls(...methods: string[]): string[] {
    return this.seen
      .filter(({ method }) => methods.includes(method))
      .map(({ method, path }) => `${method} ${path}`);
  }

  async #handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', this.url);
    const seen: Seen = {
      method: request.method ?? '',
      path: pathname,
      query: searchParams,
      headers: request.headers,
      body: await text(request),
    };
    this.seen.push(seen);
    const isWatch = seen.query.get('watch') === 'true';
    const answer = this.intercept(seen) ?? (isWatch ? undefined : this.#answer(seen));
    if (answer === 'hang') return;
    if (answer === 'cut') {
      request.socket.destroy();
      return;
    }
    if (!answer) {
      this.#openWatch(seen.query, response);
      return;
    }
    response.writeHead(answer.code, { 'content-type': 'application/json' });
    response.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body ?? {}));
    this.afterwards(seen);
  }

  #openWatch(query: URLSearchParams, response: http.ServerResponse): void {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    this.watches.push({
      query,
      send: (type, object) => response.write(`${JSON.stringify({ type, object })}\n`),
      sendText: (line) => response.write(line),
      end: () => response.end(),
      cut: () => response.socket?.destroy(),
    });
  }

  #answer({ method, path, query, body }: Seen): Answer {
    const current = this.objects.get(path);
    const sent = body ? (JSON.parse(body) as KubeObject) : undefined;
    if (method === 'GET') return this.#get(path, query, current);
    if (method === 'POST' && sent) {
      const at = `${path}/${sent.metadata.name}`;
      if (this.objects.has(at)) return failure(409, 'AlreadyExists');
      return { code: 201, body: this.put(at, sent) };
    }
    if (method === 'DELETE') {
      if (!current) return notFound(path);
      const { uid } = (sent as unknown as { preconditions?: { uid?: string } })?.preconditions ?? {};
      if (uid !== undefined && uid !== current.metadata.uid) return failure(409, 'Conflict');
      this.objects.delete(path);
      return { code: 200, body: { kind: 'Status', status: 'Success' } };
    }
    return sent ? this.#write(method, path, current, sent) : failure(400, 'BadRequest');
  }

  #get(path: string, query: URLSearchParams, current: KubeObject | undefined): Answer {
    if (current) return { code: 200, body: current };
    if (!/s$/.test(path)) return notFound(path);
    const wanted = (query.get('labelSelector') ?? '').split(',').map((one) => one.split('='));
    // A collection over all namespaces has the objects of each.
    const collection = (at: string) => at.slice(0, at.lastIndexOf('/'));
    const everywhere = (at: string) => collection(at).replace(/\/namespaces\/[^/]+\//, '/');
    const items = [...this.objects]
      .filter(([at, { metadata }]) => {
        const isIn = collection(at) === path || everywhere(at) === path;
        return isIn && wanted.every(([name, value]) => !name || metadata.labels?.[name] === value);
      })
      .map(([, { apiVersion: _a, kind: _k, ...item }]) => item);
    const begin = Number(query.get('continue') ?? 0);
    const end = begin + Number(query.get('limit') ?? Number.POSITIVE_INFINITY);
    const more = end < items.length && { continue: String(end) };
    const metadata = { resourceVersion: this.version, ...more };
    return { code: 200, body: { metadata, items: items.slice(begin, end) } };
  }

  // PUT and PATCH alike keep to resourceVersion and uid; a patch is merged one level deep, which is all we need.
  #write(method: string, path: string, current: KubeObject | undefined, sent: KubeObject): Answer {
    if (!current && method === 'PUT') return notFound(path);
    const { uid, resourceVersion } = sent.metadata;
    const isStale = resourceVersion !== undefined && resourceVersion !== current?.metadata.resourceVersion;
    const isOther = uid !== undefined && uid !== current?.metadata.uid;
    if (isStale || isOther) return failure(409, 'Conflict');
    const metadata = { ...(method === 'PATCH' && current?.metadata), ...sent.metadata };
    return { code: 200, body: this.put(path, { ...(method === 'PATCH' && current), ...sent, metadata }) };
  }
}

/** An answer of the API server that is no success, as its Status object says it, about an object where it names one. */
export const failure = (code: number, reason: string, message = `it is ${reason}`, name?: string) => ({
  code,
  body: {
    ...{ kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message },
    ...(name !== undefined && { details: { name } }),
  },
});

const notFound = (path: string) =>
  failure(404, 'NotFound', 'it is NotFound', decodeURIComponent(path.slice(path.lastIndexOf('/') + 1)));
