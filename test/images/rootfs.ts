import { execFile } from 'node:child_process';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Image } from './build.ts';

const run = promisify(execFile);

/** What an image says of itself (https://github.com/opencontainers/image-spec/blob/main/config.md). */
export interface ImageConfig {
  User: string;
  Env: string[];
  Entrypoint: string[];
  Cmd?: string[];
  WorkingDir: string;
  ExposedPorts?: Record<string, object>;
  Labels: Record<string, string>;
}

/** Unpacks an image into `folder`/rootfs, layer over layer, and returns its configuration. Needs root. */
export async function unpackImage(
  image: Image,
  folder: string,
): Promise<{ rootfs: string; config: ImageConfig }> {
  const archive = join(folder, 'archive');
  const rootfs = join(folder, 'rootfs');
  await mkdir(archive, { recursive: true });
  await mkdir(rootfs);
  await run('tar', ['-xf', image.archive, '-C', archive]);
  const [{ Config, Layers }] = JSON.parse(await readFile(join(archive, 'manifest.json'), 'utf8'));
  for (const layer of Layers) {
    await run('tar', ['-xpf', join(archive, layer), '-C', rootfs, '--numeric-owner']);
  }
  const { config } = JSON.parse(await readFile(join(archive, Config), 'utf8'));
  await rm(archive, { recursive: true });
  return { rootfs, config };
}
