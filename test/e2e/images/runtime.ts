import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, cp, mkdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { cached } from '../../support/cache.ts';
import { packLayer, writeArchive } from '../../support/image-archive.ts';
import type { Log } from '../../support/process.ts';
import { ensureRuntime } from '../../verify/toolchain/runtime.ts';

/** The image of the published MACP runtime. */
export const runtimeImage = 'localhost/macp-e2e/runtime:0.13.0';

/** Archive of an image with the runtime that judges in the other tests, and the libraries of this machine that it takes. */
export async function buildRuntimeImage(log: Log): Promise<string> {
  const program = await ensureRuntime({ log });
  const key = createHash('sha256')
    .update(await readFile(program))
    .update(await readFile(import.meta.filename))
    .digest('hex')
    .slice(0, 12);
  const folder = await cached('runtime-image', key, (dir) => build(dir, program), log);
  return join(folder, 'runtime.tar');
}

async function build(dir: string, program: string): Promise<void> {
  const root = join(dir, 'root');
  await mkdir(root);
  await copyFile(program, join(root, 'macp-runtime'));
  for (const library of await librariesOf(program)) {
    await mkdir(join(root, dirname(library)), { recursive: true });
    await cp(library, join(root, library), { dereference: true });
  }
  const layer = join(dir, 'layer.tar');
  await packLayer(layer, root);
  await writeArchive(join(dir, 'runtime.tar'), {
    ref: runtimeImage,
    layers: [layer],
    entrypoint: ['/macp-runtime'],
  });
  await Promise.all([rm(root, { recursive: true }), rm(layer)]);
}

async function librariesOf(program: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('ldd', [program]);
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, file]) => file as string);
}
