import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import { bundleFolder, startCommand } from '../../../sidecar/bundle/command.ts';
import type { Algorithm } from '../../../sidecar/contract/jwk.ts';
import { type KeyFixture, keyFixture, mintFiles, Volume } from '../../unit/sidecar/support/fixtures.ts';

const root = join(import.meta.dirname, '../../..');
const kid = 'bench';

/** The programs that are compared. */
export const subjectNames = ['sidecar', 'baseline', 'floor'] as const;
/** One of {@link subjectNames}. */
export type SubjectName = (typeof subjectNames)[number];

/** How `crypto.sign` is called in the floor. */
export type SignWay = 'sync' | 'async';

/** How to start a program under test on a port, and where it says that it is ready. */
export interface Subject {
  arguments: readonly string[];
  environment(port: number, healthPort: number): Record<string, string>;
  /** What readiness is asked of: the sidecar's is on a port of its own. */
  ready: 'main' | 'health';
}

/** One key, in the two forms in which programs take it. */
export interface BenchKey {
  fixture: KeyFixture;
  volume: Volume;
}

/** A key for all programs, and the mounted files with it. */
export function createKey(alg: Algorithm): BenchKey {
  const fixture = keyFixture(kid, { alg });
  const volume = new Volume();
  volume.swap(mintFiles([fixture], { issuer: 'macp-auth-service', audience: 'macp-runtime' }));
  return { fixture, volume };
}

/** The full path of node itself: the one in node_modules/.bin is a link, which takes time to follow. */
export const node = realpathSync(process.execPath);

/** The program as it is measured, with the key. The sidecar is the bundle, started and mounted as in a pod. */
export function subject(name: SubjectName, { fixture, volume }: BenchKey, way: SignWay): Subject {
  if (name === 'sidecar') {
    const command = startCommand(join(root, bundleFolder));
    return {
      arguments: command.arguments,
      environment: (port, healthPort) => ({
        ...command.environment,
        ...listening(port),
        MACP_AUTH_HEALTH_PORT: String(healthPort),
        MACP_AUTH_HEALTH_BIND_ADDRESS: '127.0.0.1',
        MACP_AUTH_FILES_DIR: volume.directory,
        MACP_AUTH_POD_NAMESPACE: 'team-a',
        MACP_AUTH_SERVICE_ACCOUNT: 'planner',
      }),
      ready: 'health',
    };
  }
  return {
    arguments: [join(import.meta.dirname, '..', name, 'server.mjs')],
    environment: (port) => ({
      ...listening(port),
      MACP_AUTH_SIGNING_KEY_JSON: JSON.stringify({ ...fixture.jwk, kid: fixture.kid }),
      MACP_AUTH_SIGNING_ALG: fixture.alg,
      FLOOR_SIGN: way,
    }),
    ready: 'main',
  };
}

const listening = (port: number) => ({ PORT: String(port), MACP_AUTH_BIND_ADDRESS: '127.0.0.1' });
