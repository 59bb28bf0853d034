import { readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { nodeOptions } from '../../operator/bundle/command.ts';
import { startCommand } from '../../sidecar/bundle/command.ts';
import { buildImages, type Images, makeImages } from '../images/build.ts';
import { type Container, startContainer } from '../images/container.ts';
import { type ImageConfig, unpackImage } from '../images/rootfs.ts';
import { ownedTempDir } from '../support/tempdir.ts';

const root = join(import.meta.dirname, '../..');
const log = (line: string) => process.stderr.write(`${line}\n`);
const node = '/usr/local/bin/node';

type Name = 'sidecar' | 'operator';
let folder: string;
let images: Images;
const unpacked = {} as Record<Name, { rootfs: string; config: ImageConfig }>;
const running = new Set<Container>();

beforeAll(async () => {
  images = await buildImages({ log });
  folder = await ownedTempDir('macp-image-test');
  for (const name of ['sidecar', 'operator'] as const) {
    await mkdir(join(folder, name));
    unpacked[name] = await unpackImage(images[name], join(folder, name));
  }
}, 1_200_000);

afterAll(async () => {
  for (const container of running) await container.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

function start(name: Name, options: { args?: string[]; env?: Record<string, string> } = {}): Container {
  const { rootfs, config } = unpacked[name];
  const container = startContainer(rootfs, config, options);
  running.add(container);
  return container;
}

async function listening(container: Container, said = '"event":"listening"'): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!container.output().includes(said)) {
    if (Date.now() > deadline || container.process.exitCode !== null) {
      throw new Error(`not listening: ${container.output()}`);
    }
    await sleep(50);
  }
}

/** The words after HEALTHCHECK … CMD: our images without Docker have none. */
function healthcheck(name: Name): [program: string, flag: string, script: string] {
  const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8').replaceAll('\\\n', '');
  const [, stage = ''] = dockerfile.split(`FROM runtime AS ${name}\n`);
  return JSON.parse(/^HEALTHCHECK .* CMD (\[.*\])$/m.exec(stage)?.[1] as string);
}

/** Every file, with its path from the root of the image. */
function filesOf(name: Name): { path: string; mode: number }[] {
  const { rootfs } = unpacked[name];
  return readdirSync(rootfs, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return { path: path.slice(rootfs.length), mode: entry.isFile() ? statSync(path).mode : 0 };
    });
}

describe('the sidecar', () => {
  test('mints alone, says that it is healthy, and ends in good order', async () => {
    const container = start('sidecar', { env: { MACP_AUTH_SIGNING_ALG: 'ES256' } });
    await listening(container);
    const ask = `
      const mint = await fetch('http://127.0.0.1:3200/tokens', {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"sender":"agent://a"}' });
      const health = await fetch('http://127.0.0.1:3200/healthz');
      console.log(JSON.stringify([mint.status, await mint.json(), health.status, await health.json()]));`;
    const { stdout, stderr } = container.exec([node, '--input-type=module', '-e', ask]);
    expect({ stderr, answers: JSON.parse(stdout) }).toEqual({
      stderr: '',
      answers: [
        200,
        {
          token: expect.stringMatching(/^ey[\w-]+\.ey[\w-]+\.[\w-]+$/),
          sender: 'agent://a',
          expires_in_seconds: 300,
        },
        200,
        { ok: true },
      ],
    });
    expect(await container.stop()).toBe(0);
  });

  test("Docker's health check succeeds where it listens, and fails where nothing does", async () => {
    const container = start('sidecar', { env: { PORT: '3300', MACP_AUTH_BIND_ADDRESS: '127.0.0.2' } });
    await listening(container);
    expect(container.exec(healthcheck('sidecar'))).toMatchObject({ status: 0, stderr: '' });
    const [program, flag, script] = healthcheck('sidecar');
    expect(container.exec([program, flag, `process.env.PORT = '3301'; ${script}`])).toMatchObject({
      status: 1,
    });
    await container.stop();
  });

  test('runs on what V8 compiled in the build, which its user cannot change', async () => {
    const container = start('sidecar', { env: { NODE_DEBUG: 'macp-auth-start' } });
    await listening(container);
    await container.stop();
    expect(container.output()).toContain('compiled code was accepted');
    for (const { path, mode } of filesOf('sidecar').filter(({ path }) => path.startsWith('/app/'))) {
      expect({ path, owner: statSync(join(unpacked.sidecar.rootfs, path)).uid, mode: mode & 0o777 }).toEqual({
        path,
        owner: 0,
        mode: 0o644,
      });
    }
  });

  test('is its bundle, compiled code and licences, and nothing of Kubernetes', () => {
    const ours = filesOf('sidecar').map(({ path }) => path);
    expect(ours.filter((path) => path.startsWith('/app/')).sort()).toEqual([
      '/app/LICENSE',
      '/app/LICENSES.txt',
      '/app/sidecar.cjs',
      '/app/sidecar.code',
      '/app/start.cjs',
    ]);
    expect(readFileSync(join(unpacked.sidecar.rootfs, 'app/LICENSES.txt'), 'utf8')).not.toContain(
      '@kubernetes/',
    );
  });

  test('is started as everywhere', () => {
    const command = startCommand('/app');
    const { Entrypoint, Env } = unpacked.sidecar.config;
    expect(Entrypoint).toEqual([node, ...command.arguments]);
    const variables = Env.filter((variable) => !variable.startsWith('PATH='));
    expect(variables.sort()).toEqual(
      Object.entries(command.environment)
        .map(([name, value]) => `${name}=${value}`)
        .sort(),
    );
  });
});

