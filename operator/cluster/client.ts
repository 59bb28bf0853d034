import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { json, text } from 'node:stream/consumers';
import type { KubeConfig } from '@kubernetes/client-node';
import type { Schema } from '../api/fields.ts';
import { fieldManager } from '../api/names.ts';
import { within } from './deadline.ts';
import { type KubeList, type KubeObject, type Resource, resourcePath } from './resources.ts';

/**
 * An answer of the API server that is not a success. `code` is its HTTP status; `reason` and `objectName` are those of
 * the Status object.
 */
export class ApiError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly objectName: string | undefined;

  constructor(code: number, reason: string, message: string, objectName?: string) {
    super(message);
    this.name = 'ApiError';
    this.code = code;
    this.reason = reason;
    this.objectName = objectName;
  }
}

/** Whether an error is the API server's answer with this HTTP status. */
export const isStatus = (error: unknown, code: number): boolean =>
  error instanceof ApiError && error.code === code;

/** Whether an error says that nothing can be created in a namespace since it is going: a 403 like a missing permission. */
export const isNamespaceTerminating = (error: unknown): boolean =>
  error instanceof ApiError && error.code === 403 && error.message.includes('because it is being terminated');

/** Whether an error says that there is no such namespace. */
export const isNamespaceGone = (error: unknown, namespace: string): boolean =>
  error instanceof ApiError && error.code === 404 && error.objectName === namespace;

/**
 * What went wrong, for status. It says the same each time that the same goes wrong, or each try would be a write: what
 * a server's failure says of ports and times is for the log.
 */
export function briefly(error: unknown): string {
  if (error instanceof ApiError) {
    return error.code < 500
      ? error.message
      : `the API server answered ${error.code} ${error.reason} (see the operator's log)`;
  }
  const { name, code, message } = error as { name?: unknown; code?: unknown; message?: unknown };
  if (name === 'TimeoutError') return `the API server did not answer: ${message}`;
  return typeof code === 'string' ? `the API server cannot be reached (${code})` : String(message);
}

interface RequestOptions {
  query?: Record<string, string>;
  /** Media type of the answer; else plain JSON. */
  accept?: string;
  contentType?: string;
  body?: unknown;
  signal?: AbortSignal;
}

/** The schemas of a group and version, each with the kinds that it is of. */
export interface OpenAPI {
  components?: {
    schemas?: Record<string, Schema & { 'x-kubernetes-group-version-kind'?: { kind: string }[] }>;
  };
}

/** Options of an {@link ApiClient}. */
export interface ClientOptions {
  /** Asked right before a write leaves; what it throws is the write's failure, and nothing is sent. */
  beforeWrite?: () => void;
  /** The longest that a call may take, in milliseconds; a watch has no such end. */
  timeoutMs?: number;
}

/**
 * The API server, as plain JSON: objects come and go as they are, since typed serializers drop what they do not
 * know. Authentication and TLS are the KubeConfig's. Every call fails with an {@link ApiError} for an answer that is
 * not a success, or with the network's error; a call that is not a watch ends after 20 s, with a `TimeoutError`.
 */
export class ApiClient {
  readonly #kubeConfig: KubeConfig;
  readonly #server: string;
  readonly #beforeWrite: (() => void) | undefined;
  readonly #timeoutMs: number;

  constructor(kubeConfig: KubeConfig, { beforeWrite, timeoutMs = 20_000 }: ClientOptions = {}) {
    const cluster = kubeConfig.getCurrentCluster();
    if (!cluster) throw new Error('the kubeconfig has no current cluster: set current-context');
    this.#kubeConfig = kubeConfig;
    this.#server = cluster.server.replace(/\/$/, '');
    this.#beforeWrite = beforeWrite;
    this.#timeoutMs = timeoutMs;
  }

