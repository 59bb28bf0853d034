import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
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
  const { goMod, goVersion, version } = await readGoMod(source, toolchain.module);
  const others = (await readdir(source)).filter((file) => file === 'go.sum' || file.endsWith('.go')).sort();
  const sources = await Promise.all(others.map((file) => readFile(join(source, file), 'utf8')));

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
      const { builds, instead } = toolchain.purpose;
      const go = await requireGo(goVersion, { source, does: `builds ${builds}`, instead });
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
      const unknown = names.filter((program) => !existsSync(join(dir, program)));
      if (unknown.length > 0) throw new Error(`${source}: no package's path ends with ${unknown.join(', ')}`);
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

/** Files of a Go module that are taken as they are. */
export interface ModuleFiles extends Pick<Toolchain, 'name' | 'source'> {
  module: string;
  /** Their paths in the module; each has a name of its own. */
  files: string[];
  /** What they are, for people. */
  title: string;
}

/** Paths of files of a module: from the cache, else fetched with Go, once, and held to the sum in its go.sum. */
export async function ensureModuleFiles(
  { name, source, module, files, title }: ModuleFiles,
  log: Log,
): Promise<string[]> {
  const { goMod, goVersion, version } = await readGoMod(source, module);
  const goSum = await readFile(join(source, 'go.sum'), 'utf8');
  const hash = createHash('sha256')
    .update(JSON.stringify([goMod, goSum, files]))
    .digest('hex')
    .slice(0, 12);
  const folder = await cached(
    name,
    `${version}-${hash}`,
    async (dir) => {
      const go = await requireGo(goVersion, { source, does: `fetches ${title}`, instead: 'run other tests' });
      log(`${title} ${version}: fetching with Go, once; later starts take it from the cache`);
      const env = { ...process.env, GOWORK: 'off' };
      const label = `${title} ${version}`;
      await runWithProgress([go, 'mod', 'download', module], { label, unit: 'lines', log, cwd: source, env });
      const { stdout } = await run(go, ['list', '-m', '-f', '{{.Dir}}', module], { cwd: source, env });
      for (const file of files) await copyFile(join(stdout.trim(), file), join(dir, basename(file)));
    },
    log,
  );
  return files.map((file) => join(folder, basename(file)));
}

async function readGoMod(
  source: string,
  module: string | undefined,
): Promise<{ goMod: string; goVersion: string; version: string }> {
  const goMod = await readFile(join(source, 'go.mod'), 'utf8');
  const version = module ? new RegExp(`^(?:require)?\\s*${module} (v\\S+)`, 'm').exec(goMod)?.[1] : 'own';
  const goVersion = /^go (\S+)/m.exec(goMod)?.[1];
  if (!version || !goVersion) throw new Error(`${source}/go.mod names no version of ${module}`);
  return { goMod, goVersion, version };
}

async function requireGo(
  needed: string,
  { source, does, instead }: { source: string; does: string; instead: string },
): Promise<string> {
  const go = which('go');
  if (!go) {
    throw new Error(`Go ${needed} or later ${does}, and PATH has no go: install it, or ${instead}`);
  }
  try {
    // Asked inside the module, so that GOTOOLCHAIN may fetch the version that it names, where that is allowed.
    await run(go, ['list', '-m'], { cwd: source });
  } catch {
    const { stdout } = await run(go, ['version'], { cwd: '/' });
    throw new Error(
      `Go ${needed} or later ${does}, and ${go} is ${stdout.trim()}: install a newer one, or ${instead}`,
    );
  }
  return go;
}
