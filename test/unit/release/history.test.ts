import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { layOut, releaseBefore } from '../../e2e/release/history.ts';

let dir: string;
let root: string;

const chart = 'charts/macp-auth-operator/values.yaml';

const gitIn = (folder: string, ...args: string[]): string =>
  execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@example.com', '-C', folder, ...args], {
    env: { PATH: process.env.PATH, HOME: dir },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }).trim();
const git = (...args: string[]) => gitIn(root, ...args);

/** Writes a file and commits it; returns the commit. */
async function commit(file: string, content: string): Promise<string> {
  await writeFile(join(root, file), content);
  git('add', '.');
  git('commit', '--quiet', '--message', content);
  return git('rev-parse', 'HEAD');
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'macp-history-'));
  root = join(dir, 'clone');
  for (const folder of ['charts/macp-auth-operator', 'operator']) {
    await mkdir(join(root, folder), { recursive: true });
  }
  git('init', '--quiet', '--initial-branch=main');
});
afterEach(() => rm(dir, { recursive: true }));

test('before there is a tag it is the last commit with another chart', async () => {
  await commit(chart, 'one');
  const second = await commit('operator/main.ts', 'two');
  await commit(chart, 'three');
  expect(await releaseBefore(root)).toEqual({ commit: second, name: second.slice(0, 12) });
  const words = await commit('README.md', 'words');
  expect(await releaseBefore(root)).toMatchObject({ commit: second });
  await commit(chart, 'four');
  expect(await releaseBefore(root)).toMatchObject({ commit: words });
});

test('what is not committed is part of the tree', async () => {
  await commit(chart, 'one');
  const head = await commit(chart, 'two');
  await writeFile(join(root, chart), 'three');
  expect(await releaseBefore(root)).toMatchObject({ commit: head });
});

test('a branch that was merged is one step', async () => {
  const first = await commit(chart, 'one');
  git('switch', '--quiet', '--create', 'branch');
  await commit(chart, 'half');
  await commit(chart, 'all');
  git('switch', '--quiet', 'main');
  git('merge', '--quiet', '--no-ff', 'branch');
  expect(await releaseBefore(root)).toMatchObject({ commit: first });
});

test('it is the highest version of the history that is not the tree itself', async () => {
  await commit(chart, 'one');
  git('tag', 'v0.9.0');
  git('tag', 'very-old');
  const candidate = await commit(chart, 'two');
  git('tag', 'v0.10.0-rc.1');
  expect(await releaseBefore(root)).toMatchObject({ name: 'v0.9.0' });
  const release = await commit('README.md', 'three');
  expect(await releaseBefore(root)).toEqual({ commit: candidate, name: 'v0.10.0-rc.1' });
  git('tag', '--annotate', '--message', 'release', 'v0.10.0');
  expect(await releaseBefore(root)).toMatchObject({ name: 'v0.10.0-rc.1' });
  await commit('README.md', 'four');
  expect(await releaseBefore(root)).toEqual({ commit: release, name: 'v0.10.0' });
  git('switch', '--quiet', '--detach', candidate);
  await commit('README.md', 'a branch of an older version');
  expect(await releaseBefore(root)).toMatchObject({ name: 'v0.10.0-rc.1' });
});

test('a work tree beside the clone is as good', async () => {
  await commit('operator/main.ts', 'code');
  const first = await commit(chart, 'one');
  await commit(chart, 'two');
  const beside = join(dir, 'beside');
  git('worktree', 'add', '--quiet', beside);
  expect(await releaseBefore(beside)).toMatchObject({ commit: first });
  const folder = join(dir, 'laid-out');
  await mkdir(folder);
  await layOut(beside, first, folder);
  expect(await readFile(join(folder, chart), 'utf8')).toBe('one');
  expect(await readdir(folder)).toEqual(['charts', 'operator']);
  const part = join(dir, 'part');
  await mkdir(part);
  await layOut(beside, first, part, [dirname(chart)]);
  expect(await readFile(join(part, chart), 'utf8')).toBe('one');
  expect(await readdir(part)).toEqual(['charts']);
});

test('where history does not reach that far, the error says what to do', async () => {
  await commit(chart, 'one');
  await expect(releaseBefore(root)).rejects.toThrow('nothing to upgrade from');
  await commit(chart, 'two');
  const shallow = join(dir, 'shallow');
  gitIn(dir, 'clone', '--quiet', '--depth', '1', `file://${root}`, shallow);
  await expect(releaseBefore(shallow)).rejects.toThrow('git fetch --unshallow --tags');
  gitIn(shallow, 'fetch', '--quiet', '--unshallow', '--tags');
  expect(await releaseBefore(shallow)).toMatchObject({ commit: git('rev-parse', 'HEAD~1') });
  const exported = join(dir, 'exported');
  await mkdir(exported);
  await expect(releaseBefore(exported)).rejects.toThrow('work in a clone');
});
