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
   * The signature algorithm (RFC 7518 section 3.1). RS256 keys have 2048 bits. A change is a rotation to a key of the new algorithm, once verifiers have had time to fetch it.
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
   * The life of the signing keys. Times are Go durations.
   */
  rotation: {
    /**
     * The age at which the active key is replaced. A longer one counts from the next key.
     */
    interval: string;
    /**
     * The longest time that any verifier keeps the JWKS (the largest MACP_AUTH_JWKS_TTL_SECS of the runtimes), plus that of any HTTP cache before it. A Go duration. The JWKS is served with a max-age of a tenth of it, at most 60s.
     */
    verifierCacheTTL: string;
    /**
     * The longest that a written Secret takes to reach a running pod.
     */
    propagation: string;
    /**
     * The largest difference between any two clocks of nodes, operator and verifiers.
     */
    clockSkew: string;
    /**
     * For how long after its interval a key may still sign (its signUntil): so long the operator may be away, or a pod's files frozen, before the sidecar there stops minting. When a rotation is held up and less than half of it is left, signUntil moves later. A Go duration.
     */
    grace: string;
    /**
     * A token such as a date. Any new value asks for one rotation now. It is also the consent that an issuer waits for whose conditions say KeyringLost or KeyringStale: to go on with the keys that are left, or with new ones.
     */
    rotateNow: string;
    /**
     * The `kid`s of keys that are withdrawn at once and for good. Taking one out of the list restores nothing.
     *
     * @maxItems 256
     */
    revokedKeyIDs: string[];
  };
  /**
   * Begin with an existing private key, in a migration from a service that was given it as MACP_AUTH_SIGNING_KEY_JSON. It is read once. While the field is set nothing rotates and only a revocation withdraws the key; removing it says that the migration is over. It cannot be added later.
   */
  importKey?: {
    /**
     * Where the private JWK (RFC 7517) lies, in the issuer's namespace.
     */
    secretRef: {
      /**
       * Name of the Secret.
       */
      name: string;
      /**
       * Member of its data.
       */
      key: string;
    };
    /**
     * The longest lifetime of a token that the old service allowed. A Go duration.
     */
    maxTTL: string;
  };
  /**
   * What becomes of the keyring Secret when the issuer is deleted. With Retain it stays, and an issuer of the same name goes on with the same keys.
   */
  deletionPolicy: 'Retain' | 'Delete';
  /**
   * Who gets this issuer's keys.
   */
  agents?: {
    /**
     * The namespaces, by their labels, whose agents get signing keys, in one Secret macp-auth.<namespace of the issuer>.<name> each. Absent, the issuer's own namespace alone does; {} selects all. The issuer's own is always among them, and namespaces whose names begin with kube- never are. It works for issuers in the namespaces that the operator trusts (--trusted-namespaces). Taking a namespace out again replaces the keys that it knows, and revokes them.
     */
    namespaceSelector?: {
      /**
       * Labels that a namespace must have, all of them.
       */
      matchLabels?: {
        [k: string]: string;
      };
      /**
       * Requirements that a namespace's labels must meet, all of them.
       *
       * @maxItems 32
       */
      matchExpressions?: {
        /**
         * The label's key.
         */
        key: string;
        /**
         * How values are compared. Without the label, NotIn holds too.
         */
        operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
        /**
         * Values for In and NotIn.
         *
         * @maxItems 256
         */
        values?: string[];
      }[];
    };
    /**
     * What the sidecar of a pod may put into a token, by the pod's namespace and ServiceAccount: the first grant that matches holds, and where none does every mint is refused. Absent, a caller may ask for any sender and any scopes.
     *
     * @minItems 1
     * @maxItems 64
     */
    grants?: {
      /**
       * The ServiceAccounts of pods that it is for. Absent, every one.
       *
       * @minItems 1
       * @maxItems 32
       */
      serviceAccounts?: string[];
      /**
       * The namespaces of pods that it is for. Absent, every one that has this issuer's agents.
       *
       * @minItems 1
       * @maxItems 32
       */
      namespaces?: string[];
      /**
       * The `sub` of every token, in which {namespace} and {serviceAccount} stand for those of the pod, such as agent://{namespace}/{serviceAccount}. A request may leave its sender out then, and one for another is refused. Absent, the request names any.
       */
      sender?: string;
      /**
       * The most that `macp_scopes` of a token may say. A request for less gets less, one for more is refused, and what it leaves out is as here. Absent, as an empty object.
       */
      scopes?: {
        /**
         * Whether the agent may start sessions. Absent, it may not.
         */
        can_start_sessions?: boolean;
        /**
         * Whether the agent may register modes. Absent, it may not.
         */
        can_manage_mode_registry?: boolean;
        /**
         * Whether the agent may see sessions in which it takes no part. Absent, it may not.
         */
        is_observer?: boolean;
        /**
         * The modes in which the agent may take part. Absent, every one; empty, none.
         *
         * @maxItems 32
         */
        allowed_modes?: string[];
        /**
         * How many sessions the agent may have open. Absent, any number.
         */
        max_open_sessions?: number;
      };
      /**
       * The longest lifetime of a token. A request for more is refused, and the default lifetime is cut to it. Absent, spec.ttl.max, to which a request for more is cut. A Go duration.
       */
      maxTTL?: string;
      /**
       * How many tokens each sidecar may mint in a minute. Absent, any number.
       */
      mintsPerMinute?: number;
    }[];
  };
  /**
   * The Deployment and Service that publish the JWKS.
   */
  server: {
    /**
     * Number of server pods.
     */
    replicas: number;
    /**
     * Serves the JWKS by https too, on port 443 of the Service, beside http. The certificate is followed without a restart; without one http is served all the same.
     */
    tls?: {
      /**
       * The Secret of type kubernetes.io/tls in the issuer's namespace, as cert-manager writes it. Its certificate names the Service (macp-auth-<issuer>.<namespace>.svc), or the host of an externalURL that is https.
       */
      secretName: string;
    };
    /**
     * The whole URL under which runtimes outside the cluster fetch the JWKS, such as https://jwks.example.com/.well-known/jwks.json. status.jwksURL then says it. The operator asks it too, and a set there that lacks the next key holds a rotation up.
     */
    externalURL?: string;
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
   * The number of namespaces whose agent Secret holds the current keys.
   */
  namespaces?: number;
  /**
   * The `kid` of the key that signs.
   */
  activeKeyID?: string;
  /**
   * The published keys, and those that were revoked.
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
     * Next has never signed, Active signs, Retired no longer signs while its last tokens may live, Revoked was withdrawn for good.
     */
    state: 'Next' | 'Active' | 'Retired' | 'Revoked';
    /**
     * From when it signs.
     */
    activeTime?: string;
    /**
     * From when no sidecar signs with it any more.
     */
    signUntilTime?: string;
    /**
     * When it leaves the JWKS
     */
    removalTime?: string;
    /**
     * From when revoking a retired key refuses no token of a sidecar that follows.
     */
    safeToRevokeTime?: string;
    /**
     * From when every healthy verifier accepts the key, where it had to sign before verifiers had time to fetch it.
     */
    acceptedFromTime?: string;
    /**
     * From when no healthy verifier accepts a revoked key.
     */
    revokedSafeTime?: string;
    /**
     * The same for a verifier that cannot fetch the JWKS meanwhile.
     */
    revokedSafeAtWorstTime?: string;
  }[];
  /**
   * When the active key is due to be replaced, or when the next one takes over once that is decided.
   */
  nextRotationTime?: string;
  /**
   * The revision of the keyring that was last seen; a keyring with a lower one is an old copy.
   */
  keyringRevision?: number;
  /**
   * The value of spec.rotation.rotateNow that was last acted on.
   */
  handledRotateNow?: string;
  /**
   * The value of spec.rotation.rotateNow that was last seen while the keyring was whole. Where it is lost or stale, only another value is consent to go on.
   */
  observedRotateNow?: string;
}

