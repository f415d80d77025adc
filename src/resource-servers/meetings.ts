/** How clients meet resource servers, remembered until something that it rests on changes: every token for one asks. */
import type { Db } from '../../db/connect.ts';
import type { AccessCache } from '../roles/access-cache.ts';
import {
  type AudienceClaims,
  findMeetingRow,
  isAudienceLive,
  isResourceServer,
  type Meeting,
  type MeetingRow,
  standsThere,
  toMeeting,
} from './resource-servers.queries.ts';

export interface Meetings {
  /**
   * The resource server as the client meets it; undefined where it may not ask for tokens there, or there is none. Nobody may
   * change it. @param alone whether the client asks for itself, and there is no person who agrees
   */
  find(identifier: string, { clientId, alone }: { clientId: string; alone: boolean }): Promise<Meeting | undefined>;
  /** Whether there is a resource server of this identifier. */
  isResourceServer(identifier: string): Promise<boolean>;
  /** As `isAudienceLive` of the queries. */
  isAudienceLive(claims: AudienceClaims, rules: { openResources: boolean }): Promise<boolean>;
  /** Whether one of these audiences is a resource server whose own client this is. */
  introspects(clientId: string, audiences: readonly string[]): Promise<boolean>;
}

/** How many are remembered of each kind. */
const max = 5000;

/** To be made once: there are shelves in it. */
export const createMeetings = (shelf: AccessCache['shelf'], db: Db): Meetings => {
  const rows = shelf<MeetingRow>({ name: 'meeting', max });
  const resources = shelf<{ identifier: string | undefined }>({ name: 'resource', max });
  const rowOf = (identifier: string, clientId: string): Promise<MeetingRow | undefined> =>
    rows.get(`${clientId} ${identifier}`, async () => {
      const row = await findMeetingRow(db, identifier, clientId);
      // What is asked for and is not there, anybody can make up; and nobody is told when it comes to be.
      return row.scopes && row.kind ? row : undefined;
    });
  return {
    find: async (identifier, { clientId, alone }) => {
      const row = await rowOf(identifier, clientId);
      return row && toMeeting(row, alone);
    },
    isAudienceLive: async (claims, rules) => {
      const row = await rowOf(claims.audience, claims.clientId);
      return row ? standsThere(row, claims) : isAudienceLive(db, claims, rules);
    },
    introspects: async (clientId, audiences) => {
      for (const audience of audiences) if ((await rowOf(audience, clientId))?.introspects) return true;
      return false;
    },
    isResourceServer: async (identifier) => {
      const known = await resources.get(identifier, async () => ({
        identifier: (await isResourceServer(db, identifier)) ? identifier : undefined,
      }));
      return known?.identifier !== undefined;
    },
  };
};
