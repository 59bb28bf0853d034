import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { ensureActionlint } from '../support/actionlint.ts';

const root = join(import.meta.dirname, '../..');
const folder = join(root, '.github/workflows');
const files = readdirSync(folder).map((name) => join(folder, name));

interface Job {
  permissions?: Record<string, string>;
  strategy?: { matrix: Record<string, string[]> };
  needs?: string | string[];
  /** Another workflow, in place of steps. */
  uses?: string;
  'timeout-minutes'?: number;
  steps?: { uses?: string; run?: string; with?: Record<string, unknown> }[];
}

const read = (name: string): { permissions?: unknown; defaults?: unknown; jobs: Record<string, Job> } =>
  parse(readFileSync(join(folder, name), 'utf8'));
const { jobs } = read('publish.yml');
const job = (name: string): Job => jobs[name] ?? {};
const stepsOf = ({ steps = [] }: Job) => steps;
const commands = (one: Job) =>
  stepsOf(one)
    .map(({ run }) => run ?? '')
    .join('\n');
const actionsOf = (one: Job) => stepsOf(one).map(({ uses }) => uses?.split('@')[0]);

test('actionlint finds nothing in the workflows, and finds a mistake', async () => {
  const actionlint = await ensureActionlint((line) => process.stderr.write(`${line}\n`));
  // Not with the shell checker that a machine happens to have.
  const lint = (input: string) =>
    spawnSync(actionlint, ['-shellcheck=', '-pyflakes=', '-no-color', '-'], {
      cwd: root,
      encoding: 'utf8',
      input,
    });
  for (const file of files) {
    expect(lint(readFileSync(file, 'utf8'))).toMatchObject({ status: 0, stdout: '', stderr: '' });
  }
  const mistaken = readFileSync(join(folder, 'publish.yml'), 'utf8').replace(
    'needs: [name, image]',
    'needs: [name]',
  );
  const unknownJob = mistaken.replace('needs.name.outputs.version', 'needs.image.outputs.version');
  expect(lint(unknownJob).stdout).toContain('"image" is not defined');
}, 600_000);

test('every action is pinned to a commit, and a comment says which version that is', () => {
  const lines = files.flatMap((file) => readFileSync(file, 'utf8').split('\n'));
  // But for the workflow beside it, which is of the same commit.
  const uses = lines.filter((line) => /^\s*(- )?uses: (?!\.\/)/.test(line));
  expect(uses.length).toBeGreaterThan(0);
  for (const line of uses) expect(line).toMatch(/uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
});

test('no job may do anything that it is not given, and only those that sign get an identity', () => {
  expect(read('publish.yml').permissions).toEqual({});
  expect(read('checks.yml').permissions).toEqual({ contents: 'read' });
  const withIdentity = Object.keys(jobs).filter((name) => job(name).permissions?.['id-token'] === 'write');
  expect(withIdentity).toEqual(Object.keys(jobs).filter((name) => /cosign sign/.test(commands(job(name)))));
});

test('what fails in a pipe fails its step', () => {
  // GitHub gives `pipefail` to a shell that is named, and not to the one that it takes by itself.
  expect(read('publish.yml').defaults).toEqual({ run: { shell: 'bash' } });
});

test('the checks have the whole history, of which the tests make the release before', () => {
  const [checkout] = stepsOf(read('checks.yml').jobs.checks ?? {});
  expect(checkout).toMatchObject({
    uses: expect.stringContaining('actions/checkout@'),
    with: { 'fetch-depth': 0 },
  });
});

test('the checks end what runs away, by its name, before the job ends them', () => {
  const run = readFileSync(join(root, '.ci/run'), 'utf8');
  const whole = Number(/^whole=(\d+)$/m.exec(run)?.[1]);
  expect(whole).toBeGreaterThan(75 * 60);
  expect(whole).toBeLessThan((read('checks.yml').jobs.checks?.['timeout-minutes'] ?? 0) * 60);
});

test('each image of the Dockerfile is built for both architectures, named, signed and attested', () => {
  const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8');
  const images = [...dockerfile.matchAll(/^FROM runtime AS (\w+)$/gm)].map(([, target]) => target);
  expect(images).toEqual(['sidecar', 'operator']);
  expect(job('build').strategy?.matrix).toEqual({ image: images, arch: ['amd64', 'arm64'] });
  expect(job('image').strategy?.matrix).toEqual({ image: images });
  expect(commands(job('image'))).toContain('cosign sign --yes --recursive "$IMAGE@$DIGEST"');
  const attestations = ['actions/attest-build-provenance', 'actions/attest-sbom'];
  expect(actionsOf(job('image'))).toEqual(expect.arrayContaining(attestations));
  const build = stepsOf(job('build')).find(({ uses }) => uses?.startsWith('docker/build-push-action@'));
  expect(build?.with).toMatchObject({ provenance: 'mode=max', sbom: true });
});

test('nothing is published of a commit whose checks fail', () => {
  expect(job('checks').uses).toBe('./.github/workflows/checks.yml');
  expect(job('build').needs).toContain('checks');
  expect(job('image').needs).toContain('build');
  expect(job('chart').needs).toContain('image');
});

test('the chart is published with the images of the same tag, signed and attested', () => {
  expect(commands(job('chart'))).toMatch(
    /for image in operator sidecar.*\.image = .*\.runbookURL = .*helm package/s,
  );
  expect(actionsOf(job('chart'))).toContain('actions/attest-build-provenance');
  expect(commands(job('chart'))).toContain('helm package charts/macp-auth-operator');
  expect(commands(job('chart'))).toContain('cosign sign --yes "$REGISTRY/charts/macp-auth-operator@$DIGEST"');
});