  /** Opens a request and resolves with the response's head once it is a success. */
  async open(method: string, path: string, options: RequestOptions = {}): Promise<http.IncomingMessage> {
    const url = new URL(this.#server + path);
    for (const [name, value] of Object.entries(options.query ?? {})) url.searchParams.set(name, value);
    const request: https.RequestOptions = {
      method,
      headers: { accept: options.accept ?? 'application/json', 'user-agent': fieldManager },
    };
    await this.#kubeConfig.applyToHTTPSOptions(request);
    // The KubeConfig caches one agent per cluster and user, but makes it without keep-alive.
    if (request.agent instanceof https.Agent) Object.assign(request.agent, { keepAlive: true });
    if (options.signal) request.signal = options.signal;
    const body = options.body === undefined ? undefined : JSON.stringify(options.body);
    if (body !== undefined) {
      request.headers = {
        ...request.headers,
        'content-type': options.contentType ?? 'application/json',
        'content-length': Buffer.byteLength(body),
      };
    }
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      const sent = (url.protocol === 'http:' ? http : https).request(url, request, resolve);
      sent.on('error', reject);
      const beforeWrite = this.#beforeWrite;
      if (!beforeWrite || method === 'GET') {
        sent.end(body);
        return;
      }
      onceConnected(sent, () => {
        try {
          beforeWrite();
          sent.end(body);
        } catch (error) {
          sent.destroy(error as Error);
        }
      });
    });
    const code = response.statusCode ?? 0;
    if (code >= 200 && code < 300) return response;
    throw apiError(code, await text(response));
  }

  async #call<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const work = async (signal: AbortSignal) =>
      (await json(await this.open(method, path, { ...options, signal }))) as T;
    return within(this.#timeoutMs, work, options.signal);
  }

  /** Reads an object from etcd's current state, past every cache. */
  get<T = KubeObject>(resource: Resource, namespace: string | undefined, name: string): Promise<T> {
    return this.#call('GET', resourcePath(resource, namespace, name));
  }

  /** As {@link get}, but undefined where there is no such object. */
  async find<T = KubeObject>(
    resource: Resource,
    namespace: string | undefined,
    name: string,
  ): Promise<T | undefined> {
    try {
      return await this.get<T>(resource, namespace, name);
    } catch (error) {
      // Without the object's name it is the kind that the API server does not know, which says nothing of objects.
      if (error instanceof ApiError && error.code === 404 && error.objectName === name) return undefined;
      throw error;
    }
  }

  /** Lists the objects of a namespace, or of all when it is undefined. */
  async list(
    resource: Resource,
    namespace: string | undefined,
    query: Record<string, string>,
    accept?: string,
  ): Promise<KubeList> {
    const path = resourcePath(resource, namespace);
    const list = await this.#call<KubeList>('GET', path, { query, ...(accept && { accept }) });
    // Of metadata alone the API server answers null where there is nothing.
    return { ...list, items: list.items ?? [] };
  }

  /** Creates an object; 409 when one of its name exists. */
  create<T extends object>(resource: Resource, namespace: string, body: T): Promise<KubeObject> {
    const query = { fieldManager, fieldValidation: 'Strict' };
    return this.#call('POST', resourcePath(resource, namespace), { query, body });
  }

  /** Replaces an object; 409 when its `resourceVersion` is no longer the current one. */
  replace(resource: Resource, body: KubeObject): Promise<KubeObject> {
    const { namespace, name } = body.metadata;
    const query = { fieldManager, fieldValidation: 'Strict' };
    return this.#call('PUT', resourcePath(resource, namespace, name), { query, body });
  }

  /** Server-side apply with our field manager, taking over conflicting fields; 409 for a stale `resourceVersion`. */
  apply(resource: Resource, body: KubeObject, subresource?: 'status'): Promise<KubeObject> {
    const { namespace, name } = body.metadata;
    const path = resourcePath(resource, namespace, name) + (subresource ? `/${subresource}` : '');
    const query = { fieldManager, force: 'true', fieldValidation: 'Strict' };
    return this.#call('PATCH', path, { query, body, contentType: 'application/apply-patch+yaml' });
  }

  /** JSON merge patch (RFC 7386). */
  mergePatch(resource: Resource, namespace: string, name: string, body: object): Promise<KubeObject> {
    const contentType = 'application/merge-patch+json';
    return this.#call('PATCH', resourcePath(resource, namespace, name), {
      query: { fieldManager },
      body,
      contentType,
    });
  }

  /** Deletes this very object (its uid is a precondition); an object that is gone already is fine. */
  async delete(resource: Resource, object: KubeObject): Promise<void> {
    const { namespace, name, uid } = object.metadata;
    try {
      await this.#call('DELETE', resourcePath(resource, namespace, name), {
        body: {
          apiVersion: 'v1',
          kind: 'DeleteOptions',
          preconditions: { uid },
          propagationPolicy: 'Background',
        },
      });
    } catch (error) {
      // 409 is the precondition: another object of this name, which is not ours to delete.
      if (!isStatus(error, 404) && !isStatus(error, 409)) throw error;
    }
  }

  /** The OpenAPI 3 document of a group and version. */
  openAPI(apiVersion: string, signal: AbortSignal): Promise<OpenAPI> {
    return this.#call('GET', `/openapi/v3/apis/${apiVersion}`, { signal });
  }

  /** GET to a pod through the API server's proxy: the pod's own answer. */
  getFromPod(
    namespace: string,
    pod: string,
    port: number,
    path: string,
    signal: AbortSignal,
  ): Promise<http.IncomingMessage> {
    return this.open('GET', `/api/v1/namespaces/${namespace}/pods/${pod}:${port}/proxy${path}`, { signal });
  }
}

// What is given to a request before it has its connection waits in it, however long that takes.
function onceConnected(request: http.ClientRequest, then: () => void): void {
  request.once('socket', (socket) => {
    // The handshake's end; Node's types lack the member.
    const { connecting, secureConnecting } = socket as Socket & { secureConnecting?: boolean };
    if (secureConnecting) socket.once('secureConnect', then);
    else if (connecting) socket.once('connect', then);
    else then();
  });
}

function apiError(code: number, body: string): ApiError {
  try {
    const status = JSON.parse(body) as { reason?: string; message?: string; details?: { name?: string } };
    return new ApiError(
      code,
      status.reason ?? 'Unknown',
      status.message ?? `the API server answered ${code}`,
      status.details?.name,
    );
  } catch {
    return new ApiError(code, 'Unknown', `the API server answered ${code}`);
  }
}
