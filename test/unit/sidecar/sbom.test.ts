import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { sbom } from '../../../sidecar/bundle/sbom.ts';

const root = join(import.meta.dirname, '../../..');
const inputs = [
  'sidecar/main.ts',
  'node_modules/zod/index.js',
  'node_modules/express/a.js',
  'node_modules/zod/b.js',
];

test('a bill of materials has each package of a bundle once, and is the same each time', async () => {
  const text = await sbom(root, 'macp-auth-sidecar', inputs);
  const { metadata, components, ...rest } = JSON.parse(text);
  expect(components.map(({ purl }: { purl: string }) => purl)).toEqual([
    'pkg:npm/express@5.3.0',
    'pkg:npm/zod@4.6.7',
  ]);
  expect(components[0]).toMatchObject({
    licenses: [{ license: { id: 'MIT' } }],
    hashes: [{ alg: 'SHA-512', content: expect.stringMatching(/^[0-9a-f]{128}$/) }],
  });
  expect(metadata.component).toMatchObject({
    type: 'application',
    name: 'macp-auth-sidecar',
    version: '0.1.0',
  });
  expect(Object.keys(rest).sort()).toEqual(['$schema', 'bomFormat', 'specVersion', 'version']);
  expect(await sbom(root, 'macp-auth-sidecar', inputs)).toBe(text);
});

test('a package that the lock file does not know is an error', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'macp-sbom-'));
  try {
    const manifest = { name: 'x', version: '1.0.0' };
    await writeFile(join(folder, 'package.json'), JSON.stringify(manifest));
    const lock = { ...manifest, lockfileVersion: 3, packages: { '': manifest } };
    await writeFile(join(folder, 'package-lock.json'), JSON.stringify(lock));
    await mkdir(join(folder, 'node_modules/left'), { recursive: true });
    await writeFile(join(folder, 'node_modules/left/package.json'), '{"name":"left","version":"2.0.0"}');
    await expect(sbom(folder, 'x', ['node_modules/left/index.js'])).rejects.toThrow(
      'left 2.0.0 is not in package-lock.json: run npm ci',
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});
