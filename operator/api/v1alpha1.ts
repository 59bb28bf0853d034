// Generated from crds/macpauthissuers.yaml by `npm run generate`; do not edit.

/**
 * What the issuer should be. Every field has a default.
 */
export interface MacpAuthIssuerSpec {
  /**
   * The `iss` claim of every token (RFC 7519 section 4.1.1), as MACP_AUTH_ISSUER of the runtime. Immutable.
   */
  issuer: string;
  /**
   * The `aud` claim of every token (RFC 7519 section 4.1.3), as MACP_AUTH_AUDIENCE of the runtime. Immutable.
   */
  audience: string;
  /**
   * The signature algorithm (RFC 7518 section 3.1). RS256 keys have 2048 bits. Immutable in this version.
   */
  algorithm: 'ES256' | 'RS256';
  /**
   * Lifetimes of tokens.
   */
  ttl: {
    /**
     * Lifetime of a token whose request names none. A Go duration such as 5m or 1h30m.
     */
    default: string;
    /**
     * Longest lifetime of a token; a request for more gets this. A Go duration.
     */
    max: string;
  };
  /**
   * The life of the signing keys.
   */
  rotation: {
    /**
     * The longest time that any verifier keeps the JWKS (the largest MACP_AUTH_JWKS_TTL_SECS of the runtimes), plus that of any HTTP cache before it. A Go duration. The JWKS is served with a max-age of a tenth of it, at most 60s.
     */
    verifierCacheTTL: string;
    /**
     * How far ahead sidecars are allowed to sign (their key's signUntil); renewed when less than half of it is left. So a sidecar goes on minting for at least half of it while the operator is away or the pod's files are frozen, and then stops. A Go duration.
     */
    grace: string;
    /**
     * A token such as a date. A new value is the consent that an issuer waits for whose conditions say KeyringLost or KeyringStale, and that nothing else gives: to go on with the keys that are left, or with new ones.
     */
    rotateNow: string;
  };
  /**
   * What becomes of the keyring Secret when the issuer is deleted. With Retain it stays, and an issuer of the same name goes on with the same keys.
   */
  deletionPolicy: 'Retain' | 'Delete';
  /**
   * The Deployment and Service that publish the JWKS.
   */
  server: {
    /**
     * Number of server pods.
     */
    replicas: number;
    /**
     * The Service before the server pods.
     */
    service: {
      /**
       * The Service's type.
       */
      type: 'ClusterIP' | 'NodePort' | 'LoadBalancer';
      /**
       * Annotations of the Service, such as a load balancer needs.
       */
      annotations?: {
        [k: string]: string;
      };
    };
    /**
     * Resources of the server container; absent, small requests and a memory limit.
     */
    resources?: {
      /**
       * Limits, by resource name.
       */
      limits?: {
        [k: string]: number | string;
      };
      /**
       * Requests, by resource name.
       */
      requests?: {
        [k: string]: number | string;
      };
    };
    /**
     * Labels of the nodes on which the server pods may run.
     */
    nodeSelector?: {
      [k: string]: string;
    };
    /**
     * Tolerations of the server pods.
     */
    tolerations?: {
      /**
       * Key of the taint.
       */
      key?: string;
      /**
       * How key and value are compared.
       */
      operator?: 'Exists' | 'Equal' | 'Lt' | 'Gt';
      /**
       * Value of the taint.
       */
      value?: string;
      /**
       * Effect of the taint.
       */
      effect?: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
      /**
       * How long a NoExecute taint is tolerated.
       */
      tolerationSeconds?: number;
    }[];
    /**
     * Affinity of the server pods, as in a pod's spec.
     */
    affinity?: {
      [k: string]: unknown;
    };
  };
}

/**
 * What the operator saw and did.
 */
export interface MacpAuthIssuerStatus {
  /**
   * The generation of the spec that this status is about.
   */
  observedGeneration?: number;
  /**
   * Ready, and one condition for each thing that can fail on its own.
   */
  conditions?: {
    /**
     * What the condition is about.
     */
    type: string;
    /**
     * Whether it holds.
     */
    status: 'True' | 'False' | 'Unknown';
    /**
     * Why, for programs.
     */
    reason: string;
    /**
     * Why and what to do, for people.
     */
    message: string;
    /**
     * The generation of the spec that was judged.
     */
    observedGeneration?: number;
    /**
     * When status last changed.
     */
    lastTransitionTime: string;
  }[];
  /**
   * The URL for MACP_AUTH_JWKS_URL of the runtime.
   */
  jwksURL?: string;
  /**
   * The `kid` of the key that signs.
   */
  activeKeyID?: string;
  /**
   * The published keys.
   */
  keys?: {
    /**
     * The `kid` (RFC 7517 section 4.5).
     */
    keyID: string;
    /**
     * The `alg` (RFC 7517 section 4.4).
     */
    algorithm: string;
    /**
     * Next has never signed, Active signs, Retired no longer signs while its last tokens may live.
     */
    state: 'Next' | 'Active' | 'Retired';
    /**
     * From when it signs.
     */
    activeTime?: string;
    /**
     * From when no sidecar signs with it any more.
     */
    signUntilTime?: string;
    /**
     * When it leaves the JWKS.
     */
    removalTime?: string;
  }[];
  /**
   * The revision of the keyring that was last seen; a keyring with a lower one is an old copy.
   */
  keyringRevision?: number;
  /**
   * The value of spec.rotation.rotateNow that was last acted on.
   */
  handledRotateNow?: string;
}
