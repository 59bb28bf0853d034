import { join } from 'node:path';
import { ensureProgram, type GoProgram } from '../../support/go-toolchain.ts';
import type { Log } from '../../support/process.ts';

const program: GoProgram = {
  name: 'caddy',
  source: join(import.meta.dirname, 'caddy'),
  module: 'github.com/caddyserver/caddy/v2',
  package: 'github.com/caddyserver/caddy/v2/cmd/caddy',
  title: 'Caddy',
  variable: 'MACP_CADDY',
  ready: 'a caddy of version 2',
};

/** Path of caddy: MACP_CADDY where that is set, else the cache's, else built with Go (about a minute, once). */
export const ensureCaddy = (log: Log): Promise<string> => ensureProgram(program, log);
