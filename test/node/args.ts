import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

/** How `npm run cluster` was asked to run. */
export interface ClusterOptions {
  /** Only build and fetch what it takes. */
  prepare: boolean;
  /** Image archives to load, as absolute paths. */
  images: string[];
  /** Print one JSON line instead of text. */
  json: boolean;
}

const usage = `usage: npm run cluster -- [--prepare] [--image FILE]... [--json]

  --prepare      only build and fetch what a cluster takes, into the cache
  --image FILE   load the images of a docker-archive or OCI archive; may be given again
  --json         print one JSON line: kubeconfig, kubectl, enter`;

/** Reads the command line; an error's message says what is wrong and how to use it. */
export function readArgs(args: string[]): ClusterOptions {
  try {
    const { values } = parseArgs({
      args,
      options: {
        prepare: { type: 'boolean', default: false },
        image: { type: 'string', multiple: true, default: [] },
        json: { type: 'boolean', default: false },
      },
    });
    return {
      prepare: values.prepare,
      images: values.image.map((file) => resolve(file)),
      json: values.json,
    };
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${usage}`);
  }
}
