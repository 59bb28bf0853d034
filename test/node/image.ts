import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The image of the node's own program: it holds pods open, and serves and asks over HTTP in tests. */
export const podImage = 'localhost/macp-node/pod:1';

/** Writes a docker-archive of an image with one static program into a folder, runs as nobody; resolves with its path. */
export async function writePodImage(dir: string, program: string): Promise<string> {
  const root = join(dir, 'root');
  await mkdir(root, { recursive: true });
  await copyFile(program, join(root, 'pod'));
  await archive(join(dir, 'layer.tar'), root, ['pod']);
  const layer = await readFile(join(dir, 'layer.tar'));
  const config = {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: { User: '65532:65532', Entrypoint: ['/pod'], Cmd: ['pause'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${createHash('sha256').update(layer).digest('hex')}`] },
  };
  await writeFile(join(dir, 'config.json'), JSON.stringify(config));
  const manifest = [{ Config: 'config.json', RepoTags: [podImage], Layers: ['layer.tar'] }];
  await writeFile(join(dir, 'manifest.json'), JSON.stringify(manifest));
  const file = join(dir, 'pod.tar');
  await archive(file, dir, ['manifest.json', 'config.json', 'layer.tar']);
  return file;
}

async function archive(file: string, dir: string, names: string[]): Promise<void> {
  await run('tar', [
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--mtime=@0',
    '-C',
    dir,
    '-cf',
    file,
    ...names,
  ]);
}
