import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** An image that is made of files of this machine. */
export interface Content {
  /** What pods call it. */
  ref: string;
  /** Tar files, the lowest first. */
  layers: string[];
  entrypoint: string[];
  cmd?: string[];
  env?: string[];
}

/** Packs a folder as a layer, all of it root's, so that nothing in an image can change itself. */
export async function packLayer(file: string, folder: string): Promise<void> {
  await tar(
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--mtime=@0',
    '--mode=go+rX',
    '-C',
    folder,
    '-cf',
    file,
    '.',
  );
}

/** Writes an image as a docker-archive; it runs as user 65532. */
export async function writeArchive(
  file: string,
  { ref, layers, entrypoint, cmd, env = [] }: Content,
): Promise<void> {
  const dir = await mkdtemp(join(dirname(file), 'archive-'));
  try {
    const config = {
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { User: '65532:65532', Entrypoint: entrypoint, Cmd: cmd, Env: env },
      rootfs: { type: 'layers', diff_ids: await Promise.all(layers.map(digest)) },
    };
    const names = layers.map((_, index) => `layer-${index}.tar`);
    await Promise.all(layers.map((layer, index) => symlink(layer, join(dir, names[index] as string))));
    await writeFile(join(dir, 'config.json'), JSON.stringify(config));
    const manifest = [{ Config: 'config.json', RepoTags: [ref], Layers: names }];
    await writeFile(join(dir, 'manifest.json'), JSON.stringify(manifest));
    await tar('--dereference', '-C', dir, '-cf', file, 'manifest.json', 'config.json', ...names);
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** Writes the same image under another name. */
export async function renameImage(archive: string, file: string, ref: string): Promise<void> {
  const { stdout } = await run('tar', ['-xOf', archive, 'manifest.json']);
  const [manifest] = JSON.parse(stdout);
  const dir = await mkdtemp(join(dirname(file), 'rename-'));
  try {
    await tar('-C', dir, '-xf', archive);
    await writeFile(join(dir, 'manifest.json'), JSON.stringify([{ ...manifest, RepoTags: [ref] }]));
    const names = ['manifest.json', manifest.Config, ...manifest.Layers];
    await tar('-C', dir, '-cf', file, ...names);
  } finally {
    await rm(dir, { recursive: true });
  }
}

const tar = (...args: string[]) => run('tar', args);

async function digest(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return `sha256:${hash.digest('hex')}`;
}
