import { join } from 'node:path';
import { cached } from '../../support/cache.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { buildRelease } from './build.ts';
import { chart, layOut, releaseBefore, root } from './history.ts';

/** What users have of a release. */
export interface ProvidedRelease {
  /** The folder of its chart. */
  chart: string;
  /** What pods call each image. */
  images: Record<'sidecar' | 'operator', string>;
}

/**
 * The release before this tree, with images that a cluster's nodes have: those that it was given with, or, on the tests' own
 * node, new ones, which are loaded there.
 */
export async function provideReleaseBefore(cluster: Cluster): Promise<ProvidedRelease> {
  const { log } = cluster;
  const release = await releaseBefore(root);
  const { commit } = release;
  const folder = await cached('release-chart', commit, (dir) => layOut(root, commit, dir, [chart]), log);
  let images = cluster.former;
  if (cluster.node) {
    const { sidecar, operator } = await buildRelease(release, log);
    for (const { archive } of [sidecar, operator]) await cluster.onNode('importImage', archive);
    images = { sidecar: sidecar.ref, operator: operator.ref };
  }
  if (!images) {
    throw new Error(
      `the images of ${release.name}, the release before: give --former-sidecar-image and --former-operator-image`,
    );
  }
  log(`the release before is ${release.name}, with ${images.sidecar} and ${images.operator}`);
  return { chart: join(folder, chart), images };
}
