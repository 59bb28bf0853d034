import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { licences } from '../../../sidecar/bundle/licences.ts';

const root = join(import.meta.dirname, '../../..');

test('each package of a bundle is there once, with its version and its licence, and nothing of our own', async () => {
  const text = await licences(root, [
    'sidecar/main.ts',
    'node_modules/zod/v4/core/core.js',
    'node_modules/express/lib/express.js',
    'node_modules/express/lib/utils.js',
  ]);
  expect(text.match(/^\S+ \S+ \(.*\)$/gm)).toEqual(['express 5.3.0 (MIT)', 'zod 4.6.7 (MIT)']);
  expect(text).toContain('TJ Holowaychuk');
  expect(text).toContain('Colin McDonnell');
});

test('a package without a licence is an error', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'macp-licences-'));
  try {
    const without = join(folder, 'node_modules/@scope/without');
    mkdirSync(without, { recursive: true });
    writeFileSync(
      join(without, 'package.json'),
      '{"name":"@scope/without","version":"1.0.0","license":"MIT"}',
    );
    await expect(licences(folder, ['node_modules/@scope/without/lib/index.js'])).rejects.toThrow(
      '@scope/without 1.0.0 (MIT) has no file with its licence',
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
