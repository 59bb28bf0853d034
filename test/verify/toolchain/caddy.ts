import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ensureToolchain, type Toolchain } from '../../support/go-toolchain.ts';

const toolchain: Toolchain = {
  name: 'caddy',
  source: join(import.meta.dirname, 'caddy'),
  module: 'github.com/caddyserver/caddy/v2',
  packages: { caddy: 'github.com/caddyserver/caddy/v2/cmd/caddy' },
  ldflags: () => '-s -w',
  purpose: { builds: 'Caddy', instead: 'set MACP_CADDY to a caddy of version 2' },
};

/** Path of caddy: MACP_CADDY where that is set, else the cache's, else built with Go (about a minute, once). */
export async function ensureCaddy(): Promise<string> {
  const given = process.env.MACP_CADDY;
  if (!given) {
    const log = (line: string) => process.stderr.write(`${line}\n`);
    return join(await ensureToolchain(toolchain, log), 'caddy');
  }
  if (!existsSync(given)) throw new Error(`MACP_CADDY=${given} is not there: set it to a caddy of version 2`);
  return given;
}
