import { createReadStream, existsSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** What an audit event says at level Metadata, as far as tests ask. */
export interface AuditEvent {
  stage: 'ResponseStarted' | 'ResponseComplete' | 'Panic';
  requestURI: string;
  verb: string;
  user: { username: string; groups?: string[] };
  userAgent?: string;
  objectRef?: {
    resource?: string;
    subresource?: string;
    namespace?: string;
    name?: string;
    apiGroup?: string;
  };
  responseStatus?: { code?: number; reason?: string };
  requestReceivedTimestamp: string;
  stageTimestamp: string;
}

/** The requests of an audit log that were answered, in the order of their answers. */
export async function readAuditLog(
  file: string,
  keep: (event: AuditEvent) => boolean = () => true,
): Promise<AuditEvent[]> {
  if (!existsSync(file)) return [];
  const events: AuditEvent[] = [];
  for await (const line of createInterface(createReadStream(file))) {
    let event: AuditEvent;
    try {
      event = JSON.parse(line);
    } catch {
      // The last line may be half written.
      continue;
    }
    if (event.stage === 'ResponseComplete' && keep(event)) events.push(event);
  }
  return events;
}

/** Whether a request may change something. */
export function isWrite(event: AuditEvent): boolean {
  return !['get', 'list', 'watch'].includes(event.verb);
}
