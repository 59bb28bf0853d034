import type { VerifiedToken } from './token.ts';

/** What scripts need to drive a running `npm start`. */
export interface StartResult {
  kubeconfig: string;
  kubectl: string;
  mintURL: string;
  jwksURL: string;
  operatorPID: number;
  operatorCommand: string;
}

/** One JSON line on stdout. */
export function printJSON(result: StartResult): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

/** The same for people: the token beside the key that verifies it, then what to try next. */
export function printText(result: StartResult, verified: VerifiedToken): void {
  const show = (value: object) => JSON.stringify(value, null, 2);
  process.stdout.write(`
A token, minted in the agent's pod and verified with the published key:

${verified.token}

header  ${show(verified.header)}
claims  ${show(verified.claims)}
key     ${show(verified.key)}

Mint another:
  curl -s -X POST ${result.mintURL} -H 'content-type: application/json' -d '{"sender":"agent://me"}'
The published keys:
  curl -s ${result.jwksURL}

For a runtime on this machine:
  export MACP_AUTH_ISSUER=${verified.claims.iss}
  export MACP_AUTH_AUDIENCE=${verified.claims.aud}
  export MACP_AUTH_JWKS_URL=${result.jwksURL}

Look around (Ctrl-C here stops everything):
  export KUBECONFIG=${result.kubeconfig}
  alias kubectl=${result.kubectl}
  kubectl get mai
  kubectl describe mai sample
  kubectl delete pod -l app.kubernetes.io/component=jwks-server

Issuers, as they change:
`);
}
