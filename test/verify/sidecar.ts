import { join } from 'node:path';
import type { NamedKey } from './forge.ts';
import { start } from './process.ts';

/** How to run the sidecar alone, configured by its environment. */
export type SidecarOptions = {
  signingKey: NamedKey;
  issuer?: string;
  audience?: string;
  /** More of its environment variables. */
  env?: Record<string, string>;
};

/** Body of `POST /tokens`. */
export type MintRequest = { sender: string; scopes?: Record<string, unknown>; ttl_seconds?: number };

/** A sidecar that runs. */
export type Sidecar = {
  /** Base URL. */
  address: string;
  /** What a runtime takes as `MACP_AUTH_JWKS_URL`. */
  jwksURL: string;
  /** Mints a token; a refusal is thrown. */
  mint(request: MintRequest): Promise<string>;
  output(): string;
  stop(): Promise<void>;
};

/** Starts the sidecar program itself, on a free port. */
export async function startSidecar(options: SidecarOptions): Promise<Sidecar> {
  const { signingKey, issuer, audience, env = {} } = options;
  const {
    ready: address,
    output,
    stop,
  } = await start({
    name: 'sidecar',
    argv: [process.execPath, join(import.meta.dirname, '../../sidecar/main.ts')],
    env: {
      PORT: '0',
      MACP_AUTH_BIND_ADDRESS: '127.0.0.1',
      MACP_AUTH_SIGNING_KEY_JSON: JSON.stringify(signingKey),
      MACP_AUTH_SIGNING_ALG: signingKey.alg,
      ...(issuer && { MACP_AUTH_ISSUER: issuer }),
      ...(audience && { MACP_AUTH_AUDIENCE: audience }),
      ...env,
    },
    ready: async (output) => {
      const port = /"event":"listening".*?"port":(\d+)/.exec(output)?.[1];
      return port && `http://127.0.0.1:${port}`;
    },
  });
  return {
    address,
    jwksURL: `${address}/.well-known/jwks.json`,
    mint: (body) => mint(address, body),
    output,
    stop,
  };
}

/** Mints a token at the sidecar of that base URL; a refusal is thrown. */
export async function mint(address: string, request: MintRequest): Promise<string> {
  const response = await fetch(`${address}/tokens`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(request),
    signal: AbortSignal.timeout(10_000),
  });
  const answer = (await response.json()) as { token?: string; error?: string };
  if (!answer.token) throw new Error(`POST /tokens answered ${response.status}: ${answer.error}`);
  return answer.token;
}
