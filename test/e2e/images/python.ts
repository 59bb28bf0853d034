import { createHash } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { requireImageTools } from '../../images/tools.ts';
import { cached } from '../../support/cache.ts';
import { packLayer, writeArchive } from '../../support/image-archive.ts';
import { type Log, runWithProgress } from '../../support/process.ts';

/** The image of an agent in Python, with the published SDK. */
export const pythonImage = 'localhost/macp-e2e/python:0.22.0';

const sdk = 'macp-sdk-python==0.22.0';
// Debian's release and its Python.
const suite = 'bookworm';
const python = '3.11';

/** Archive of an image with Debian's Python and the SDK that agents are written with. */
export async function buildPythonImage(log: Log): Promise<string> {
  const key = createHash('sha256')
    .update(process.arch)
    .update(await readFile(import.meta.filename))
    .digest('hex')
    .slice(0, 12);
  const folder = await cached('python-image', key, build, log);
  return join(folder, 'python.tar');
}

async function build(dir: string, log: Log): Promise<void> {
  await requireImageTools(log, { pip3: ['python3-pip'] });
  const debian = join(dir, 'debian.tar');
  await runWithProgress(['mmdebstrap', '--variant=extract', '--include=python3,libstdc++6', suite, debian], {
    label: `Debian ${suite} with Python`,
    unit: 'lines',
    log,
  });
  const root = join(dir, 'root');
  const packages = join(root, 'opt/agent');
  await mkdir(packages, { recursive: true });
  // For the Python of the image, whichever this machine has.
  const platform = ['--platform', `manylinux2014_${process.arch === 'x64' ? 'x86_64' : 'aarch64'}`];
  const binaries = ['--only-binary=:all:', '--python-version', python, '--implementation', 'cp', ...platform];
  await runWithProgress(['pip3', 'install', '--target', packages, ...binaries, sdk], {
    label: sdk,
    unit: 'lines',
    log,
  });
  const layer = join(dir, 'layer.tar');
  await packLayer(layer, root);
  await writeArchive(join(dir, 'python.tar'), {
    ref: pythonImage,
    layers: [debian, layer],
    entrypoint: ['/usr/bin/python3'],
    env: ['PYTHONPATH=/opt/agent', 'PYTHONUNBUFFERED=1', 'PYTHONDONTWRITEBYTECODE=1'],
  });
  await Promise.all([rm(root, { recursive: true }), rm(layer), rm(debian)]);
}
