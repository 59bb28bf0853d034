import { parseArgs } from 'node:util';

/** How `npm start` was asked to run. */
export interface LocalOptions {
  /** Print one JSON line instead of text. */
  json: boolean;
  /** A cluster of one's own, in place of the embedded one. */
  kubeconfig: string | undefined;
  /** The sidecar's image in that cluster. */
  sidecarImage: string | undefined;
}

const usage = `usage: npm start -- [--json] [--kubeconfig FILE --sidecar-image IMAGE]

  --json                 print one JSON line: kubeconfig, kubectl, mintURL, jwksURL, operatorPID, operatorCommand
  --kubeconfig FILE      use a cluster of one's own instead of the embedded one; never used unless given
  --sidecar-image IMAGE  the sidecar's image there (needed with --kubeconfig)`;

/** Reads the command line; an error's message says what is wrong and how to use it. */
export function readArgs(args: string[]): LocalOptions {
  const { values } = (() => {
    try {
      return parseArgs({
        args,
        options: {
          json: { type: 'boolean', default: false },
          kubeconfig: { type: 'string' },
          'sidecar-image': { type: 'string' },
        },
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${usage}`);
    }
  })();
  const { json, kubeconfig, 'sidecar-image': sidecarImage } = values;
  if ((kubeconfig === undefined) !== (sidecarImage === undefined)) {
    throw new Error(`--kubeconfig and --sidecar-image belong together\n${usage}`);
  }
  return { json, kubeconfig, sidecarImage };
}
