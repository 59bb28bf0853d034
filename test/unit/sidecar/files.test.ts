import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { readFiles } from '../../../sidecar/keys/files.ts';
import { Volume } from './support/fixtures.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function volume(): Volume {
  const created = new Volume();
  cleanups.push(() => created.remove());
  return created;
}

function plainDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'sidecar-plain-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const allNamed = (text: string) => ({ 'keys.json': text, 'jwks.json': text, 'settings.json': text });

describe('reading the mounted files', () => {
  test('from a volume, of which a file may be absent', async () => {
    const mounted = volume();
    mounted.swap({ 'jwks.json': 'J', 'settings.json': 'S' });
    expect(await readFiles(mounted.directory)).toEqual({ keys: undefined, jwks: 'J', settings: 'S' });
  });

  test('from a plain directory', async () => {
    const directory = plainDirectory();
    writeFileSync(join(directory, 'settings.json'), 'S');
    expect(await readFiles(directory)).toEqual({ keys: undefined, jwks: undefined, settings: 'S' });
  });

  test('what is beside ..data does not count', async () => {
    const mounted = volume();
    mounted.swap({ 'settings.json': 'S' });
    writeFileSync(join(mounted.directory, 'keys.json'), 'stray');
    expect(await readFiles(mounted.directory)).toMatchObject({ keys: undefined, settings: 'S' });
  });

  test('never mixes two versions, however often they are swapped', async () => {
    const mounted = volume();
    mounted.swap(allNamed('0'));
    const seen = new Set<string>();
    for (let version = 1; version <= 300; version += 1) {
      const reading = readFiles(mounted.directory);
      // At another point of the read each time.
      for (let turn = 0; turn < version % 7; turn += 1) await new Promise(setImmediate);
      // On a busy machine no read would be done by then.
      if (version % 7 === 6) await reading;
      mounted.swap(allNamed(String(version)));
      const { keys, jwks, settings } = await reading;
      expect([jwks, settings]).toEqual([keys, keys]);
      expect(keys).toBeDefined();
      seen.add(String(Number(keys) === version ? 'after' : 'before'));
    }
    expect(seen).toEqual(new Set(['before', 'after']));
  });

  test('a missing directory is named with its fix', async () => {
    await expect(readFiles('/nonexistent/files')).rejects.toThrow(
      '/nonexistent/files: does not exist; mount the volume there, or correct MACP_AUTH_FILES_DIR',
    );
  });

  test('a file in place of a directory is named', async () => {
    const file = join(plainDirectory(), 'file');
    writeFileSync(file, '');
    await expect(readFiles(file)).rejects.toThrow(/file.*ENOTDIR/);
  });

  test('a directory in place of a file is named', async () => {
    const directory = plainDirectory();
    mkdirSync(join(directory, 'keys.json'));
    await expect(readFiles(directory)).rejects.toThrow(/keys\.json: can't be read \(EISDIR\)/);
  });
});
