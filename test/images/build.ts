import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, globSync } from 'node:fs';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { cachedDataVersionTag } from 'node:v8';
import { createGzip } from 'node:zlib';
import { cached } from '../support/cache.ts';
import { inOwnNamespaces, type Log, maxOpenFiles, runWithProgress } from '../support/process.ts';
import { ownedTempDir } from '../support/tempdir.ts';
import { ensureBases } from './base.ts';
import { requireImageTools } from './tools.ts';

const root = join(import.meta.dirname, '../..');

/** An image of ours, as a file. */
export interface Image {
  /** A docker-archive: `docker load`, `ctr images import` and others take it. */
  archive: string;
  /** The software bill of materials of its bundle, as CycloneDX. */
  sbom: string;
  /** What the image is called in it. */
  ref: string;
  /** Digest of its configuration, which docker calls the image's id. */
  id: string;
  /** Bytes of the archive: to some KB those of its layers, which `docker images` shows. */
  size: number;
  /** Bytes of the archive with gzip, about what is pulled. */
  compressedSize: number;
}

/** Both images of a commit. */
export interface Images {
  sidecar: Image;
  operator: Image;
}

// What the Dockerfile lets in, what says how it is built, and how we build it.
const inputs = [
  'Dockerfile',
  '.dockerignore',
  '.npmrc',
  'LICENSE',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'sidecar/**/*',
  'operator/**/*',
  'test/images/*.ts',
];

/** Both images: from the cache, else built, which takes some minutes. Needs root, and a network for npm and Debian. */
export async function buildImages({ log }: { log: Log }): Promise<Images> {
  const key = await inputHash();
  const folder = await cached(
    'images',
    key,
    async (dir) => {
      await makeImages(dir, log);
      if ((await inputHash()) === key) return;
      throw new Error('the sources changed while the images were built from them: build them again');
    },
    log,
  );
  const described = JSON.parse(await readFile(join(folder, 'images.json'), 'utf8'));
  for (const image of Object.values<Image>(described)) {
    image.archive = join(folder, image.archive);
    image.sbom = join(folder, image.sbom);
  }
  return described;
}

async function inputHash(): Promise<string> {
  // Compiled code is for one version of V8 and the features of this processor.
  const hash = createHash('sha256').update(
    JSON.stringify([
      process.version,
      process.arch,
      cachedDataVersionTag(),
      process.env.npm_config_user_agent,
    ]),
  );
  for (const file of globSync(inputs, { cwd: root }).sort()) {
    if ((await stat(join(root, file))).isFile()) {
      hash.update(`\0${file}\0`).update(await readFile(join(root, file)));
    }
  }
  return hash.digest('hex').slice(0, 12);
}

/**
 * Builds both images anew with buildah, in a store of its own.
 *
 * @param folder gets the archives, bills of materials and `images.json`, in which files have no folder.
 */
export async function makeImages(folder: string, log: Log): Promise<void> {
  await requireImageTools(log);
  const base = await ensureBases(log);
  const store = await ownedTempDir('macp-images');
  // A mount that a killed build left would hold the store, and fail every later build.
  const buildah = (label: string, ...args: string[]) =>
    runWithProgress(
      [
        ...inOwnNamespaces,
        'buildah',
        '--root',
        join(store, 'root'),
        '--runroot',
        join(store, 'run'),
        ...args,
      ],
      {
        label,
        unit: 'lines',
        log,
        cwd: root,
        // Works anywhere, also inside a container.
        env: { ...process.env, STORAGE_DRIVER: 'vfs', BUILDAH_ISOLATION: 'chroot', TMPDIR: store },
      },
    );
  const files = maxOpenFiles();
  // No file and no image has a time of its own. In Docker's format buildah writes the build's random name into the image;
  // OCI's has no health checks, which nothing asks for that runs these. buildah's own limit is 1,024 open files, which npm
  // exceeds now and then.
  const build = [
    ...['build', '--format', 'oci', '--timestamp', '0', '--identity-label=false'],
    ...['--ulimit', `nofile=${files}:${files}`],
  ];
  const npmrc = join(homedir(), '.npmrc');
  try {
    await mkdir(join(store, 'root'));
    for (const name of ['runtime', 'build']) {
      const file = join(base, `${name}.Dockerfile`);
      await buildah(`${name} base`, ...build, '--file', file, '--tag', `localhost/macp-base-${name}`, base);
    }
    const ours = [
      ...build,
      // So that the second target finds what the first has built.
      '--layers',
      '--build-arg',
      'BUILD_IMAGE=localhost/macp-base-build',
      '--build-arg',
      'RUNTIME_IMAGE=localhost/macp-base-runtime',
      ...(existsSync(npmrc) ? ['--secret', `id=npmrc,src=${npmrc}`] : []),
    ];
    const images: Record<string, Image> = {};
    for (const name of ['sidecar', 'operator']) {
      const ref = `localhost/macp-auth-${name}:dev`;
      await buildah(`${name} image`, ...ours, '--target', name, '--tag', ref, '.');
      const archive = join(folder, `${name}.tar`);
      await buildah(`${name} archive`, 'push', ref, `docker-archive:${archive}:${ref}`);
      const { size } = await stat(archive);
      images[name] = {
        archive: `${name}.tar`,
        sbom: `materials/${name}/sbom.cdx.json`,
        ref,
        id: imageID(archive),
        size,
        compressedSize: await gzippedSize(archive),
      };
    }
    const materials = join(folder, 'materials');
    await buildah(
      'materials',
      ...ours,
      '--target',
      'materials',
      '--output',
      `type=local,dest=${materials}`,
      '.',
    );
    await writeFile(join(folder, 'images.json'), JSON.stringify(images));
  } finally {
    await rm(store, { recursive: true, force: true });
  }
}

// The file of the configuration is called by its digest.
function imageID(archive: string): string {
  const [manifest] = JSON.parse(
    execFileSync('tar', ['-xOf', archive, 'manifest.json'], { encoding: 'utf8' }),
  );
  return `sha256:${manifest.Config.replace('.json', '')}`;
}

async function gzippedSize(file: string): Promise<number> {
  let size = 0;
  await pipeline(createReadStream(file), createGzip(), async (chunks) => {
    for await (const chunk of chunks) size += chunk.length;
  });
  return size;
}