/** Paths of all fields. */
export const fields: readonly string[] = [
  'spec',
  'spec.issuer',
  'spec.audience',
  'spec.algorithm',
  'spec.ttl',
  'spec.ttl.default',
  'spec.ttl.max',
  'spec.rotation',
  'spec.rotation.interval',
  'spec.rotation.verifierCacheTTL',
  'spec.rotation.propagation',
  'spec.rotation.clockSkew',
  'spec.rotation.grace',
  'spec.rotation.rotateNow',
  'spec.rotation.revokedKeyIDs',
  'spec.importKey',
  'spec.importKey.secretRef',
  'spec.importKey.secretRef.name',
  'spec.importKey.secretRef.key',
  'spec.importKey.maxTTL',
  'spec.deletionPolicy',
  'spec.agents',
  'spec.agents.namespaceSelector',
  'spec.agents.namespaceSelector.matchLabels',
  'spec.agents.namespaceSelector.matchExpressions',
  'spec.agents.namespaceSelector.matchExpressions[].key',
  'spec.agents.namespaceSelector.matchExpressions[].operator',
  'spec.agents.namespaceSelector.matchExpressions[].values',
  'spec.agents.grants',
  'spec.agents.grants[].serviceAccounts',
  'spec.agents.grants[].namespaces',
  'spec.agents.grants[].sender',
  'spec.agents.grants[].scopes',
  'spec.agents.grants[].scopes.can_start_sessions',
  'spec.agents.grants[].scopes.can_manage_mode_registry',
  'spec.agents.grants[].scopes.is_observer',
  'spec.agents.grants[].scopes.allowed_modes',
  'spec.agents.grants[].scopes.max_open_sessions',
  'spec.agents.grants[].maxTTL',
  'spec.agents.grants[].mintsPerMinute',
  'spec.server',
  'spec.server.replicas',
  'spec.server.tls',
  'spec.server.tls.secretName',
  'spec.server.externalURL',
  'spec.server.service',
  'spec.server.service.type',
  'spec.server.service.annotations',
  'spec.server.resources',
  'spec.server.resources.limits',
  'spec.server.resources.requests',
  'spec.server.nodeSelector',
  'spec.server.tolerations',
  'spec.server.tolerations[].key',
  'spec.server.tolerations[].operator',
  'spec.server.tolerations[].value',
  'spec.server.tolerations[].effect',
  'spec.server.tolerations[].tolerationSeconds',
  'spec.server.affinity',
  'status',
  'status.observedGeneration',
  'status.conditions',
  'status.conditions[].type',
  'status.conditions[].status',
  'status.conditions[].reason',
  'status.conditions[].message',
  'status.conditions[].observedGeneration',
  'status.conditions[].lastTransitionTime',
  'status.jwksURL',
  'status.namespaces',
  'status.activeKeyID',
  'status.keys',
  'status.keys[].keyID',
  'status.keys[].algorithm',
  'status.keys[].state',
  'status.keys[].activeTime',
  'status.keys[].signUntilTime',
  'status.keys[].removalTime',
  'status.keys[].safeToRevokeTime',
  'status.keys[].acceptedFromTime',
  'status.keys[].revokedSafeTime',
  'status.keys[].revokedSafeAtWorstTime',
  'status.nextRotationTime',
  'status.keyringRevision',
  'status.handledRotateNow',
  'status.observedRotateNow',
];
