import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cached } from '../../support/cache.ts';
import { type Log, runWithProgress, which } from '../../support/process.ts';

const version = '0.13.0';
// Its HTTP/JSON binding runs the same authentication and handlers as gRPC, and any fetch() is a client for it.
const feature = 'http-listener';

/** How long the first call of {@link ensureRuntime} may take: a build on two slow, busy cores. */
export const buildTimeoutMs = 30 * 60_000;

/**
 * Path of a `macp-runtime` that works: the one that `MACP_RUNTIME` names, else one built from the published crate
 * and kept in the user's cache. The build needs nothing but Rust.
 */
export async function ensureRuntime({ log = toStderr }: { log?: Log } = {}): Promise<string> {
  const given = process.env.MACP_RUNTIME;
  if (given) {
    await check(given);
    return given;
  }
  const dir = await cached('macp-runtime', `${version}-${feature}-${process.arch}`, build, log);
  return join(dir, 'bin', 'macp-runtime');
}

async function build(dir: string, log: Log): Promise<void> {
  const cargo = which('cargo');
  if (!cargo) {
    throw new Error(
      'cargo is not on PATH: the tests build the published MACP runtime with it. Install Rust 1.89 or later ' +
        '(see https://rustup.rs) and a C compiler, or set MACP_RUNTIME to a macp-runtime binary ' +
        `${version} that was built with --features ${feature}.`,
    );
  }
  const target = join(dir, 'target');
  const env = { ...process.env, CARGO_TARGET_DIR: target };
  const run = (args: string[], label: string, more: NodeJS.ProcessEnv = {}) =>
    // From the folder of the build, so that no configuration of cargo in the checkout or above has a say.
    runWithProgress([cargo, ...args], { label, unit: 'steps', log, cwd: dir, env: { ...env, ...more } });

  log(`macp-runtime ${version} is not in the cache yet: building it once, about three minutes on two cores`);
  // The build calls protoc. A pinned one from the registry spares the reader an installation, and compiles the
  // same everywhere. Its sources are copied, since cargo may write beside them.
  const sources = join(target, 'protoc-sources');
  await cp(join(import.meta.dirname, 'protoc'), sources, { recursive: true });
  await run(['install', '--debug', '--path', sources, '--root', target], 'protoc');
  const { stdout: protoc } = await promisify(execFile)(join(target, 'bin', 'vendored-protoc'));

  // Not --locked: the lock file of the published crate names a release that registries no longer serve.
  const crate = ['install', `macp-runtime@${version}`, '--bin', 'macp-runtime', '--features', feature];
  await run([...crate, '--root', dir], `macp-runtime ${version}`, { PROTOC: protoc.trim() });
  await check(join(dir, 'bin', 'macp-runtime'));
  await rm(target, { recursive: true });
}

/** The runtime has no --version: its dry run of policies ends well only where binary and feature are fine. */
async function check(binary: string): Promise<void> {
  const empty = await mkdtemp(join(tmpdir(), 'macp-policies-'));
  try {
    const { stdout } = await promisify(execFile)(binary, [], {
      cwd: empty,
      timeout: 10_000,
      env: {
        MACP_POLICIES_DRY_RUN: '1',
        MACP_POLICIES_DIR: empty,
        MACP_ALLOW_INSECURE: '1',
        MACP_HTTP_BIND_ADDR: '127.0.0.1:0',
      },
    });
    if (!stdout.includes('policy file(s) checked')) throw new Error(`it printed ${JSON.stringify(stdout)}`);
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    throw new Error(
      `${binary} is not a macp-runtime that was built with --features ${feature}: ${stderr || message}`,
    );
  } finally {
    await rm(empty, { recursive: true });
  }
}

function toStderr(line: string): void {
  process.stderr.write(`${line}\n`);
}
