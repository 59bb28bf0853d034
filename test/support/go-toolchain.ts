import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cached } from './cache.ts';
import { type Log, runWithProgress, which } from './process.ts';

const run = promisify(execFile);

/** A Go module of ours, whose programs are built. */
export interface Toolchain {
  /** Name of its folder in the cache. */
  name: string;
  /** The folder with go.mod, go.sum and what else of Go it takes. */
  source: string;
  /** The required module whose version is the programs' version; none for programs of our own. */
  module?: string;
  /** Programs by name, and the packages that they are; of several, each is called by the end of its package's path. */
  packages: Record<string, string>;
  ldflags: (version: string) => string;
  /** Build tags: what to leave out of them. */
  tags?: string[];
  /** For those without Go: what needs it, and what would do in its place. */
  purpose: { builds: string; instead: string };
}

/** The folder with a toolchain's programs: from the cache, else built with Go, once. */
export async function ensureToolchain(toolchain: Toolchain, log: Log): Promise<string> {
  const { source } = toolchain;
  const goMod = await readFile(join(source, 'go.mod'), 'utf8');
  const others = (await readdir(source)).filter((file) => file === 'go.sum' || file.endsWith('.go')).sort();
  const sources = await Promise.all(others.map((file) => readFile(join(source, file), 'utf8')));
  const version = toolchain.module
    ? new RegExp(`^(?:require)?\\s*${toolchain.module} (v\\S+)`, 'm').exec(goMod)?.[1]
    : 'own';
  const goVersion = /^go (\S+)/m.exec(goMod)?.[1];
  if (!version || !goVersion) throw new Error(`${source}/go.mod names no version of ${toolchain.module}`);

  const flags = ['-mod=readonly', '-trimpath', '-buildvcs=false', '-ldflags', toolchain.ldflags(version)];
  if (toolchain.tags) flags.push('-tags', toolchain.tags.join(','));
  const hash = createHash('sha256')
    .update(JSON.stringify([goMod, ...sources, flags, toolchain.packages, process.platform, process.arch]))
    .digest('hex')
    .slice(0, 12);
  return cached(
    toolchain.name,
    `${version}-${hash}`,
    async (dir) => {
      const go = await requireGo(goVersion, toolchain);
      const packages = Object.values(toolchain.packages);
      const names = Object.keys(toolchain.packages);
      log(`${names.join(', ')} ${version}: building with Go, once; later starts take it from the cache`);
      // Several at once, since linking one occupies a single core; Go then calls each by the end of its package's path.
      const output = names.length === 1 ? join(dir, names[0] as string) : dir;
      await runWithProgress([go, 'build', '-v', ...flags, '-o', output, ...packages], {
        label: `${toolchain.name} ${version}`,
        unit: 'packages compiled',
        log,
        cwd: source,
        env: { ...process.env, CGO_ENABLED: '0', GOWORK: 'off' },
      });
    },
    log,
  );
}

/** One program that is built with Go, unless a variable names a ready one. */
export interface GoProgram extends Pick<Toolchain, 'name' | 'source'> {
  /** The required module whose version is the program's version. */
  module: string;
  /** The package that it is. */
  package: string;
  /** Its name for people. */
  title: string;
  /** The variable that names a ready one, and what that has to be. */
  variable: string;
  ready: string;
  /** Build tags: what to leave out of it. */
  tags?: string[];
}

/**
 * Path of a program: what its variable names, else the cache's, else built with Go, once.
 *
 * @throws {Error} when the variable names what is not there, or Go is missing.
 */
export async function ensureProgram(program: GoProgram, log: Log): Promise<string> {
  const { name, source, module, title, variable, ready, tags } = program;
  const given = process.env[variable];
  if (given) {
    if (existsSync(given)) return given;
    throw new Error(`${variable}=${given} is not there: set it to ${ready}`);
  }
  const toolchain: Toolchain = {
    ...{ name, source, module, ...(tags && { tags }) },
    packages: { [name]: program.package },
    ldflags: () => '-s -w',
    purpose: { builds: title, instead: `set ${variable} to ${ready}` },
  };
  return join(await ensureToolchain(toolchain, log), name);
}

async function requireGo(needed: string, { source, purpose }: Toolchain): Promise<string> {
  const { builds, instead } = purpose;
  const go = which('go');
  if (!go) {
    throw new Error(`Go ${needed} or later builds ${builds}, and PATH has no go: install it, or ${instead}`);
  }
  try {
    // Asked inside the module, so that GOTOOLCHAIN may fetch the version that it names, where that is allowed.
    await run(go, ['list', '-m'], { cwd: source });
  } catch {
    const { stdout } = await run(go, ['version'], { cwd: '/' });
    throw new Error(
      `Go ${needed} or later builds ${builds}, and ${go} is ${stdout.trim()}: install a newer one, or ${instead}`,
    );
  }
  return go;
}
