/** What the agents print; the time, in milliseconds since the Unix epoch, is added to each line. */
export type Line =
  | { event: 'token'; token: string }
  /** What the runtime says to three tokens, of which only one is good: `accepted`, or the code of its refusal. */
  | { event: 'proof'; garbage: string; good: string; tampered: string }
  /** A token of a key before the runtime; where there is no verdict, the outcome begins with ERROR. */
  | { event: 'verdict'; kid: string; age: 'fresh' | 'kept'; outcome: string }
  /** No token. */
  | { event: 'failure'; problem: string };
