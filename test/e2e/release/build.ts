import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cachedDataVersionTag } from 'node:v8';
import { cached } from '../../support/cache.ts';
import { renameImage } from '../../support/image-archive.ts';
import { inOwnNamespaces, type Log, maxOpenFiles, runWithProgress } from '../../support/process.ts';
import { layOut, type Release, root } from './history.ts';

/**
 * The images of a commit of this repository, made by that commit's own `npm run images`: what pods call each, and the
 * docker-archive that it lies in; from the cache, else built, which takes a minute or two. Needs root, and a network for npm.
 */
export async function buildRelease(
  release: Release,
  log: Log,
): Promise<Record<'sidecar' | 'operator', { ref: string; archive: string }>> {
  // Compiled code in the images is for one version of V8 and the features of this processor.
  const hash = createHash('sha256').update(
    JSON.stringify([process.arch, cachedDataVersionTag(), release.commit]),
  );
  for (const file of ['build.ts', 'history.ts', '../../support/image-archive.ts'])
    hash.update(await readFile(join(import.meta.dirname, file)));
  const key = hash.digest('hex').slice(0, 12);
  const folder = await cached('release', key, (dir) => build(dir, release, log), log);
  const image = (name: string) => ({ ref: refOf(name, release), archive: join(folder, `${name}.tar`) });
  return { sidecar: image('sidecar'), operator: image('operator') };
}

// Each commit calls its images the same.
const refOf = (image: string, { commit }: Release) => `localhost/macp-auth-${image}:${commit.slice(0, 12)}`;

async function build(dir: string, release: Release, log: Log): Promise<void> {
  const tree = join(dir, 'tree');
  const made = join(dir, 'made');
  const temporary = join(dir, 'temporary');
  for (const folder of [tree, temporary]) await mkdir(folder);
  await layOut(root, release.commit, tree);
  await providePackages(tree, release, log);
  // For the commits that leave buildah its limit of 1,024 open files, which npm exceeds now and then.
  const settings = join(temporary, 'containers.conf');
  const files = maxOpenFiles();
  await writeFile(settings, `[containers]\ndefault_ulimits = ["nofile=${files}:${files}"]\n`);
  // A build that is killed leaves files in this folder and the cache, and nowhere else.
  await runWithProgress([...inOwnNamespaces, 'npm', 'run', 'images', '--', '--output', made], {
    label: `images of ${release.name}`,
    unit: 'lines',
    log,
    cwd: tree,
    env: { ...process.env, TMPDIR: temporary, CONTAINERS_CONF: settings },
  });
  for (const image of ['sidecar', 'operator']) {
    await renameImage(join(made, `${image}.tar`), join(dir, `${image}.tar`), refOf(image, release));
  }
  for (const folder of [tree, made, temporary]) await rm(folder, { recursive: true });
}

// For what builds the images; what goes into them is installed inside of their build, by that commit's lock file.
async function providePackages(tree: string, { name }: Release, log: Log): Promise<void> {
  const [theirs, ours] = await Promise.all(
    [tree, root].map((folder) => readFile(join(folder, 'package-lock.json'), 'utf8')),
  );
  if (theirs === ours) return symlink(join(root, 'node_modules'), join(tree, 'node_modules'));
  const argv = ['npm', 'ci', '--no-audit', '--no-fund'];
  await runWithProgress(argv, { label: `packages of ${name}`, unit: 'lines', log, cwd: tree });
}
