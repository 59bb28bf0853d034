import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A commit that people have, and what they call it: by its tag, else by the beginning of its id. */
export interface Release {
  commit: string;
  name: string;
}

/** This repository's. */
export const root = join(import.meta.dirname, '../../..');
/** Where its chart lies. */
export const chart = 'charts/macp-auth-operator';

/**
 * The release before the tree in a folder of a clone, as that lies there, committed or not: the highest version `v*` of its
 * history that is not this tree itself. Before there is one, the last commit on its way (by first parents) that has another
 * chart.
 *
 * @throws {Error} that says what to do, where the clone's history does not have it.
 */
export async function releaseBefore(root: string): Promise<Release> {
  const isShallow = await git(root, 'rev-parse', '--is-shallow-repository').catch((error) => {
    if (error.code === 'ENOENT') throw new Error('git is not on PATH: apt-get install git');
    throw new Error(
      `the release before is made of git's history, and ${root} has none: work in a clone (${error.stderr.trim()})`,
    );
  });
  for (const tag of await versions(root)) {
    if (await differs(root, tag, [])) {
      return { commit: await git(root, 'rev-parse', `${tag}^{commit}`), name: tag };
    }
  }
  for (const commit of lines(await git(root, 'rev-list', '--first-parent', 'HEAD'))) {
    if (await differs(root, commit, [chart])) return { commit, name: commit.slice(0, 12) };
  }
  throw new Error(
    isShallow === 'true'
      ? 'the history of this clone ends before the last release: git fetch --unshallow --tags'
      : 'no commit before this tree has another chart: there is nothing to upgrade from',
  );
}

/** Lays the files of a commit out in an empty folder, all or those in some paths. */
export async function layOut(
  root: string,
  commit: string,
  folder: string,
  paths: string[] = [],
): Promise<void> {
  const archive = join(folder, 'tree.tar');
  await git(root, 'archive', '--format=tar', '--output', archive, commit, ...paths);
  await run('tar', ['-xf', archive, '-C', folder]);
  await rm(archive);
}

// The highest first; a candidate for a version comes before that version.
const versions = async (root: string) =>
  lines(
    await git(
      root,
      ...['-c', 'versionsort.suffix=-', 'for-each-ref', '--merged=HEAD', '--sort=-version:refname'],
      ...['--format=%(refname:short)', 'refs/tags/v[0-9]*'],
    ),
  );

/** Whether the files that git knows, all or those in some paths, are others than those of a commit. */
const differs = (root: string, commit: string, paths: string[]): Promise<boolean> =>
  git(root, 'diff', '--quiet', commit, '--', ...paths).then(
    () => false,
    (error) => {
      if (error.code === 1) return true;
      throw error;
    },
  );

const lines = (text: string) => text.split('\n').filter(Boolean);

// Nothing of the user's own configuration, nothing of a hook that runs this. Root works on what a user has cloned, in CI.
async function git(root: string, ...args: string[]): Promise<string> {
  const env = { PATH: process.env.PATH, HOME: '/nonexistent', GIT_OPTIONAL_LOCKS: '0' };
  const { stdout } = await run('git', ['-c', 'safe.directory=*', '-C', root, ...args], {
    env,
    maxBuffer: 2 ** 24,
  });
  return stdout.trimEnd();
}