describe('the operator', () => {
  test('says what it lacks, and ends, without a cluster', async () => {
    const withoutImage = start('operator');
    await new Promise((resolve) => withoutImage.process.once('close', resolve));
    expect(withoutImage.process.exitCode).toBe(1);
    expect(withoutImage.output()).toContain(
      '--sidecar-image (or MACP_AUTH_OPERATOR_SIDECAR_IMAGE) must be set',
    );

    const withoutCluster = start('operator', { args: ['--sidecar-image', 'x', '--kubeconfig', '/none'] });
    await new Promise((resolve) => withoutCluster.process.once('close', resolve));
    expect(withoutCluster.process.exitCode).toBe(1);
    expect(withoutCluster.output()).toContain('the kubeconfig cannot be used');
  });

  test("Docker's health check succeeds where it listens, and fails where nothing does", async () => {
    const env = {
      MACP_AUTH_OPERATOR_HEALTH_PORT: '8181',
      MACP_AUTH_OPERATOR_HEALTH_ADDRESS: '127.0.0.2',
      // Nothing is there, which it waits out.
      MACP_AUTH_OPERATOR_SIDECAR_IMAGE: 'x',
    };
    const container = start('operator', { env });
    await listening(container, '"msg":"started"');
    expect(container.exec(healthcheck('operator'))).toMatchObject({ status: 0, stderr: '' });
    const [program, flag, script] = healthcheck('operator');
    const elsewhere = `process.env.MACP_AUTH_OPERATOR_HEALTH_PORT = '8182'; ${script}`;
    expect(container.exec([program, flag, elsewhere])).toMatchObject({ status: 1 });
    await container.stop();
  });

  test('is started as everywhere', () => {
    expect(unpacked.operator.config.Entrypoint).toEqual([node, ...nodeOptions, '/app/operator.cjs']);
    expect(unpacked.operator.config.Env.filter((variable) => !variable.startsWith('PATH='))).toEqual([]);
  });
});

describe.each(['sidecar', 'operator'] as const)('the image of the %s', (name) => {
  test('has no shell, no package manager, no node_modules, and no program that runs as another user', () => {
    const files = filesOf(name);
    const programs = files.filter(({ path }) => /\/s?bin\/[^/]+$/.test(path)).map(({ path }) => path);
    expect(programs).toEqual([node]);
    expect(files.filter(({ path }) => path.includes('node_modules'))).toEqual([]);
    expect(files.filter(({ mode }) => mode & 0o6000)).toEqual([]);
  });

  test('runs as a numeric user who is not root', () => {
    expect(unpacked[name].config.User).toBe('65532:65532');
  });

  test('says what it is', () => {
    expect(unpacked[name].config.Labels).toMatchObject({
      'org.opencontainers.image.title': `macp-auth-${name}`,
      'org.opencontainers.image.description': expect.any(String),
      'org.opencontainers.image.licenses': 'Apache-2.0',
      'org.opencontainers.image.version': expect.any(String),
      'org.opencontainers.image.revision': expect.any(String),
    });
  });

  test('is small', () => {
    const { size, compressedSize } = images[name];
    log(`${name}: ${(size / 1e6).toFixed(1)} MB, with gzip ${(compressedSize / 1e6).toFixed(1)} MB`);
    expect(size).toBeLessThan(160e6);
    expect(compressedSize).toBeLessThan(60e6);
  });

  test('comes with licences and a bill of materials of the same packages', async () => {
    const text = await readFile(join(unpacked[name].rootfs, 'app/LICENSES.txt'), 'utf8');
    const licensed = [...text.matchAll(/^(\S+ \d\S*) \(.*\)$/gm)].map(([, found]) => found);
    const bom = JSON.parse(await readFile(images[name].sbom, 'utf8'));
    expect(bom).toMatchObject({
      bomFormat: 'CycloneDX',
      metadata: { component: { name: `macp-auth-${name}` } },
    });
    const listed = bom.components.map(
      ({ name, version }: { name: string; version: string }) => `${name} ${version}`,
    );
    expect(listed).toEqual(licensed);
    const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const direct =
      name === 'sidecar' ? ['express', 'pino', 'zod'] : ['@kubernetes/client-node', 'pino', 'zod'];
    expect(listed).toEqual(expect.arrayContaining(direct.map((each) => `${each} ${dependencies[each]}`)));
  });
});

test('two builds of the same give the same images', async () => {
  const again = join(folder, 'again');
  await mkdir(again);
  await makeImages(again, log);
  const described = JSON.parse(await readFile(join(again, 'images.json'), 'utf8'));
  expect({ sidecar: described.sidecar.id, operator: described.operator.id }).toEqual({
    sidecar: images.sidecar.id,
    operator: images.operator.id,
  });
}, 1_200_000);
